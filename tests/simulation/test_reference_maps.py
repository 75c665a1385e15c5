"""The reference's maps against ends that are known by hand; generated documents with maps; and what watches maps."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from tests.simulation.family import Family
from tests.simulation.generate import behaviour, run_input, workflow
from tests.simulation.invariants import Violation
from tests.simulation.invariants_maps import MapWatch
from tests.simulation.reference import run
from tests.simulation.reference_agents import grown
from tests.simulation.reference_state import Result, Unit
from tests.simulation.small import doc, loop, runs_of, workers

BODY = {"type": "function", "config": {"handler": "echo", "params": "${item}"}}
OWN = {"type": "transform", "config": {"value": "${item + index}"}}


def mapped(items: Any = "${input}", body: Any = None, **config: Any) -> dict[str, Any]:
    """What makes a node a map."""
    return {"type": "map", "config": {"items": items, "body": body or BODY, **config}}


def items(result: Result, name: str = "m") -> dict[str, str]:
    """How the items of a map went, by name."""
    names = sorted({execution[0] for execution in result.executions if execution[0].startswith(f"{name}[")})
    return {each.removeprefix(name): runs_of(result, each) for each in names}


FAILING = workers({"m[1]": "Boom"})
TWO = {"max_concurrency": 1, "tolerate_failures": 1}
RETRIED = {**BODY, "retry": {"max_attempts": 2}}
CLEAN = {"compensate": {"type": "function", "config": {"params": ["${item}", "${index}", "${output.n}"]}}}
COMPENSATE = {"on_failure": "compensate"}
LOOPED = doc("a>m m>L", {"m": mapped(["${iteration}"], OWN), "L": loop("a", "iteration < 2")})

DONE = "COMPLETED"

# (rule, document, input, workers, status, output of the map, its items)
CASES: list[tuple[str, dict[str, Any], Any, Any, str, Any, dict[str, str]]] = [
    ("in order", doc("m", {"m": mapped(body=OWN)}), [5, 7], workers(), DONE, [5, 8], {"[0]": "#1:C", "[1]": "#1:C"}),
    ("none", doc("m", {"m": mapped()}), [], workers(), DONE, [], {}),
    ("no list", doc("m", {"m": mapped()}), 5, workers(), "FAILED", None, {}),
    ("no window", doc("m", {"m": mapped(max_concurrency="${input}")}), [1], workers(), "FAILED", None, {}),
    ("one fails", doc("m", {"m": mapped(max_concurrency=1)}), [1, 2, 3], FAILING, "FAILED", None,
     {"[0]": "#1:C", "[1]": "#1:F"}),
    ("the rest is cancelled", doc("m", {"m": mapped(max_concurrency=2)}), [1, 2, 3], workers({"m[0]": "Boom"}),
     "FAILED", None, {"[0]": "#1:F", "[1]": "#1:X"}),
    ("one is borne", doc("m", {"m": mapped(**TWO)}), [1, 2, 3], FAILING, DONE, [{"n": 0}, None, {"n": 0}],
     {"[0]": "#1:C", "[1]": "#1:F", "[2]": "#1:C"}),
    ("two are not", doc("m", {"m": mapped(**TWO)}), [1, 2, 3, 4], workers({"m[1]": "Boom", "m[2]": "Boom"}), "FAILED",
     None, {"[0]": "#1:C", "[1]": "#1:F", "[2]": "#1:F"}),
    ("a share", doc("m", {"m": mapped(tolerate_failures="50%")}), [1, 2, 3], FAILING, DONE,
     [{"n": 0}, None, {"n": 0}], {"[0]": "#1:C", "[1]": "#1:F", "[2]": "#1:C"}),
    ("too small a share", doc("m", {"m": mapped(tolerate_failures="49%")}), [1, 2], FAILING, "FAILED", None,
     {"[0]": "#1:C", "[1]": "#1:F"}),
    ("an item is tried again", doc("m", {"m": mapped(body=RETRIED)}), [1, 2], workers({"m[1]": 1}), DONE,
     [{"n": 0}, {"n": 0}], {"[0]": "#1:C", "[1]": "#1:F #2:C"}),
    ("a template for one item", doc("m", {"m": mapped(body=OWN, tolerate_failures=1)}), [1, "x"], workers(), DONE,
     [1, None], {"[0]": "#1:C", "[1]": "#1:F"}),
    ("in a loop", LOOPED, 0, workers(), DONE, [2], {"[0]": "L1#1:C L2#1:C"}),
    ("an edge reads it", doc("m>b", {"m": mapped(body=OWN)}, when={"m>b": "output[0] > 1"}), [1], workers(), DONE,
     [1], {"[0]": "#1:C"}),
    ("a handler", doc("m!h", {"m": mapped()}), [1, 2], FAILING, DONE, None, {"[0]": "#1:C", "[1]": "#1:F"}),
]  # fmt: skip


@pytest.mark.parametrize(("document", "given", "behave", "status", "output", "done"), [c[1:] for c in CASES],
                         ids=[c[0] for c in CASES])  # fmt: skip
def test_a_map_ends_as_worked_out_by_hand(document, given, behave, status, output, done):
    result = run({**document, "output": "${ctx.m.output}"}, given, behave)
    assert (result.status, items(result)) == (status, done)
    assert result.output == output


def test_the_window_is_never_passed_and_the_map_waits_for_its_items():
    widest = 0

    def last(units: list[Unit]) -> int:
        nonlocal widest
        widest = max(widest, sum(unit.index is not None for unit in units))
        return len(units) - 1

    result = run(doc("m>b", {"m": mapped(max_concurrency=3)}), list(range(10)), workers(), last)
    assert widest == 3
    assert result.executions[("b", (), 1, "COMPLETED")] == 1


def test_items_are_undone_newest_first_also_those_of_a_map_that_failed():
    document = doc("m", {"m": {**mapped(max_concurrency=1), **CLEAN}}, **COMPENSATE)
    result = run(document, [5, 6, 7], workers({"m[2]": "Boom"}))
    assert list(result.undone) == [("m[1]", ()), ("m[0]", ())]
    assert result.undone[("m[1]", ())] == ("COMPLETED", {"params": [6, 1, 0]})


def test_cancelling_a_map_cancels_its_items():
    fast = doc("a m>j a>j", {"m": mapped(), "j": {"join": {"any": True, "cancel_losers": True}}})
    by_name = {"m": 0, "m[0]": 1, "m[1]": 1, "a": 2}
    order = lambda units: max(range(len(units)), key=lambda at: (units[at].arming, by_name.get(units[at].name, 0)))  # noqa: E731
    result = run(fast, [1, 2], workers(), order)
    assert items(result) == {"[0]": "#1:X", "[1]": "#1:X"}
    assert (result.nodes["m"], result.status) == ("CANCELLED", "COMPLETED")


FAMILY = Family.drawn(1)


def mixed(seed: int, *, confluent: bool) -> tuple[dict[str, Any], Any, Any]:
    rng = random.Random(f"maps {seed}")
    document = workflow(rng, size=12, confluent=confluent, mixed=True)
    return grown(document), run_input(rng, document), behaviour(rng, document)


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_a_confluent_document_of_all_types_ends_the_same_under_every_schedule(first):
    for seed in range(first, first + 20):
        document, given, behave = mixed(seed, confluent=True)
        wanted = run(document, given, behave, calls=FAMILY.anyone()).agreed()
        for schedule in range(5):
            found = run(document, given, behave, random.Random(schedule), calls=FAMILY.anyone()).agreed()
            assert found == wanted, f"seed {seed}, schedule {schedule}"


NOTES = {
    "map without items", "item tried again", "item failed", "item waited for its turn", "items cancelled", "map failed",
    "map with failed items completed", "map completed", "item undone",
}  # fmt: skip


@pytest.mark.parametrize("confluent", [True, False])
def test_every_rule_of_maps_and_every_kind_of_map_comes_into_play(confluent):
    notes: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for seed in range(300):
        document, given, behave = mixed(seed, confluent=confluent)
        notes += run(document, given, behave, calls=FAMILY.anyone()).notes
        for node in document["nodes"]:
            if node["type"] == "map":
                seen.update({f"body {node['config']['body']['type']}", *node["config"], *node})
                text = json.dumps(node["config"]["items"])
                seen.update(
                    word for word in ("input.items", "input.many", ".output.items", ".output}", "[]") if word in text
                )
    assert NOTES - notes.keys() == set()
    bodies = {f"body {kind}" for kind in ("function", "http", "queue", "transform", "wait")}
    sources = {"input.items", "input.many", ".output.items", ".output}"}
    assert (
        bodies | sources | {"max_concurrency", "tolerate_failures", "set", "compensate", "[]"}
    ) - seen.keys() == set()


def test_a_watch_sees_a_passed_window_and_an_item_that_outlives_its_map():
    def commit(text: str) -> Any:
        from chalicelib.domain.journal import parse_item

        return parse_item(f'{{"no":1,"id":"a","seq":1,"n":1,"prev":[0,""],"out":{{}},"c":{text}}}')

    begins = '["m@#0.1","m@","h","{\\"items\\":3,\\"window\\":1,\\"tolerated\\":0,\\"pages\\":\\"x\\"}",1]'
    first, second = (json.dumps([f"m@[{at}]#0.1", f"m@[{at}]", "t", "", 1]) for at in (0, 1))
    watch = MapWatch()
    watch.follow(commit(f'{{"settle":["$arm:m@#0.1","COMPLETED",""],"emits":[{begins},{first}]}}'), "commit 1")
    with pytest.raises(Violation, match="2 items of m@#0 outstanding; 1 may be"):
        watch.follow(commit(f'{{"emits":[{second}]}}'), "commit 2")
    with pytest.raises(Violation, match="is over"):
        watch.follow(commit('{"settle":["m@#0.1","FAILED",""]}'), "commit 3")
