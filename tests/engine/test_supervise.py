from __future__ import annotations

import json

import pytest

from chalicelib.domain.errors import Conflict
from chalicelib.engine.approvals import Decision, decide
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.directory_keys import LIVE_SHARDS, run_head_key
from chalicelib.engine.history import load_state
from chalicelib.engine.rearm import rearm
from chalicelib.engine.supervise import GRACE_MS, UNSENT_MS, detect_timeouts, sweep
from tests.engine.harness import Harness
from tests.engine.test_step import edges, function


def sweep_all(harness: Harness) -> None:
    for tick in range(LIVE_SHARDS):
        sweep(harness.services, tick)


def settle_all(harness: Harness) -> None:
    while harness.settle_batch():
        pass


def test_an_attempt_that_nobody_answers_times_out_and_is_retried(harness: Harness) -> None:
    run_id = harness.start(
        {"nodes": [function("slow", {"v": 1}, timeout_ms=5000, retry={"max_attempts": 2, "backoff_ms": 0})]}
    )
    settle_all(harness)
    lost = harness.queues.receive("tasks-function")[0]
    assert detect_timeouts(harness.services) == 0
    harness.clock.now += 5000
    assert detect_timeouts(harness.services) == 1
    assert detect_timeouts(harness.services) == 0
    harness.queues.delete("tasks-function", lost.receipt)
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    assert [task["attempt"] for task in harness.tasks] == [2]
    harness.answer(json.loads(lost.body), {"status": "completed", "result": "late"})
    harness.drain()
    assert harness.output(run_id) == {"slow": {"v": 1}}
    harness.assert_fold_equals_store(run_id)


def test_heartbeats_keep_an_attempt_alive_and_their_loss_fails_it(harness: Harness) -> None:
    from chalicelib.domain.commit import compact
    from chalicelib.engine.ports import Outgoing

    run_id = harness.start({"nodes": [function("slow", heartbeat_ms=2000)]})
    settle_all(harness)
    task = json.loads(harness.queues.receive("tasks-function")[0].body)
    for _ in range(3):
        harness.clock.now += 1500
        beat = {"version": "1.0", "kind": "heartbeat", "job_id": task["job_id"]}
        harness.queues.send([Outgoing("completion-signals", compact(beat))])
        settle_all(harness)
        assert detect_timeouts(harness.services) == 0
    harness.clock.now += 2000
    assert detect_timeouts(harness.services) == 1
    settle_all(harness)
    assert json.loads(harness.meta(run_id)["error"])["type"] == "HeartbeatLost"


