"""Patterns 10, 11, 16 to 25, 39, 40 and 43: cycles, ends, states, triggers and cancellation."""

from __future__ import annotations

from typing import Any

from tests.conformance.patterns.model import ANY_CANCELLING, SLOW, Pattern, Refused, Show
from tests.simulation.small import branch, doc, loop, workers

SUCCEED = {"type": "succeed", "config": {"output": "${input.x}"}}
FAIL = {"type": "fail", "config": {"error": {"type": "NoStock", "message": "Nothing is left."}}}
REPEAT = doc("s>a a>L L>z", {"L": loop("a", "iteration < 3")})
#: A loop that tests first: the branch leads into the body or past it.
WHILE = doc(
    "L>z",
    {"s": branch(("input.x > 0", ["a"]), default=["z"]), "a": {}, "L": loop("a", "iteration < input.x"), "z": {}},
)
WHILE["edges"].append({"from": "a", "to": "L"})
NESTED = doc("s>a a>K K>m m>L L>z", {"K": loop("a", "iteration < 2"), "L": loop("a", "iteration < 2")})


def event(name: str) -> dict[str, Any]:
    return {"type": "event", "config": {"name": name}}


#: Two events, of which the first decides the way.
CHOICE = doc(
    "a>e a>f e>j f>j",
    {
        "e": event("e"),
        "f": event("f"),
        "j": {**branch(("ctx.e.status == 'COMPLETED'", ["x"]), default=["y"]), **ANY_CANCELLING},
        "x": {},
        "y": {},
    },
)
#: Two nodes and a wait that can only lead to j; y has another way and is left alone.
REGION = doc(
    "a>fast a>r1 r1>r2 r2>j fast>j a>y y>z j>z",
    {"r1": SLOW, "y": SLOW, "j": ANY_CANCELLING},
)

