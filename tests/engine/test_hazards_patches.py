"""HAZARDS 7, 8, 25 to 27 and 30, one interleaving each: patches against what happens beside them, and their repeats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.domain.errors import Conflict, InvalidInput, Unavailable
from chalicelib.engine.patches import MAX_TRIES, patch_run, revert_patch
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, count, lost_reply
from tests.engine.patching import (
    Held,
    add_edge,
    add_node,
    edge,
    edges,
    function,
    patch,
    problem,
    refused,
    remove,
    replace,
    request,
    revert,
    status,
)
from tests.engine.test_patch_races import meddled, once

Json = Any


def begin(harness: Harness, nodes: list[Json], edge_list: list[Json], **more: Json) -> tuple[str, Held]:
    held = Held(harness)
    run_id = harness.start({"nodes": nodes, "edges": edge_list, **more})
    held.settle()
    return run_id, held


def finish(harness: Harness, run_id: str, held: Held, status: str = "COMPLETED") -> None:
    held.settle()
    while held.waiting:
        held.done(next(iter(held.waiting)))
    harness.drain()
    assert_whole(harness, run_id, status)


def test_7_what_settles_between_plan_and_commit_makes_the_patch_plan_again(harness: Harness) -> None:
    """F is at work and J has three of its four edges; F settles while the patch is on its way."""
    run_id, held = begin(harness, [function(n) for n in "fpqrj"], edges("f>j p>j q>j r>j"))
    for node in "pqr":
        held.done(node)
    services = meddled(harness, once(lambda: held.done("f")))
    operations = [add_node(function("n")), add_edge("f>n"), add_node(function("m")), add_edge("n>m")]
    answer = patch_run(services, request(run_id, operations))
    assert answer["dispatched"] == ["n"]
    held.settle()
    assert set(held.waiting) == {"j", "n"}
    finish(harness, run_id, held)
    assert [task["node_id"] for task in harness.tasks].count("j") == 1


def test_7_a_join_reached_between_plan_and_commit_keeps_its_arrivals(harness: Harness) -> None:
    run_id, held = begin(harness, [function(n) for n in "fpqj"], edges("f>j p>j q>j"))
    held.done("p")
    services = meddled(harness, once(lambda: held.done("f")))
    patch_run(services, request(run_id, [add_node(function("n")), add_edge("n>j"), remove("/edges/q:j")]))
    held.settle()
    assert "j" not in held.waiting
    held.done("n")
    assert "j" in held.waiting
    finish(harness, run_id, held)


def test_7_a_node_that_starts_between_plan_and_commit_is_not_changed_under_its_feet(harness: Harness) -> None:
    run_id, held = begin(harness, [function("a"), function("b")], edges("a>b"))
    services = meddled(harness, once(lambda: held.done("a")))
    with pytest.raises(InvalidInput) as caught:
        patch_run(services, request(run_id, [replace("/nodes/b", {"id": "b", "type": "pass"})]))
    assert "running" in caught.value.problems[0].message
    finish(harness, run_id, held)


def test_7_a_run_that_never_holds_still_refuses_the_patch_whole(harness: Harness) -> None:
    run_id, held = begin(harness, [function(f"n{i}") for i in range(MAX_TRIES + 5)] + [function("z")], [])
    nodes = iter(list(held.waiting))
    services = meddled(harness, lambda: held.done(next(nodes)))
    operations = [add_node(function("m")), *(add_edge(f"n{i}>m") for i in range(MAX_TRIES + 5))]
    with pytest.raises(Unavailable):
        patch_run(services, request(run_id, operations))
    assert harness.meta(run_id)["rev"] == "0" and count(harness, run_id, "patch_applied") == 0
    finish(harness, run_id, held)


def test_8_a_patch_whose_reply_was_lost_is_answered_as_done_and_is_there_once(harness: Harness) -> None:
    run_id, held = begin(harness, [function("a"), function("b")], edges("a>b"))
    commit = harness.store.commit
    harness.store.commit = lost_reply(commit)
    asked = request(run_id, [add_node(function("n"))], once="key", revisions=(0,))
    with pytest.raises(Unavailable):
        patch_run(harness.services, asked)
    harness.store.commit = commit
    harness.clock.now += 3000
    answer = patch_run(harness.services, asked)
    assert (answer["revision"], answer["added"]) == (1, ["n"])
    assert patch_run(harness.services, asked) == answer
    harness.clock.now += 61_000
    finish(harness, run_id, held)
    assert count(harness, run_id, "patch_applied") == 1


def test_8_a_start_repeated_after_redis_lost_everything_is_the_same_run(harness: Harness) -> None:
    document = {"nodes": [function("a")], "edges": []}
    first = harness.start(document, {"n": 1}, idempotency_key="key")
    harness.client.flushall()
    assert harness.start(document, {"n": 1}, idempotency_key="key") == first
    with pytest.raises(Conflict):
        harness.start(document, {"n": 2}, idempotency_key="key")
    assert harness.journal.runs == [first]
    harness.clock.now += 61_000
    harness.drain()
    assert len({task["job_id"] for task in harness.tasks}) == 1
    assert count(harness, first, "run_created") == count(harness, first, "node_completed") == 1
    assert_whole(harness, first)


BODY = [
    function("a"),
    function("b"),
    {"id": "l", "type": "loop", "loop": {"condition": "iteration < 3", "loop_back_to": "a"}},
]


def test_25_a_body_node_is_judged_in_the_open_iteration_alone(harness: Harness) -> None:
    run_id, held = begin(harness, BODY, edges("a>b b>l"))
    held.done("a")
    assert problem(refused(harness, run_id, remove("/nodes/b"), add_edge("a>l")))[0] == "node_started"
    held.done("b")
    assert status(harness, run_id, "b") == "COMPLETED" and held.waiting["a"]["iteration"] == 2
    patch(harness, run_id, replace("/nodes/b", {"id": "b", "type": "transform", "config": {"value": "${iteration}"}}))
    held.done("a")
    assert held.waiting["a"]["iteration"] == 3
    finish(harness, run_id, held)
    assert [task["node_id"] for task in harness.tasks] == ["a", "b", "a", "a"]


def test_26_what_has_finished_in_whatever_way_takes_no_more_edges(harness: Harness) -> None:
    nodes = [function(n) for n in ("a", "skipped", "other", "live")] + [function("join", join="any")]
    edge_list = [*edges("a>join other>join"), {"from": "a", "to": "skipped", "condition": "false"}]
    run_id, held = begin(harness, nodes, edge_list)
    held.done("a")
    assert [status(harness, run_id, node) for node in ("skipped", "join")] == ["SKIPPED", "RUNNING"]
    for target in ("a", "skipped", "join"):
        error = refused(harness, run_id, add_edge(f"live>{target}"))
        assert problem(error) == ("node_started", "/operations/0/path")
    finish(harness, run_id, held)


def test_26_an_edge_out_of_a_finished_node_uses_its_newest_settlement(harness: Harness) -> None:
    run_id, held = begin(harness, [*BODY, function("after"), function("z")], edges("a>b b>l l>after"))
    for result in (1, 2, 3):
        held.done("a", result=result)
        held.done("b", result=result)
    assert "after" in held.waiting
    patch(harness, run_id, add_node(function("n", "${iteration}")), add_edge("l>n"))
    held.settle()
    assert "n" in held.waiting
    shown = [task for task in harness.tasks if task["node_id"] == "n"]
    assert len(shown) == 1 and shown[0]["loops"] == {}
    finish(harness, run_id, held)


@pytest.mark.parametrize("failing", ["a", "ac"])
def test_24_a_failure_edge_that_a_patch_adds_out_of_a_failed_body_node_ends_the_loop(
    harness: Harness, failing: str
) -> None:
    """A failure edge that was not taken had let the loop go on; the one that the patch adds does not."""
    looping = {"id": "l", "type": "loop", "loop": {"condition": "iteration < 3", "loop_back_to": "s"}}
    nodes = [*(function(n) for n in ("s", "a", "b", "c")), looping, function("after"), function("other")]
    body = edges("s>a s>b s>c a>l b>l c>l l>after")
    into = [edge(f"{node}>other:failure", condition="error.type == 'Other'") for node in "ac"]
    run_id, held = begin(harness, nodes, [*body, *into], on_failure="finish_branches")
    held.done("s")
    for node in failing:
        held.fail(node)
    added = [add_edge(f"{node}>handler:failure") for node in failing]
    answer = patch(harness, run_id, add_node(function("handler", join="any")), *added)
    assert answer["dispatched"] == ["handler"]
    held.settle()
    for node in sorted({"b", "c"} - set(failing)):
        held.done(node)
    assert set(held.waiting) == {"handler"}, "the loop went on"
    assert [status(harness, run_id, node) for node in ("l", "after")] == ["SKIPPED", "SKIPPED"]
    finish(harness, run_id, held)


def test_24_an_edge_that_reaches_the_loop_between_plan_and_commit_makes_such_a_patch_plan_again(
    harness: Harness,
) -> None:
    looping = {"id": "l", "type": "loop", "loop": {"condition": "iteration < 3", "loop_back_to": "s"}}
    nodes = [*(function(n) for n in ("s", "a", "b", "c")), looping, function("other")]
    into = edge("a>other:failure", condition="error.type == 'Other'")
    body = edges("s>a s>b s>c a>l b>l c>l")
    run_id, held = begin(harness, nodes, [*body, into], on_failure="finish_branches")
    held.done("s")
    held.fail("a")
    services = meddled(harness, once(lambda: held.done("b")))
    patch_run(services, request(run_id, [add_node(function("handler")), add_edge("a>handler:failure")]))
    held.settle()
    held.done("c")
    assert set(held.waiting) == {"handler"} and status(harness, run_id, "l") == "SKIPPED"
    finish(harness, run_id, held)


def test_26_a_failure_edge_added_to_a_failed_node_handles_that_failure(harness: Harness) -> None:
    run_id, held = begin(harness, [function("a"), function("b")], [], on_failure="finish_branches")
    held.fail("a")
    answer = patch(harness, run_id, add_node(function("fix")), add_edge("a>fix:failure"))
    assert answer["dispatched"] == ["fix"]
    finish(harness, run_id, held)


def test_26_a_retrying_node_takes_the_patched_config_at_its_next_attempt(harness: Harness) -> None:
    node = function("a", 1, retry={"max_attempts": 2, "backoff_ms": 60_000})
    run_id, held = begin(harness, [node], [])
    harness.answer(held.waiting.pop("a"), {"status": "failed", "error": {"type": "Boom", "message": "no"}})
    held.settle()
    assert status(harness, run_id, "a") == "RETRYING"
    patch(harness, run_id, replace("/nodes/a/config/params", 2))
    assert problem(refused(harness, run_id, remove("/nodes/a"), add_node(function("b"))))[0] == "node_started"
    harness.drain()
    assert [task["config"]["params"] for task in harness.tasks] == [1, 2]
    assert_whole(harness, run_id)


def test_27_a_refused_patch_in_a_signal_fails_its_node_for_good_and_says_why(harness: Harness) -> None:
    node = function("a", retry={"max_attempts": 5, "backoff_ms": 0})
    run_id, held = begin(harness, [node, function("b"), function("saved")], edges("a>b a>saved:failure"))
    wish = {"operations": [add_node(function("n")), remove("/nodes/a")], "description": "?"}
    harness.answer(held.waiting.pop("a"), {"status": "completed", "result": 1, "patch": wish})
    held.settle()
    assert set(held.waiting) == {"saved"} and harness.meta(run_id)["rev"] == "0"
    (failed,) = [event for event in harness.events(run_id) if event["type"] == "node_failed"]
    error = failed["data"]["error"]
    assert (error["type"], error["retryable"]) == ("PatchRefused", False)
    assert error["errors"][0]["path"].startswith("/operations/1")
    finish(harness, run_id, held)


def test_27_a_stale_patch_in_a_signal_is_planned_again_on_the_new_graph(harness: Harness) -> None:
    run_id, held = begin(harness, [function("a"), function("b"), function("c")], edges("a>b"))
    wish = {"operations": [add_node(function("n")), add_edge("a>n")], "description": "more"}
    harness.answer(held.waiting.pop("a"), {"status": "completed", "result": 1, "patch": wish})
    patch(harness, run_id, add_node(function("m")), add_edge("b>m"))
    held.settle()
    assert set(held.waiting) == {"b", "c", "n"}
    assert harness.meta(run_id)["rev"] == "2"
    finish(harness, run_id, held)


def test_30_a_revert_goes_by_id_whatever_later_patches_did_to_the_places(harness: Harness) -> None:
    run_id, held = begin(harness, [function("a"), function("b")], edges("a>b"))
    patch(harness, run_id, add_node(function("n")), add_edge("b>n"))
    first = {"op": "add", "path": "/nodes/0", "value": function("first")}
    patch(
        harness, run_id, first, {"op": "add", "path": "/edges/0", "value": {"from": "first", "to": "b", "on": "always"}}
    )
    answer = revert(harness, run_id, 1)
    assert (answer["removed"], answer["edges_removed"], answer["added"]) == (["n"], ["b:n:success"], [])
    document = harness.services.plans.load(harness.meta(run_id)["graph"]).document
    assert [node["id"] for node in document["nodes"]] == ["first", "a", "b"]
    finish(harness, run_id, held)


def test_30_a_revert_of_what_a_later_patch_rests_on_is_a_conflict_that_names_it(harness: Harness) -> None:
    run_id, held = begin(harness, [function("a"), function("b")], edges("a>b"))
    patch(harness, run_id, add_node(function("n")), add_edge("b>n"))
    patch(harness, run_id, replace("/nodes/n/config/params", 5))
    with pytest.raises(Conflict) as caught:
        revert_patch(harness.services, request(run_id, [], description=""), 1)
    assert [found.path for found in caught.value.problems] == ["/nodes/n"]
    finish(harness, run_id, held)
    assert json.loads(harness.meta(run_id)["output"]) == {"n": 5}
