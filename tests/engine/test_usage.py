"""What a run's children use is the run's too: once, whatever is repeated or lost, and however the children end."""

from __future__ import annotations

import pytest

from chalicelib.domain.usage import MAX_USD, usage
from chalicelib.engine.controls import cancel_run
from chalicelib.engine.history import load_state
from chalicelib.engine.supervise import detect_timeouts
from tests.engine.family import SUB, assert_family, begun, children_of, save, settle_all
from tests.engine.harness import Harness
from tests.engine.hazards import recover
from tests.engine.test_step import edges, function

CALL = {"id": "call", "type": "workflow", "config": {"workflow": "sub", "input": {"n": 1}}}
ONLY = {"nodes": [CALL]}
#: Each attempt uses this.
USED = {"tokens_used": 10, "usd": 0.25}


def using(task: dict) -> dict:
    return {"status": "completed", "result": "well", "metadata": USED}


def failing(task: dict) -> dict:
    return {"status": "failed", "error": {"type": "Boom", "message": "no"}, "metadata": USED}


def used(harness: Harness, run_id: str) -> tuple[int, float]:
    """(tokens, USD), in the journal as in the store, if the run is there."""
    if harness.store.snapshot(run_id, ("meta",)) is not None:
        harness.assert_fold_equals_store(run_id)
    shown = usage(load_state(harness.services, run_id)["meta"])
    return shown["tokens"], shown["usd"]


def test_a_run_counts_what_its_children_and_theirs_used(harness: Harness) -> None:
    harness.worker = using
    save(harness, {"nodes": [function("one"), function("two")]})
    save(harness, {"nodes": [CALL, function("own")]}, name="middle")
    each = {"items": [1, 2, 3], "workflow": "sub"}
    nodes = [
        {"id": "call", "type": "workflow", "config": {"workflow": "middle"}},
        {"id": "each", "type": "map", "config": each},
        function("own"),
    ]
    run_id = harness.run({"nodes": nodes})["run_id"]
    (middle,) = children_of(harness, run_id)
    (leaf,) = children_of(harness, middle)
    assert [used(harness, run) for run in (leaf, middle, run_id)] == [(20, 0.5), (30, 0.75), (100, 2.5)]
    completed = [event for event in harness.events(run_id) if event["type"] == "node_completed"]
    (told,) = [event["data"]["metadata"] for event in completed if event["node_id"] == "call"]
    assert told == {"tokens_used": 30, "usd": 0.75}


def test_a_child_that_used_nothing_leaves_no_trace_of_it(harness: Harness) -> None:
    save(harness, SUB)
    run_id = harness.run(ONLY)["run_id"]
    assert used(harness, run_id) == (0, 0)
    assert all("metadata" not in event["data"] for event in harness.events(run_id))


def test_failed_children_count_each_attempt(harness: Harness) -> None:
    save(harness, SUB)
    harness.worker = failing
    retried = {**CALL, "retry": {"max_attempts": 3, "backoff_ms": 0}}
    run_id = harness.run({"nodes": [retried]})["run_id"]
    assert len(children_of(harness, run_id)) == 3
    assert used(harness, run_id) == (30, 0.75)


@pytest.mark.parametrize("timed_out", [False, True], ids=["cancelled", "timed out"])
def test_a_child_that_is_ended_from_outside_counts_what_it_used_till_then(harness: Harness, timed_out: bool) -> None:
    save(harness, {"nodes": [function("one"), function("two")], "edges": edges("one:two"), "timeout_ms": 5000})
    harness.worker = using
    run_id, child = begun(harness, ONLY)
    harness.work_batch()
    settle_all(harness)
    if timed_out:
        harness.clock.now += 5000
        detect_timeouts(harness.services)
    else:
        cancel_run(harness.services, child, "ann")
    harness.drain()
    assert_family(harness, {child: "TIMED_OUT" if timed_out else "CANCELLED", run_id: "FAILED"})
    assert used(harness, child) == used(harness, run_id) == (10, 0.25)


def test_what_is_used_while_a_child_is_being_cancelled_counts_too(harness: Harness) -> None:
    """The cancellation was decided on what the child had used before."""
    save(harness, {"nodes": [function("one"), function("two")], "edges": edges("one:two")})
    harness.worker = using
    run_id, child = begun(harness, ONLY)
    harness.work_batch()
    commit = harness.store.commit

    def late(calls):
        harness.store.commit = commit
        settle_all(harness)
        return commit(calls)

    harness.store.commit = late
    cancel_run(harness.services, child, "ann")
    harness.drain()
    assert used(harness, child) == used(harness, run_id) == (10, 0.25)


def test_a_call_that_is_over_counts_nothing_of_its_child_s_end(harness: Harness) -> None:
    save(harness, {"nodes": [function("one"), function("two")], "edges": edges("one:two")})
    harness.worker = using
    run_id, child = begun(harness, ONLY)
    harness.work_batch()
    settle_all(harness)
    cancel_run(harness.services, run_id, "ann")
    harness.drain()
    assert_family(harness, {child: "CANCELLED", run_id: "CANCELLED"})
    assert (used(harness, child), used(harness, run_id)) == ((10, 0.25), (0, 0))


@pytest.mark.parametrize("wipe", [False, True], ids=["", "wiped"])
def test_a_child_counts_once_however_often_its_end_is_told(harness: Harness, wipe: bool) -> None:
    save(harness, SUB)
    harness.worker = using
    seen: list[str] = []
    handle = harness.coordinator.handle

    def twice(bodies):
        seen.extend(bodies)
        handle(bodies)
        if wipe:
            harness.client.flushall()
        return handle(bodies)

    harness.coordinator.handle = twice
    run_id = harness.start({"nodes": [CALL, function("after")], "edges": edges("call:after")})
    harness.drain()
    for body in seen:
        handle([body])
    recover(harness)
    assert used(harness, run_id) == (20, 0.5)


def test_a_child_that_used_more_than_any_attempt_may_claim_is_counted_whole(harness: Harness) -> None:
    harness.worker = lambda task: {"status": "completed", "result": 1, "metadata": {"usd": MAX_USD}}
    save(harness, {"nodes": [function("one"), function("two"), function("three")]})
    run_id = harness.run(ONLY)["run_id"]
    assert used(harness, run_id) == (0, 3 * MAX_USD)


def test_what_an_undo_used_counts(harness: Harness) -> None:
    harness.worker = lambda task: failing(task) if task["node_id"] == "bad" else using(task)
    body = {"type": "function", "config": {"handler": "echo"}}
    nodes = [function("good", compensate=body), function("bad")]
    document = {"on_failure": "compensate", "nodes": nodes, "edges": edges("good:bad")}
    assert used(harness, harness.run(document)["run_id"]) == (30, 0.75)


@pytest.mark.parametrize(
    "result",
    [{"result": "x" * 70_000}, {"result_ref": "artifact://sha256/" + "0" * 64}],
    ids=["too large", "not stored"],
)
def test_an_attempt_whose_result_cannot_be_kept_counts_all_the_same(harness: Harness, result: dict) -> None:
    """It fails, and what it had used was left out."""
    harness.worker = lambda task: {"status": "completed", **result, "metadata": USED}
    document = {"nodes": [function("one")], "limits": {"artifact_bytes": 66_000}}
    meta = harness.run(document)
    assert meta["status"] == "FAILED"
    assert used(harness, meta["run_id"]) == (10, 0.25)
