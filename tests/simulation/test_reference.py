"""The reference interpreter against workflows whose end is known by hand, one rule of the contract each."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.simulation.reference import run
from tests.simulation.small import branch, doc, loop, nodes_of, runs_of, workers

PASS: dict[str, Any] = {"type": "pass", "config": {}}
ANY = {"join": "any"}
CANCELLING = {"join": {"any": True, "cancel_losers": True}}
FINISH = {"on_failure": "finish_branches"}
TWO_WAYS = branch(("input.x > 1", ["b"]), ("input.x > 0", ["c"]), default=["d"])
RETRY = {"retry": {"max_attempts": 3}}
#: Loop L over a body e>a,b>L whose node a has a handler outside; z follows the loop and the handler.
LEAVING = doc("e>a e>b a>L b>L L>z a!h h>z", {"L": loop("e", "true", 3, timeout_path=["z"])})
#: The inner loop K inside L; a failure of a leaves both.
NESTED = doc(
    "e>a a>K K>m m>L L>z a!h",
    {"K": loop("a", "iteration < 2"), "L": loop("e", "iteration < 2")},
)
LATE = doc("s>a s>b b>b2 a>J b2>J J>k k>L L>z", {"J": ANY, "L": loop("s", "iteration < 2")})

# (rule, document, workers, nodes at the end, further members of the result or executions by node)
CASES: list[tuple[str, dict[str, Any], Any, str, dict[str, Any]]] = [
    ("one node", doc("a"), workers(), "a:C", {"status": "COMPLETED", "output": {"a": {"n": 0}}}),
    ("fan-out and join", doc("a>b a>c b>d c>d"), workers(), "a:C b:C c:C d:C", {"output": {"d": {"n": 0}}}),
    ("two entries", doc("a>c b>c", {"c": PASS}), workers(a=1, b=2), "a:C b:C c:C", {"output": {"c": {"a": 1, "b": 2}}}),
    ("edge condition false", doc("a>b a>c", when={"a>b": "output.n > 0"}), workers(), "b:S c:C", {}),
    ("edge condition fails", doc("a>b a>c", when={"a>b": "output.zz > 0"}),
     workers(), "b:S c:C", {"status": "COMPLETED"}),
    ("skips spread", doc("a>b b>c c>d", when={"a>b": "false"}), workers(), "a:C b:S c:S d:S", {"output": {}}),
    ("all: one taken", doc("a>b a>c b>d c>d", when={"a>b": "false"}),
     workers(), "b:S c:C d:C", {"status": "COMPLETED"}),
    ("any: runs once", doc("a>b a>c b>d c>d", {"d": ANY}),
     workers(), "b:C c:C d:C", {"d": "#1:C", "status": "COMPLETED"}),
    ("any: none taken", doc("a>b a>c b>d c>d", {"d": ANY}, when={"a>b": "false", "a>c": "false"}),
     workers(), "d:S", {}),
    ("count reached", doc("a>b a>c a>e b>d c>d e>d", {"d": {"join": {"count": 2}}}, when={"a>b": "false"}),
     workers(), "b:S d:C", {"d": "#1:C"}),
    ("count out of reach", doc("a>b a>c b>d c>d d>z", {"d": {"join": {"count": 2}}}, when={"a>b": "false"}),
     workers(), "c:C d:S z:S", {"status": "COMPLETED"}),
    ("losers cancelled", doc("a>b a>c c>c2 c2>c3 b>d c3>d", {"d": CANCELLING}), workers(), "b:C c:X c2:S c3:S d:C",
     {"status": "COMPLETED", "c": "#1:X"}),
    ("not a loser with another way", doc("a>b a>c c>c2 c2>d b>d c>z", {"d": CANCELLING}),
     workers(), "c:C c2:S d:C z:C", {}),
    ("a failing loser does no harm", doc("a>b a>c c>c2 b>d c2>d", {"d": ANY}), workers({"c2": "Boom"}),
     "c2:F d:C", {"status": "COMPLETED", "error": None}),
    ("a failing loser that matters", doc("a>b a>c c>c2 b>d c2>d c2>z", {"d": ANY}, **FINISH), workers({"c2": "Boom"}),
     "c2:F d:C z:S", {"status": "FAILED", "error": {"type": "Boom", "node_id": "c2"}}),
    ("failure edge", doc("a>b a!h"), workers({"a": "Boom"}), "a:F b:S h:C", {"status": "COMPLETED", "error": None}),
    ("no failure, no handler", doc("a>b a!h"), workers(), "a:C b:C h:S", {}),
    ("both ways to one join", doc("a>b a!b", {"b": PASS}), workers({"a": "Boom"}), "a:F b:C", {"output": {"b": None}}),
    ("failure condition false", doc("a>b a!h", when={"a>h": "error.type == 'Other'"}),
     workers({"a": "Boom"}), "a:F h:S",
     {"status": "FAILED"}),
    ("always on success", doc("a>b a*c"), workers(), "a:C b:C c:C", {"status": "COMPLETED"}),
    ("always does not handle", doc("a>b a*c c>d"), workers({"a": "Boom"}), "a:F c:C d:C",
     {"status": "FAILED", "output": None, "error": {"type": "Boom", "node_id": "a"}}),
    ("always and failure", doc("a*c a!h"), workers({"a": "Boom"}), "a:F c:C h:C", {"status": "COMPLETED"}),
    ("skipped source, no always", doc("s>a a*c", when={"s>a": "false"}), workers(), "a:S c:S", {}),
    ("fail_fast", doc("s>a s>b b>b2"),
     workers({"a": "Boom"}), "a:F b:X", {"status": "FAILED", "b": "#1:X", "b2": "#0:S"}),
    ("fail_fast keeps always", doc("s>a s>b a*c c>d b>d"), workers({"a": "Boom"}), "b:X c:C d:C", {"status": "FAILED"}),
    ("what reached a join before does not start it", doc("s>p s>a s>b a*c c>d b>d p>e b>e e>f d>f"),
     workers({"a": "Boom"}), "p:C b:X c:C d:C e:S f:C", {"status": "FAILED", "f": "#1:C"}),
    ("finish_branches", doc("s>a s>b b>b2 a>a2", **FINISH),
     workers({"a": "Boom"}), "a:F a2:S b:C b2:C", {"status": "FAILED"}),
    ("retry until it works", doc("a>b", {"a": RETRY}), workers({"a": 2}), "a:C b:C", {"a": "#1:F #2:F #3:C"}),
    ("retry used up", doc("a!b", {"a": RETRY}), workers({"a": 3}), "a:F b:C", {"a": "#1:F #2:F #3:F"}),
    ("not retryable", doc("a!b", {"a": RETRY}), workers({"a": "Final"}), "a:F b:C", {"a": "#1:F"}),
    ("no_retry_on", doc("a!b", {"a": {"retry": {"max_attempts": 2, "no_retry_on": ["Boom"]}}}),
     workers({"a": 1}), "a:F b:C",
     {"a": "#1:F"}),
    ("retry_on others", doc("a!b", {"a": {"retry": {"max_attempts": 2, "retry_on": ["X"]}}}), workers({"a": 1}), "b:C",
     {"a": "#1:F"}),
    ("first rule wins", doc("", {"a": TWO_WAYS, "b": {}, "c": {}, "d": {}}), workers(), "a:C b:C c:S d:S", {}),
    ("mode all", doc("", {"a": branch(("true", ["b"]), ("input.x > 1", ["c"]), default=["d"], mode="all"),
                          "b": {}, "c": {}, "d": {}}), workers(), "b:C c:C d:S", {}),
    ("default", doc("", {"a": branch(("input.x > 9", ["b"]), default=["d"]), "b": {}, "d": {}}),
     workers(), "b:S d:C", {}),
    ("no default", doc("", {"a": branch(("input.y > 9", ["b"])), "b": {}}),
     workers(), "a:C b:S", {"status": "COMPLETED"}),
    ("branch beside edges", doc("a>c a>b", {"a": branch(("input.x > 9", ["b"]))}), workers(), "b:S c:C", {}),
    ("exclusive paths meet", doc("b>j c>j d>j", {"a": TWO_WAYS, "j": PASS}), workers(b=7), "j:C", {"output": {"j": 7}}),

        ("agent chooses", doc("",
     {"a": {"branch": {"type": "agent_driven", "available_next_nodes": ["b", "c"]}}, "b": {}, "c": {}}),
     workers(a={"next_nodes": ["c"]}), "a:C b:S c:C", {}),
    ("agent names others", doc("", {"a": {"branch": {"type": "agent_driven", "available_next_nodes": ["b"]}}, "b": {}}),
     workers(a={"next_nodes": ["z"]}), "a:F", {"status": "FAILED"}),
    ("agent names none", doc("", {
        "a": {"branch": {"type": "agent_driven", "available_next_nodes": ["b"], "default": ["c"]}}, "b": {}, "c": {}}),
     workers(a={"next_nodes": []}), "a:C b:S c:C", {}),
    ("agent says nothing", doc("", {
        "a": {"branch": {"type": "agent_driven", "available_next_nodes": ["b"], "default": ["c"]}}, "b": {}, "c": {}}),
     workers(a="done"), "a:C b:S c:C", {}),
    ("loop over edge", doc("a>L L>z", {"L": loop("a")}),
     workers(), "a:C L:C z:C", {"a": "L1#1:C L2#1:C L3#1:C", "z": "#1:C"}),
    ("loop on itself", doc("L>z", {"L": loop("L", "output.n < 2")}), workers(), "z:C", {"L": "L1#1:C L2#1:C"}),
    ("break_path only", doc("L>y", {"L": loop("L", break_path=["z"]), "z": {}}),
     workers(), "y:S z:C", {"status": "COMPLETED"}),
    ("success on the last turn", doc("L>z", {"L": loop("L", most=3)}), workers(), "L:C z:C", {"status": "COMPLETED"}),
    ("loop limit", doc("L>z", {"L": loop("L", "true", 2)}), workers(), "L:F z:S",
     {"status": "FAILED", "L": "L1#1:C L2#1:F", "error": {"type": "LoopLimit", "node_id": "L"}}),
    ("loop limit handled", doc("L>z L!h", {"L": {**loop("L", "true", 2), **RETRY}}), workers(), "z:S h:C",
     {"status": "COMPLETED", "L": "L1#1:C L2#1:F"}),
    ("timeout_path", doc("L>z", {"L": loop("L", "true", 2, timeout_path=["t"]), "t": {}}),
     workers(), "L:C z:S t:C", {}),
    ("bad loop condition breaks", doc("L>z", {"L": loop("L", "output.zz < 2")}), workers(), "z:C", {"L": "L1#1:C"}),
    ("back-edge is what reaches", doc("a>L s>a", {"a": PASS, "L": {**PASS, **loop("a", "iteration < 2")}}),
     workers(s=5),
     "L:C", {"output": {"L": 5}}),
    ("nested loops", NESTED,
     workers(), "z:C h:S", {"a": "L1.K1#1:C L1.K2#1:C L2.K1#1:C L2.K2#1:C", "m": "L1#1:C L2#1:C"}),
    ("failure leaves two loops", NESTED, workers({"a": ["L2.K2"]}), "a:F K:S m:S L:S z:S h:C",
     {"status": "COMPLETED", "h": "#1:C", "K": "L1.K1#1:C L1.K2#1:C L2.K1#1:C L2.K2#0:S", "L": "L1#1:C L2#0:S"}),
    ("leaving skips the loop node", LEAVING,
     workers({"a": ["L2"]}), "a:F b:C L:S h:C z:C", {"L": "L1#1:C L2#0:S", "z": "#1:C"}),
    ("no leaving: handler skipped at the end", LEAVING, workers(), "L:C h:S z:C", {"h": "#0:S", "z": "#1:C"}),
    ("one of two ways out of a loop", doc("e>a a>L L>z a!h a!g", {"L": loop("e")}, when={"a>h": "error.type == 'No'"}),
     workers({"a": ["L2"]}), "L:S h:S g:C z:S", {"L": "L1#1:C L2#0:S", "status": "COMPLETED"}),
    ("only failure edges is terminal", doc("a!h"), workers(), "a:C h:S", {"output": {"a": {"n": 0}}}),
    ("skipped body ends the loop", doc("e>a a>L L>z", {"L": loop("e")}, when={"e>a": "iteration < 2"}),
     workers(), "L:S z:S",
     {"L": "L1#1:C L2#0:S", "status": "COMPLETED"}),
    ("late arrival in a loop", LATE,
     workers(), "b2:C z:C", {"J": "L1#1:C L2#1:C", "b2": "L1#1:C L2#1:C", "status": "COMPLETED"}),
    ("succeed ends the run", doc("s>e s>b b>c", {"e": {"type": "succeed", "config": {"output": "${input.x}"}}}),
     workers(),
     "e:C b:X", {"status": "COMPLETED", "output": 2}),
    ("fail ends the run", doc("s>e s>b", {"e": {"type": "fail", "config": {"error": {"type": "No", "message": ""}}}}),
     workers(),
     "e:F b:X", {"status": "FAILED", "error": {"type": "No", "node_id": "e"}}),
    ("output template", doc("a", output={"n": "${ctx.a.output.n + 1}"}), workers(), "a:C", {"output": {"n": 1}}),
    ("bad output template", doc("a", output="${ctx.a.output.zz}"), workers(), "a:C",
     {"status": "FAILED", "error": {"type": "TemplateError", "node_id": None}}),
    ("bad config template", doc("a!b", {"a": {**RETRY, "config": {"handler": "echo", "params": "${input.zz}"}}}),
     workers(), "a:F b:C", {"a": "#1:F"}),

        ("transform", doc("a>t",
     {"t": {"type": "transform", "config": {"value": ["${ctx.a.output.n}", "x${input.x} $${y}"]}}}),
     workers(), "t:C", {"output": {"t": [0, "x2 ${y}"]}}),
    ("ctx of a skipped node", doc("a>b a>c b>d c>d", when={"a>b": "false", "c>d": "ctx.b.status == 'SKIPPED'"}),
     workers(),
     "d:C", {}),
    ("variables", doc("L>z", {"L": {**loop("L", "vars.v < 3"), "set": {"v": "${vars.v + output.n}"}}}, vars={"v": 0}),
     workers(), "z:C", {"vars": {"v": 3}, "L": "L1#1:C L2#1:C"}),
    ("pass at an entry", doc("a", {"a": PASS}), workers(), "a:C", {"output": {"a": {"x": 2, "items": []}}}),
    ("older type names", doc("a>b", {"a": {**PASS, "type": "parallel"}}), workers(), "a:C b:C", {}),
]  # fmt: skip


@pytest.mark.parametrize(("document", "behave", "nodes", "more"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_small_workflow_ends_as_worked_out_by_hand(document, behave, nodes, more):
    result = run(document, {"x": 2, "items": []}, behave)
    wanted = nodes_of(nodes)
    assert {name: result.nodes[name] for name in wanted} == wanted
    for name, value in more.items():
        assert (runs_of(result, name) if name in result.nodes else getattr(result, name)) == value, name


def test_a_schedule_changes_the_order_and_a_seed_repeats_it():
    race = doc("a>b a>c b>d c>d", {"d": {**PASS, "join": "any"}})
    outputs = [run(race, {}, workers(b=1, c=2), random.Random(seed)).output["d"] for seed in range(20)]
    assert set(outputs) == {1, 2}
    assert outputs == [run(race, {}, workers(b=1, c=2), random.Random(seed)).output["d"] for seed in range(20)]


def test_the_agreed_part_hides_how_far_skips_spread_when_a_run_is_cut_short():
    stopped = run(doc("a>b b>c"), {}, workers({"a": "Boom"})).agreed()
    assert stopped["nodes"] == {"a": "FAILED", "b": "IDLE", "c": "IDLE"}
    finished = run(doc("a>b b>c", **FINISH), {}, workers({"a": "Boom"})).agreed()
    assert finished["nodes"] == {"a": "FAILED", "b": "SKIPPED", "c": "SKIPPED"}


def test_a_workflow_that_loops_too_long_is_stopped(monkeypatch):
    monkeypatch.setattr("tests.simulation.reference._STEP_LIMIT", 50)
    with pytest.raises(RuntimeError, match="does not end"):
        run(doc("L>z", {"L": loop("L", "true", 1000)}), {}, workers())