PATTERNS = [
    Pattern(
        10,
        "Arbitrary Cycles",
        "not supported",
        "A cycle must be a `loop` block whose body has one entry and one exit; any other does not compile.",
        (
            Refused("a cycle of edges", doc("s>a a>b b>a"), ("cycle",)),
            Refused("a body with a second entry", doc("s>a s>b a>b b>L", {"L": loop("a")}), ("loop_second_entry",)),
            Refused("a body with a second exit", doc("s>a a>L a>z", {"L": loop("a")}), ("loop_second_exit",)),
        ),
    ),
    Pattern(
        11,
        "Implicit Termination",
        "supported",
        "A run ends when nothing is outstanding; no end node is needed.",
        (
            Show("two ends, one of them late", doc("a>b a>c", {"c": SLOW}), "a:C b:C c:C",
                 {"status": "COMPLETED", "output": {"b": {"n": 0}, "c": {}}}),
            Show("a branch that leads nowhere", doc("", {"a": branch(("false", ["b"])), "b": {}}), "a:C b:S",
                 {"status": "COMPLETED"}),
        ),
    ),
    Pattern(
        16,
        "Deferred Choice",
        "supported",
        "`event` or `human` nodes side by side, into a join `any` with `cancel_losers`: what comes first from outside "
        "decides, and the others wait no more.",
        (
            Show("one event comes", CHOICE, "e:X f:C j:C x:S y:C", {"e": "#1:X", "output": {"y": {"n": 0}}},
                 later=("f",)),
            Show("the other comes", CHOICE, "e:C f:X j:C x:C y:S", {"f": "#1:X", "output": {"x": {"n": 0}}},
                 later=("e",)),
        ),
    ),
    Pattern(
        17,
        "Interleaved Parallel Routing",
        "not supported",
        "Nothing keeps two nodes that are ready from running at the same time; draw the order with edges.",
    ),
    Pattern(
        18,
        "Milestone",
        "not supported",
        "A condition is read once, when its node completes; no node waits for the state of another branch.",
    ),
    Pattern(
        19,
        "Cancel Activity",
        "partly",
        "A `cancel_losers` join withdraws a node that has begun. There is no request that cancels one chosen node.",
        (Show("a waiting node is withdrawn", doc("a>b a>c b>j c>j", {"c": SLOW, "j": ANY_CANCELLING}), "c:X j:C",
              {"c": "#1:X", "status": "COMPLETED"}),),
    ),
    Pattern(
        20,
        "Cancel Case",
        "supported",
        "A request cancels a run and all that is outstanding in it. From inside, a `succeed` or `fail` node does, "
        "and a failure under `fail_fast`.",
        (
            Show("by request", doc("a>b b>c", {"b": SLOW}), "a:C b:X c:P", {"status": "CANCELLED", "b": "#1:X"},
                 cancel=True),
            Show("by a fail node", doc("a>stop a>b b>c", {"stop": FAIL, "b": SLOW}), "stop:F b:X",
                 {"status": "FAILED", "b": "#1:X", "error": {"type": "NoStock", "node_id": "stop"}}),
            Show("by a failure", doc("a>b a>c", {"c": SLOW}), "b:F c:X", {"status": "FAILED"},
                 behave=workers({"b": "Boom"})),
        ),
    ),
    Pattern(
        21,
        "Structured Loop",
        "supported",
        "A `loop` block tests after its body; a `branch` in front of it tests before. Loops nest.",
        (
            Show("repeat until", REPEAT, "a:C L:C z:C", {"a": "L1#1:C L2#1:C L3#1:C", "z": "#1:C"}),
            Show("while, three times", WHILE, "a:C z:C", {"a": "L1#1:C L2#1:C L3#1:C", "z": "#1:C"}, input={"x": 3}),
            Show("while, not once", WHILE, "a:S L:S z:C", {"z": "#1:C", "status": "COMPLETED"}, input={"x": 0}),
            Show("a loop in a loop", NESTED, "z:C",
                 {"a": "L1.K1#1:C L1.K2#1:C L2.K1#1:C L2.K2#1:C", "m": "L1#1:C L2#1:C"}),
        ),
    ),
    Pattern(22, "Recursion", "not supported", "Not yet: needs `workflow` nodes, which start a child run."),
    Pattern(
        23,
        "Transient Trigger",
        "not supported",
        "An event that comes while no node waits for it is kept until one does, and never lost.",
    ),
    Pattern(
        24,
        "Persistent Trigger",
        "supported",
        "An `event` node: events are kept in order per name, also those that come before the node is reached, and each "
        "wakes one node.",
        (
            Show("it comes while the node waits", doc("a>e e>z", {"e": event("e")}), "e:C z:C", {"e": "#1:C"},
                 later=("e",)),
            Show("it came before the node was reached", doc("a>e e>z", {"e": event("e")}), "e:C z:C", {"e": "#1:C"},
                 early=("e",)),
            Show("one for each turn of a loop", doc("a>e e>L L>z", {"e": event("e"), "L": loop("e", "iteration < 2")}),
                 "e:C z:C", {"e": "L1#1:C L2#1:C"}, early=("e", "other"), later=("e",)),
        ),
    ),
    Pattern(
        25,
        "Cancel Region",
        "partly",
        "A `cancel_losers` join cancels the nodes that can only lead to it. A region of another shape cannot be named.",
        (Show("the region goes, its neighbour stays", REGION, "r1:X r2:S j:C y:C z:C",
              {"r1": "#1:X", "y": "#1:C", "z": "#1:C", "status": "COMPLETED"}),),
    ),
    Pattern(
        39,
        "Critical Section",
        "not supported",
        "Nothing keeps two parts of a run from running at the same time; draw the order with edges.",
    ),
    Pattern(
        40,
        "Interleaved Routing",
        "not supported",
        "Nothing keeps two nodes that are ready from running at the same time; draw the order with edges.",
    ),
    Pattern(
        43,
        "Explicit Termination",
        "supported",
        "A `succeed` or `fail` node ends the run at once; what is outstanding is cancelled.",
        (
            Show("succeed", doc("a>stop a>b b>c", {"stop": SUCCEED, "b": SLOW}), "stop:C b:X",
                 {"status": "COMPLETED", "output": 7, "b": "#1:X"}, input={"x": 7}),
            Show("fail", doc("a>stop a>b b>c", {"stop": FAIL, "b": SLOW}), "stop:F b:X",
                 {"status": "FAILED", "error": {"type": "NoStock", "node_id": "stop"}}),
        ),
    ),
]  # fmt: skip
