"""Patterns 1 to 9: sequence, splits, and the merges that belong to them."""

from __future__ import annotations

from tests.conformance.patterns.model import ANY, SLOW, Pattern, Show
from tests.simulation.small import branch, doc, loop, workers

SPLIT = "a>b a>c b>d c>d"
CHOICE = branch(("input.x > 5", ["high"]), default=["low"])
CHOICE_THEN_MERGE = doc("high>m low>m m>z", {"a": CHOICE, "high": {}, "low": {}, "m": {}})
SEVERAL = branch(("input.x > 1", ["b"]), ("input.x > 5", ["c"]), default=["d"], mode="all")
#: In each round the slow way arrives after the join has run; the next round has a join of its own.
ROUNDS = doc(
    "s>fast s>slow fast>j slow>j j>k k>L L>z",
    {"slow": SLOW, "j": ANY, "L": loop("s", "iteration < 2")},
)

PATTERNS = [
    Pattern(
        1,
        "Sequence",
        "supported",
        "An edge: the target starts when the source has completed.",
        (Show("b follows a", doc("a>b b>c"), "a:C b:C c:C", order="a<b b<c"),),
    ),
    Pattern(
        2,
        "Parallel Split",
        "supported",
        "Several edges out of one node: every one that holds is taken.",
        (Show("b and c run side by side", doc("a>b a>c"), "a:C b:C c:C", order="a<b a<c b~c"),),
    ),
    Pattern(
        3,
        "Synchronization",
        "supported",
        'Several edges into one node, with the default join `"all"`.',
        (
            Show("d waits for both", doc(SPLIT), "d:C", {"d": "#1:C"}, order="b<d c<d b~c"),
            Show("d waits for the slow one", doc(SPLIT, {"c": SLOW}), "d:C", {"d": "#1:C"}, order="c<d"),
        ),
    ),
    Pattern(
        4,
        "Exclusive Choice",
        "supported",
        "A `branch` block: the first rule that matches wins, else `default`.",
        (
            Show("the rule matches", CHOICE_THEN_MERGE, "high:C low:S", input={"x": 9}),
            Show("no rule matches", CHOICE_THEN_MERGE, "high:S low:C", input={"x": 1}),
        ),
    ),
    Pattern(
        5,
        "Simple Merge",
        "supported",
        'A join behind an exclusive choice: the way not taken is skipped, so `"all"` neither hangs nor runs twice.',
        (Show("m runs once", CHOICE_THEN_MERGE, "m:C z:C", {"m": "#1:C", "z": "#1:C"}, input={"x": 9}),),
    ),
    Pattern(
        6,
        "Multi-Choice",
        "supported",
        'A `branch` block with `"mode": "all"`, or conditions on plain edges.',
        (
            Show("both rules match", doc("", {"a": SEVERAL, "b": {}, "c": {}, "d": {}}), "b:C c:C d:S", input={"x": 9}),
            Show("one rule matches", doc("", {"a": SEVERAL, "b": {}, "c": {}, "d": {}}), "b:C c:S d:S", input={"x": 3}),
            Show("none matches", doc("", {"a": SEVERAL, "b": {}, "c": {}, "d": {}}), "b:S c:S d:C", input={"x": 0}),
            Show("by edges", doc("a>b a>c a>d", when={"a>c": "output.n > 0"}), "b:C c:S d:C"),
        ),
    ),
    Pattern(
        7,
        "Structured Synchronizing Merge",
        "supported",
        'The join `"all"` waits for the ways that were taken; the others resolve it by being skipped.',
        (
            Show("two of three were taken", doc("a>b a>c a>d b>j c>j d>j", when={"a>c": "false"}), "c:S j:C",
                 {"j": "#1:C"}, order="b<j d<j"),
            Show("none was taken", doc("a>b a>c b>j c>j j>z", when={"a>b": "false", "a>c": "false"}), "j:S z:S",
                 {"status": "COMPLETED"}),
        ),
    ),
    Pattern(
        8,
        "Multi-Merge",
        "not supported",
        "A node runs at most once in each iteration, however many edges into it are taken; "
        "give each way its own copy of what follows.",
    ),
    Pattern(
        9,
        "Structured Discriminator",
        "supported",
        'The join `"any"` runs on the first taken edge and ignores the rest; each iteration of a loop has its own.',
        (
            Show("the fast way is enough", doc("a>fast a>slow fast>j slow>j", {"slow": SLOW, "j": ANY}),
                 "fast:C slow:C j:C", {"j": "#1:C", "status": "COMPLETED"}, order="fast<j j<slow$"),
            Show("each round has its own join", ROUNDS, "z:C",
                 {"j": "L1#1:C L2#1:C", "slow": "L1#1:C L2#1:C", "status": "COMPLETED"}),
            Show("a way that fails is not the first", doc("a>b a>c b>j c>j", {"j": ANY}, on_failure="finish_branches"),
                 "b:F c:C j:C", {"j": "#1:C", "status": "FAILED"}, behave=workers({"b": "Boom"})),
        ),
    ),
]  # fmt: skip
