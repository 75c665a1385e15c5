from __future__ import annotations

import json

import pytest

from chalicelib.domain.errors import Conflict
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.redo import redrive_run, rerun_node, skip_node
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, handle_until_done, signal, tasks
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all


class Flaky:
    """A worker that fails the nodes in `broken`."""

    def __init__(self, *broken: str) -> None:
        self.broken = set(broken)
        self.ran: list[str] = []

    def __call__(self, task: dict) -> dict:
        self.ran.append(task["node_id"])
        if task["node_id"] in self.broken:
            return {"status": "failed", "error": {"type": "Boom", "message": "no"}}
        return {"status": "completed", "result": task["config"].get("params")}


DIAMOND = {
    "nodes": [function("a", {"n": 1}), function("b", {"n": "${ctx.a.output.n + 1}"}), function("c"), function("j")],
    "edges": edges("a:b", "a:c", "b:j", "c:j"),
}


def test_redrive_runs_again_what_failed_and_keeps_the_rest(harness: Harness) -> None:
    worker = harness.worker = Flaky("b")
    run_id = harness.run(DIAMOND)["run_id"]
    assert harness.meta(run_id)["status"] == "FAILED"
    worker.broken.clear()
    worker.ran.clear()
    redrive_run(harness.services, run_id, "ann")
    harness.drain()
    meta = harness.meta(run_id)
    assert meta["status"] == "COMPLETED" and "error" not in meta
    assert "a" not in worker.ran and sorted(worker.ran).count("b") == 1 and worker.ran.count("j") == 1
    assert "run_redriven" in [event["type"] for event in harness.events(run_id)]
    harness.assert_fold_equals_store(run_id)
    with pytest.raises(Conflict):
        redrive_run(harness.services, run_id, "ann")


def test_redrive_of_a_cancelled_run_goes_on_where_it_stood(harness: Harness) -> None:
    worker = harness.worker = Flaky()
    run_id = harness.start(DIAMOND)
    settle_all(harness)
    harness.work_batch()
    settle_all(harness)
    cancel_run(harness.services, run_id, "ann")
    harness.drain()
    worker.ran.clear()
    redrive_run(harness.services, run_id, "ann")
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    assert "a" not in worker.ran
    harness.assert_fold_equals_store(run_id)


def test_redrive_works_when_the_keys_are_gone(harness: Harness) -> None:
    worker = harness.worker = Flaky("c")
    run_id = harness.run(DIAMOND)["run_id"]
    harness.retire(run_id)
    worker.broken.clear()
    redrive_run(harness.services, run_id, "ann")
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    harness.assert_fold_equals_store(run_id)


def test_a_late_signal_of_the_old_epoch_changes_nothing_after_a_redrive(harness: Harness) -> None:
    harness.worker = Flaky("b")
    run_id = harness.run(DIAMOND)["run_id"]
    old = next(task for task in harness.tasks if task["node_id"] == "b")
    harness.worker = Flaky()
    redrive_run(harness.services, run_id, "ann")
    harness.answer(old, {"status": "completed", "result": "late"})
    harness.drain()
    executions = harness.store.snapshot(run_id, ("done",))["done"]
    assert harness.meta(run_id)["status"] == "COMPLETED"
    assert sorted(text for text in executions if text.startswith("b@")) == ["b@#0.1", "b@#1.2"]


def test_rerun_from_a_node_runs_it_and_all_behind_it(harness: Harness) -> None:
    worker = harness.worker = Flaky()
    run_id = harness.run(DIAMOND)["run_id"]
    worker.ran.clear()
    rerun_node(harness.services, run_id, "b", "ann")
    harness.drain()
    assert worker.ran == ["b", "j"]
    assert harness.meta(run_id)["status"] == "COMPLETED"
    harness.assert_fold_equals_store(run_id)


def test_rerun_of_a_node_at_work_cancels_its_attempt(harness: Harness) -> None:
    run_id = harness.start(DIAMOND)
    settle_all(harness)
    first = json.loads(harness.queues.receive("tasks-function")[0].body)
    rerun_node(harness.services, run_id, "a", "ann")
    harness.answer(first, {"status": "completed", "result": {"n": 100}})
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    assert [task["attempt"] for task in harness.tasks if task["node_id"] == "a"] == [2]
    harness.assert_fold_equals_store(run_id)


