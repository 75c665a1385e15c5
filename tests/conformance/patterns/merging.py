"""Patterns 28 to 33, 37, 38, 41 and 42: partial joins, synchronizing merges, and threads on one branch."""

from __future__ import annotations

from tests.conformance.patterns.branching import ROUNDS
from tests.conformance.patterns.model import ANY_CANCELLING, SLOW, Pattern, Show
from tests.simulation.small import doc, loop, workers

TWO: dict[str, object] = {"join": {"count": 2}}
TWO_CANCELLING: dict[str, object] = {"join": {"count": 2, "cancel_losers": True}}
THREE_WAYS = "a>b a>c a>d b>j c>j d>j j>z"
TWO_ROUNDS = doc(
    "s>b s>c s>slow b>j c>j slow>j j>k k>L L>z",
    {"slow": SLOW, "j": TWO, "L": loop("s", "iteration < 2")},
)
#: Splits and joins that do not pair: m joins ways of two different splits.
CROSSED = "a>b a>c b>p b>q c>m q>m p>n m>n"
#: A loop whose body has a failure edge to a handler; z joins the handler with the loop's own end.
LEAVING = doc("s>e e>f f>L L>z f!h h>z", {"L": loop("e", "iteration < 2")})

PATTERNS = [
    Pattern(
        28,
        "Blocking Discriminator",
        "partly",
        "Arrivals of different iterations never mix: each iteration has a join of its own. "
        "But a later iteration is not held back until the ways of the earlier one have all arrived.",
        (Show("two iterations overlap and do not mix", ROUNDS, "z:C",
              {"j": "L1#1:C L2#1:C", "slow": "L1#1:C L2#1:C", "k": "L1#1:C L2#1:C"}),),
    ),
    Pattern(
        29,
        "Cancelling Discriminator",
        "supported",
        '`{"any": true, "cancel_losers": true}` runs on the first taken edge and cancels what can only lead to it.',
        (
            Show("the slow way is cancelled",
                 doc("a>fast a>slow slow>more fast>j more>j j>z", {"slow": SLOW, "j": ANY_CANCELLING}),
                 "slow:X more:S j:C z:C", {"j": "#1:C", "slow": "#1:X", "status": "COMPLETED"}),
            Show("a running task is cancelled, its late answer is ignored",
                 doc("a>b a>c b>j c>j", {"j": ANY_CANCELLING}), "b:C c:X j:C", {"status": "COMPLETED"}, order="b~c"),
        ),
    ),
    Pattern(
        30,
        "Structured Partial Join",
        "supported",
        '`{"count": n}` runs on the nth taken edge and ignores the rest; '
        "where n can no longer be reached the node is skipped.",
        (
            Show("two of three", doc(THREE_WAYS, {"d": SLOW, "j": TWO}), "b:C c:C d:C j:C z:C",
                 {"j": "#1:C", "z": "#1:C"}, order="b<j c<j j<d$"),
            Show("two cannot be reached", doc(THREE_WAYS, {"j": TWO}, when={"a>b": "false", "a>c": "false"}),
                 "d:C j:S z:S", {"status": "COMPLETED"}),
        ),
    ),
    Pattern(
        31,
        "Blocking Partial Join",
        "partly",
        "As with the blocking discriminator: arrivals of different iterations never mix, but nothing is held back.",
        (Show("two of three in each iteration", TWO_ROUNDS, "z:C", {"j": "L1#1:C L2#1:C", "slow": "L1#1:C L2#1:C"}),),
    ),
    Pattern(
        32,
        "Cancelling Partial Join",
        "supported",
        '`{"count": n, "cancel_losers": true}`.',
        (Show("the third is cancelled", doc(THREE_WAYS, {"d": SLOW, "j": TWO_CANCELLING}), "b:C c:C d:X j:C z:C",
              {"j": "#1:C", "d": "#1:X", "status": "COMPLETED"}),),
    ),
    Pattern(
        33,
        "Generalized AND-Join",
        "partly",
        'The join `"all"` needs no split that it pairs with. '
        "But a way carries at most one thread in each iteration, so there is nothing to keep for a next firing.",
        (Show("joins that pair with no split", doc(CROSSED), "m:C n:C p:C q:C", {"m": "#1:C", "n": "#1:C"},
              order="c<m q<m p<n m<n"),),
    ),
    Pattern(
        37,
        "Acyclic Synchronizing Merge",
        "supported",
        "Which ways a join waits for follows from skips alone, so splits and joins need not pair.",
        (
            Show("a way that was not taken, deep inside", doc(CROSSED, when={"b>q": "false"}), "q:S p:C m:C n:C",
                 {"m": "#1:C", "n": "#1:C"}, order="c<m m<n"),
            Show("one whole side was not taken", doc(CROSSED, when={"a>c": "false", "b>p": "false"}),
                 "c:S p:S q:C m:C n:C", {"m": "#1:C"}, order="q<m"),
        ),
    ),
    Pattern(
        38,
        "General Synchronizing Merge",
        "partly",
        "It holds around loops too: a join behind a loop waits until the loop can no longer lead to it. "
        "But only loops with one entry and one exit compile, not cycles of any shape.",
        (
            Show("the loop ends as usual", LEAVING, "L:C h:S z:C", {"z": "#1:C", "f": "L1#1:C L2#1:C"}),
            Show("a failure leaves the loop", LEAVING, "f:F L:S h:C z:C", {"z": "#1:C", "status": "COMPLETED"},
                 behave=workers({"f": ["L2"]}), order="h<z"),
        ),
    ),
    Pattern(
        41,
        "Thread Merge",
        "not supported",
        "A branch carries at most one thread in each iteration, so there are none to merge.",
    ),
    Pattern(
        42,
        "Thread Split",
        "not supported",
        "A branch carries at most one thread in each iteration; draw as many edges as there are threads.",
    ),
]  # fmt: skip
