"""Patches against what happens between their planning and their commit (HAZARDS 7)."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.domain.errors import Conflict, GraftError, Unavailable
from chalicelib.engine.patches import MAX_TRIES, patch_run
from chalicelib.engine.services import Services
from tests.engine.harness import Harness
from tests.engine.patching import Held, add_edge, add_node, edges, function, remove, replace, request

Json = Any
CHAIN = {"nodes": [function("a", 1), function("b", 2), function("c", 3)], "edges": edges("a>b b>c")}


class Meddling:
    """A store in which something else happens just before a patch commits."""

    def __init__(self, store: Any, meddle: Callable[[], None]) -> None:
        self._store, self._meddle = store, meddle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, calls: Any) -> Any:
        self._meddle()
        return self._store.commit(calls)


def meddled(harness: Harness, meddle: Callable[[], None]) -> Services:
    return dataclasses.replace(harness.services, store=Meddling(harness.store, meddle))


def once(action: Callable[[], None]) -> Callable[[], None]:
    left = [action]
    return lambda: left.pop()() if left else None


def begin(harness: Harness, document: Json = CHAIN) -> tuple[str, Held]:
    held = Held(harness)
    run_id = harness.start(document)
    held.settle()
    return run_id, held


def finish(harness: Harness, run_id: str, held: Held) -> dict:
    held.settle()
    while held.waiting:
        held.done(next(iter(held.waiting)))
    harness.drain()
    harness.assert_fold_equals_store(run_id)
    return harness.meta(run_id)


def test_a_source_that_completes_meanwhile_still_takes_its_new_edge(harness: Harness) -> None:
    run_id, held = begin(harness)
    services = meddled(harness, once(lambda: held.done("a")))
    answer = patch_run(services, request(run_id, [add_node(function("n")), add_edge("a>n")]))
    assert answer["dispatched"] == ["n"], "planned again, on the completed node"
    assert json.loads(finish(harness, run_id, held)["output"]) == {"c": 3, "n": None}


def test_a_node_that_starts_meanwhile_is_not_removed(harness: Harness) -> None:
    run_id, held = begin(harness)
    services = meddled(harness, once(lambda: held.done("a")))
    with pytest.raises(GraftError) as caught:
        patch_run(services, request(run_id, [remove("/nodes/b"), add_edge("a>c")]))
    assert caught.value.problems[0].code == "node_started"
    assert json.loads(finish(harness, run_id, held)["output"]) == {"c": 3}


def test_an_arrival_made_meanwhile_is_not_lost_by_the_recount(harness: Harness) -> None:
    document = {"nodes": [function(n) for n in "abcj"], "edges": edges("a>j b>j c>j")}
    run_id, held = begin(harness, document)
    held.done("a")
    services = meddled(harness, once(lambda: held.done("b")))
    answer = patch_run(services, request(run_id, [remove("/edges/c:j")]))
    assert answer["dispatched"] == ["j"]
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_loop_that_goes_on_meanwhile_gets_the_patch_in_its_next_iteration(harness: Harness) -> None:
    loop = {"condition": "iteration < 3", "max_iterations": 9, "loop_back_to": "a"}
    nodes = [function("a"), function("b"), {"id": "l", "type": "loop", "loop": loop}]
    run_id, held = begin(harness, {"nodes": nodes, "edges": edges("a>b b>l")})

    def next_iteration() -> None:
        held.done("a")
        held.done("b")

    services = meddled(harness, once(next_iteration))
    patch_run(services, request(run_id, [add_node(function("n")), add_edge("a>n"), add_edge("n>l")]))
    assert finish(harness, run_id, held)["status"] == "COMPLETED"
    loops = [(task["node_id"], task["loops"]["l"]) for task in harness.tasks]
    assert loops.count(("n", 1)) == 0
    assert loops.count(("n", 2)) == loops.count(("n", 3)) == 1


def test_the_end_of_the_run_meanwhile_is_a_conflict(harness: Harness) -> None:
    run_id, held = begin(harness, {"nodes": [function("a")], "edges": []})
    services = meddled(harness, once(lambda: held.done("a")))
    with pytest.raises(Conflict):
        patch_run(services, request(run_id, [add_node(function("n"))]))
    assert harness.meta(run_id)["status"] == "COMPLETED"


def test_a_failure_meanwhile_is_not_forgotten_with_the_one_that_is_handled(harness: Harness) -> None:
    document = {"on_failure": "finish_branches", "nodes": [function(n) for n in "abc"], "edges": []}
    run_id, held = begin(harness, document)
    held.fail("a")
    services = meddled(harness, once(lambda: held.fail("b")))
    patch_run(services, request(run_id, [add_node(function("fix")), add_edge("a>fix:failure")]))
    run = finish(harness, run_id, held)
    assert (run["status"], json.loads(run["error"])["node_id"]) == ("FAILED", "b")


def test_a_run_lost_meanwhile_is_rebuilt_and_patched(harness: Harness) -> None:
    run_id, held = begin(harness)
    held.done("a")
    services = meddled(harness, once(harness.client.flushall))
    assert patch_run(services, request(run_id, [add_node(function("n")), add_edge("a>n")]))["dispatched"] == ["n"]
    held.waiting.clear()
    harness.drain()
    assert harness.meta(run_id)["rev"] == "1"


def test_a_revision_that_becomes_stale_meanwhile_conflicts(harness: Harness) -> None:
    run_id, held = begin(harness)
    other = request(run_id, [add_node(function("m"))])
    services = meddled(harness, once(lambda: patch_run(harness.services, other) and None))
    with pytest.raises(Conflict) as caught:
        patch_run(services, request(run_id, [add_node(function("n"))], revisions=(0,)))
    assert caught.value.extra == {"revision": 1}
    assert finish(harness, run_id, held)["rev"] == "1"


def test_a_run_that_never_holds_still_answers_unavailable_and_keeps_nothing(harness: Harness) -> None:
    run_id, held = begin(harness)
    count = [0]

    def meddle() -> None:
        count[0] += 1
        patch_run(harness.services, request(run_id, [replace("/nodes/c/config/params", count[0])]))

    with pytest.raises(Unavailable):
        patch_run(meddled(harness, meddle), request(run_id, [add_node(function("n"))]))
    assert count == [MAX_TRIES]
    assert "n" not in harness.services.plans.load(harness.meta(run_id)["graph"]).nodes
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


@pytest.mark.parametrize("seed", range(10))
def test_sixteen_patchers_among_settlements_all_get_through(harness: Harness, seed: int) -> None:
    """Each adds a node behind a random one; between its planning and its commit others patch and nodes settle."""
    rng = random.Random(seed)
    names = [f"s{i}" for i in range(8)]
    document = {
        "nodes": [*map(function, names), function("j")],
        "edges": [{"from": name, "to": "j"} for name in names],
    }
    run_id, held = begin(harness, document)
    waiting = [(f"p{i}", rng.choice(names)) for i in range(16)]

    def meddle() -> None:
        for _ in range(rng.randrange(3)):
            if waiting and rng.random() < 0.6:
                patch_one()
            elif held.waiting and rng.random() < 0.5:
                held.done(rng.choice(sorted(held.waiting)))

    def patch_one() -> None:
        new, source = waiting.pop()
        operations = [add_node(function(new)), add_edge(f"{source}>{new}")]
        if "j" in held.waiting or any(task["node_id"] == "j" for task in harness.tasks):
            join: list[Json] = []
        else:
            join = [add_edge(f"{new}>j")]
        services = meddled(harness, meddle)
        try:
            patch_run(services, request(run_id, operations + join))
        except GraftError as error:
            assert [problem.code for problem in error.problems] == ["node_started"], "the join began meanwhile"
            patch_run(harness.services, request(run_id, operations))

    while waiting:
        patch_one()
    run = finish(harness, run_id, held)
    assert (run["status"], run["rev"]) == ("COMPLETED", "16")
    assert sorted(task["node_id"] for task in harness.tasks) == sorted([*names, "j", *(f"p{i}" for i in range(16))])
