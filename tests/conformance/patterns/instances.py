"""Patterns 12 to 15, 26, 27 and 34 to 36: several instances of one activity."""

from __future__ import annotations

from tests.conformance.patterns.model import SLOW, Pattern, Show
from tests.simulation.small import doc

COPIES = "a>w1 a>w2 a>w3 w1>j w2>j w3>j j>z"
TWO = {"join": {"count": 2}}
TWO_CANCELLING = {"join": {"count": 2, "cancel_losers": True}}

PATTERNS = [
    Pattern(
        12,
        "Multiple Instances without Synchronization",
        "not supported",
        "Not yet: needs `map` or `workflow` nodes. A node has one instance in each iteration.",
    ),
    Pattern(
        13,
        "Multiple Instances with a Priori Design-Time Knowledge",
        "partly",
        "The node can be written several times, with a join behind the copies. One node that stands for n instances "
        "needs `map`, which is not built yet.",
        (Show("three copies, then a join", doc(COPIES), "w1:C w2:C w3:C j:C z:C", {"j": "#1:C"},
              order="w1~w2 w2~w3 w1<j w2<j w3<j"),),
    ),
    Pattern(
        14,
        "Multiple Instances with a Priori Run-Time Knowledge",
        "not supported",
        "Not yet: needs `map`, whose list of items is known when the node starts.",
    ),
    Pattern(
        15,
        "Multiple Instances without a Priori Run-Time Knowledge",
        "not supported",
        "Not yet: needs patches that add nodes to a run.",
    ),
    Pattern(
        26,
        "Cancel Multiple Instance Activity",
        "not supported",
        "Not yet: needs `map`.",
    ),
    Pattern(
        27,
        "Complete Multiple Instance Activity",
        "not supported",
        "Not yet: needs `map`, and a way to end it early with what it has.",
    ),
    Pattern(
        34,
        "Static Partial Join for Multiple Instances",
        "partly",
        'With the node written several times, and a `{"count": n}` join behind the copies; one node with n instances '
        "needs `map`.",
        (Show("two of three copies are enough", doc(COPIES, {"w3": SLOW, "j": TWO}), "w1:C w2:C w3:C j:C z:C",
              {"j": "#1:C", "z": "#1:C"}, order="w1<j w2<j j<w3$"),),
    ),
    Pattern(
        35,
        "Cancelling Partial Join for Multiple Instances",
        "partly",
        "With the node written several times, and a `cancel_losers` join behind the copies; one node with n instances "
        "needs `map`.",
        (Show("the third copy is cancelled", doc(COPIES, {"w3": SLOW, "j": TWO_CANCELLING}), "w3:X j:C z:C",
              {"j": "#1:C", "w3": "#1:X", "status": "COMPLETED"}),),
    ),
    Pattern(
        36,
        "Dynamic Partial Join for Multiple Instances",
        "not supported",
        "A join's count is fixed in the document; and instances that are added at run time need `map` and patches.",
    ),
]  # fmt: skip