def test_a_run_times_out_as_a_whole(harness: Harness) -> None:
    run_id = harness.start({"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 600}}], "timeout_ms": 1000})
    settle_all(harness)
    harness.clock.now += 1000
    detect_timeouts(harness.services)
    meta = harness.meta(run_id)
    assert (meta["status"], meta["out"]) == ("TIMED_OUT", "0")
    harness.drain()
    harness.assert_fold_equals_store(run_id)


def test_cancel_ends_a_run_and_ignores_what_comes_late(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a"), function("b")], "edges": edges("a:b")})
    settle_all(harness)
    cancel_run(harness.services, run_id, "ann")
    cancel_run(harness.services, run_id, "ann")
    harness.drain()
    assert harness.meta(run_id)["status"] == "CANCELLED"
    assert [task["node_id"] for task in harness.tasks] == ["a"]
    with pytest.raises(Conflict):
        pause_run(harness.services, run_id, "ann")
    harness.assert_fold_equals_store(run_id)


def test_pause_holds_what_becomes_ready_and_resume_sends_it(harness: Harness) -> None:
    document = {"nodes": [function("a"), function("b"), {"id": "c", "type": "pass"}], "edges": edges("a:b", "b:c")}
    run_id = harness.start(document)
    settle_all(harness)
    pause_run(harness.services, run_id, "ann")
    harness.drain()
    assert [task["node_id"] for task in harness.tasks] == ["a"]
    assert harness.meta(run_id)["status"] == "PAUSED"
    resume_run(harness.services, run_id, "ann")
    harness.drain()
    assert [task["node_id"] for task in harness.tasks] == ["a", "b"]
    assert harness.meta(run_id)["status"] == "COMPLETED"
    harness.assert_fold_equals_store(run_id)


def test_a_run_whose_end_is_held_by_a_pause_ends_on_resume(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    settle_all(harness)
    pause_run(harness.services, run_id, "ann")
    harness.drain()
    assert harness.meta(run_id)["status"] == "PAUSED"
    resume_run(harness.services, run_id, "ann")
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"


def test_a_wipe_of_the_store_loses_nothing(harness: Harness) -> None:
    document = {
        "nodes": [function("a", {"n": 1}), function("b", {"n": "${ctx.a.output.n + 1}"})],
        "edges": edges("a:b"),
    }
    run_id = harness.start(document)
    settle_all(harness)
    harness.work_batch()
    harness.client.flushall()
    sweep_all(harness)
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    assert harness.output(run_id) == {"b": {"n": 2}}
    harness.assert_fold_equals_store(run_id)


def test_a_start_that_died_before_its_first_message_is_begun_by_the_sweep(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    for message in harness.queues.receive("completion-signals"):
        harness.queues.delete("completion-signals", message.receipt)
    sweep_all(harness)
    assert harness.queues.depth("completion-signals") == 0
    harness.clock.now += UNSENT_MS
    sweep_all(harness)
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"


def test_an_ended_run_leaves_the_store_after_its_grace_and_keeps_its_history(harness: Harness) -> None:
    run_id = harness.run({"nodes": [function("a", {"v": 1})]})["run_id"]
    sweep_all(harness)
    assert harness.store.snapshot(run_id) is not None
    harness.clock.now += GRACE_MS
    sweep_all(harness)
    assert harness.store.snapshot(run_id) is None
    assert load_state(harness.services, run_id)["meta"]["status"] == "COMPLETED"
    assert not [key for key in harness.client.scan_iter() if run_id in key]


def test_a_store_that_fell_behind_and_moved_on_gives_way_to_the_journal(harness: Harness) -> None:
    """Redis failed over to an older copy: a signal names a commit that it does not have."""
    document = {
        "nodes": [function("a", {"n": 1}), function("b", {"n": 2}), function("c")],
        "edges": edges("a:b", "b:c"),
    }
    run_id = harness.start(document)
    settle_all(harness)
    old = harness.store.snapshot(run_id)
    harness.work_batch()
    settle_all(harness)
    harness.retire(run_id)
    assert old is not None
    harness.store.install(run_id, old)
    harness.drain()
    harness.clock.now += UNSENT_MS
    sweep_all(harness)
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    types = [event["type"] for event in harness.events(run_id)]
    assert "run_rebuilt" in types and types.count("node_completed") == 3
    harness.assert_fold_equals_store(run_id)


def test_an_end_whose_writer_died_before_the_journal_is_journaled_by_the_sweep(harness: Harness) -> None:
    """The API committed a cancel and died: nothing comes for a run that has ended, so nobody else writes it."""

    class Died(BaseException):
        pass

    run_id = harness.start({"nodes": [function("slow")]})
    settle_all(harness)

    def die(operation: str) -> None:
        if operation == "journal.append.before":
            raise Died

    harness.journal._fault = die
    with pytest.raises(Died):
        cancel_run(harness.services, run_id, actor="ann")
    harness.journal._fault = lambda _: None
    harness.clock.now += UNSENT_MS
    sweep_all(harness)
    assert load_state(harness.services, run_id)["meta"]["status"] == "CANCELLED"
    assert harness.directory.get(run_head_key(run_id))["status"] == "CANCELLED"
    harness.clock.now += GRACE_MS
    sweep_all(harness)
    assert harness.store.snapshot(run_id) is None


def test_a_run_that_is_let_go_leaves_no_deadline_behind(harness: Harness) -> None:
    """Its person had a day to answer, and answered at once."""
    node = {"id": "ask", "type": "human", "config": {"message": "?"}, "timeout_ms": 86_400_000}
    run_id = harness.start({"nodes": [node], "timeout_ms": 172_800_000})
    harness.drain()
    decide(harness.services, Decision(run_id, "ask", "ann", True))
    harness.drain()
    assert harness.store.due(harness.clock.now + 200_000_000, 100)
    harness.clock.now += GRACE_MS
    sweep_all(harness)
    assert harness.store.snapshot(run_id) is None
    assert harness.store.due(harness.clock.now + 200_000_000, 100) == []


def test_what_is_not_journaled_yet_gets_no_deadline_by_the_sweep(harness: Harness) -> None:
    """The detector would tell of its end before the journal knows of its beginning."""
    run_id = harness.start({"nodes": [function("a", timeout_ms=1000)]})
    append = harness.journal.append

    def swept_meanwhile(items: object, records: object = ()) -> object:
        harness.journal.append = append
        rearm(harness.services, run_id, only_new=True)
        assert not harness.store.due(harness.clock.now + 10_000, 10)
        return append(items, records)

    harness.journal.append = swept_meanwhile
    settle_all(harness)
    assert harness.journal.append == append
    assert harness.store.due(harness.clock.now + 10_000, 10)
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