def test_rerun_in_a_loop_starts_the_open_iteration_there(harness: Harness) -> None:
    document = {
        "nodes": [
            function("work", {"i": "${iteration}"}),
            {"id": "again", "type": "loop", "loop": {"condition": "iteration < 3", "loop_back_to": "work"}},
            function("after", {"i": "${ctx.work.output.i}"}),
        ],
        "edges": edges("work:again", "again:after"),
    }
    worker = harness.worker = Flaky("after")
    run_id = harness.run(document)["run_id"]
    assert worker.ran == ["work", "work", "work", "after"]
    worker.broken.clear()
    worker.ran.clear()
    redrive_run(harness.services, run_id, "ann")
    harness.drain()
    assert worker.ran == ["after"] and harness.output(run_id) == {"after": {"i": 3}}
    rerun_node(harness.services, run_id, "work", "ann")
    harness.drain()
    assert worker.ran == ["after", "work", "after"]
    assert harness.output(run_id) == {"after": {"i": 3}}
    harness.assert_fold_equals_store(run_id)


def test_skip_settles_a_waiting_node_with_a_substitute(harness: Harness) -> None:
    document = {
        "nodes": [{"id": "w", "type": "wait", "config": {"seconds": 86400}}, function("b", {"v": "${output.v}"})],
        "edges": edges("w:b"),
    }
    run_id = harness.start(document)
    settle_all(harness)
    skip_node(harness.services, run_id, "w", {"v": 7}, "ann")
    settle_all(harness)
    harness.work_batch()
    settle_all(harness)
    assert harness.output(run_id) == {"b": {"v": 7}}


def test_a_node_that_is_about_to_wait_is_skipped_where_it_stands(harness: Harness) -> None:
    """It used to be reset with all behind it, and a paused run went on."""
    nodes = [function("a"), {"id": "w", "type": "event", "config": {"name": "n"}}, function("b", "${output.v}")]
    run_id = harness.start({"nodes": nodes, "edges": edges("a:w", "w:b")})
    found = tasks(harness)
    pause_run(harness.services, run_id, "ann")
    handle_until_done(harness, signal(found["a"], 1))
    skip_node(harness.services, run_id, "w", {"v": 7}, "ann")
    harness.drain()
    assert (harness.meta(run_id)["status"], harness.meta(run_id)["epoch"]) == ("PAUSED", "0")
    resume_run(harness.services, run_id, "ann")
    harness.drain()
    assert harness.output(run_id) == {"b": 7}
    assert_whole(harness, run_id)


def test_skip_of_a_failed_node_takes_the_run_up_again(harness: Harness) -> None:
    harness.worker = Flaky("b")
    run_id = harness.run(DIAMOND)["run_id"]
    skip_node(harness.services, run_id, "b", {"n": 9}, "ann")
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    with pytest.raises(Conflict):
        skip_node(harness.services, run_id, "b", {"n": 9}, "ann")
    harness.assert_fold_equals_store(run_id)


def test_a_rerun_join_that_begins_at_once_is_not_begun_again_by_what_comes_later(harness: Harness) -> None:
    """`j` needs one edge and has it from `a`, which is kept; `b`, which runs again, also leads to it."""
    j = {**function("j"), "join": "any"}
    run_id = harness.start({"nodes": [function("a"), function("b"), j], "edges": edges("a:j", "b:j")})
    sent = tasks(harness)
    handle_until_done(harness, signal(sent["a"]))
    rerun_node(harness.services, run_id, "b", "ann")
    harness.drain()
    harness.clock.now += 31_000
    harness.drain()
    begun = [(e["node_id"], e["attempt"]) for e in harness.events(run_id) if e["type"] == "node_dispatched"]
    assert sorted(begun) == [("a", 1), ("b", 1), ("b", 2), ("j", 1), ("j", 2)]
    assert_whole(harness, run_id)


def test_28_a_rerun_begins_nothing_twice_of_a_wide_fan_out_that_was_under_way(harness: Harness) -> None:
    """The parts that were still to begin did so beside those of the second try: each node behind ran twice."""
    names = [f"n{i}" for i in range(350)]
    run_id = harness.start(
        {"nodes": [function("a"), *map(function, names)], "edges": edges(*(f"a:{n}" for n in names))}
    )
    settle_all(harness)
    harness.work_batch()
    harness.settle_batch()
    began = harness.store.snapshot(run_id, ("tok", "dis"))
    assert [name for name in began["tok"] if name.startswith("$fan:")], "some are yet to begin"
    rerun_node(harness.services, run_id, "a", "op")
    harness.drain()
    after = harness.store.snapshot(run_id, ("dis",))["dis"]
    assert {name for name in after if name.endswith("#0.1")} == {name for name in began["dis"] if name.endswith("#0.1")}
    assert_whole(harness, run_id)
