"""Patches of runs in which a map is at work."""

from __future__ import annotations

import json

from tests.engine.harness import Harness
from tests.engine.patching import add_edge, add_node, function, patch, refused, replace

BODY = {"type": "function", "config": {"handler": "echo", "params": "${item}"}}


def at_work(harness: Harness, items: int = 6, window: int = 2) -> str:
    """A run whose map has begun its first window; nothing has been answered."""
    node = {"id": "all", "type": "map", "config": {"items": "${input}", "max_concurrency": window, "body": BODY}}
    run_id = harness.start(
        {"nodes": [node, function("end")], "edges": [{"from": "all", "to": "end"}]}, list(range(items))
    )
    while harness.settle_batch():
        pass
    return run_id


def finish(harness: Harness, run_id: str) -> dict:
    harness.drain()
    harness.assert_fold_equals_store(run_id)
    return json.loads(harness.store.snapshot(run_id, ("val",))["val"]["all@#0"].split("|", 1)[1])["o"]


def test_a_changed_body_holds_for_the_items_that_begin_from_then_on(harness: Harness) -> None:
    run_id = at_work(harness)
    answer = patch(harness, run_id, replace("/nodes/all/config/body/config/params", "${item * 100}"))
    assert answer["changed"] == ["all"]
    assert finish(harness, run_id) == [0, 1, 200, 300, 400, 500]


def test_a_changed_body_holds_for_the_next_attempt_of_an_item(harness: Harness) -> None:
    harness.worker = lambda task: (
        {"status": "failed", "error": {"type": "Boom", "message": "no"}}
        if task["attempt"] == 1
        else {"status": "completed", "result": task["config"]["params"]}
    )
    node = {"id": "all", "type": "map", "config": {"items": [7], "body": {**BODY, "retry": {"max_attempts": 2}}}}
    run_id = harness.start({"nodes": [node]})
    for _ in range(3):
        harness.settle_batch() or harness.work_batch()
    patch(harness, run_id, replace("/nodes/all/config/body/config/params", "${item * 100}"))
    assert finish(harness, run_id) == [700]


def test_what_a_map_that_has_begun_does_for_each_item_stays(harness: Harness) -> None:
    run_id = at_work(harness)
    error = refused(
        harness,
        run_id,
        replace("/nodes/all/config/body", {"type": "transform", "config": {"value": 1}}),
    )
    assert "its type stays" in error.problems[0].message
    assert finish(harness, run_id) == list(range(6))


def test_a_map_that_has_not_begun_may_be_changed_whole(harness: Harness) -> None:
    node = {"id": "all", "type": "map", "config": {"items": "${input}", "body": BODY}}
    document = {"nodes": [function("first"), node], "edges": [{"from": "first", "to": "all"}]}
    run_id = harness.start(document, [1, 2])
    while harness.settle_batch():
        pass
    patch(harness, run_id, replace("/nodes/all/config/body", {"type": "transform", "config": {"value": "${index}"}}))
    assert finish(harness, run_id) == [0, 1]


def test_nodes_are_added_behind_a_map_at_work_and_behind_one_that_is_over(harness: Harness) -> None:
    run_id = at_work(harness)
    patch(harness, run_id, add_node(function("beside", "${ctx.all.output}")), add_edge("all>beside"))
    late = {"id": "late", "type": "wait", "config": {"seconds": 3600}}
    patch(harness, run_id, add_node(late))
    while harness.settle_batch() or harness.work_batch():
        pass
    patch(harness, run_id, add_node(function("after", "${size(ctx.all.output)}")), add_edge("all>after"))
    assert finish(harness, run_id) == list(range(6))
    given = {task["node_id"]: task["config"]["params"] for task in harness.tasks if task["node_id"] != "all"}
    assert (given["beside"], given["after"]) == (list(range(6)), 6)


def test_an_item_may_bring_a_patch_with_its_result(harness: Harness) -> None:
    operations = [add_node(function("added", "${ctx.all.output}")), add_edge("all>added")]

    def worker(task: dict) -> dict:
        answer = {"status": "completed", "result": task["config"]["params"]}
        return (
            {**answer, "patch": {"operations": operations, "description": "more"}} if task.get("index") == 3 else answer
        )

    harness.worker = worker
    run_id = at_work(harness)
    assert finish(harness, run_id) == list(range(6))
    assert [task["node_id"] for task in harness.tasks].count("added") == 1
    applied = next(event for event in harness.events(run_id) if event["type"] == "patch_applied")
    assert applied["actor"] == "node:all"


def test_the_tolerance_and_window_of_a_map_at_work_stay_and_a_warning_says_so(harness: Harness) -> None:
    run_id = at_work(harness)
    answer = patch(harness, run_id, replace("/nodes/all/config/max_concurrency", 5))
    assert any("all" in warning["message"] for warning in answer["warnings"])
    assert finish(harness, run_id) == list(range(6))
