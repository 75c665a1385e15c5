"""A rollback survives what any step survives: deaths, repeats, wipes, pauses, cancels, timeouts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator

import pytest
import redis

from chalicelib.adapters.redis.store import RedisRunStore
from chalicelib.domain.errors import Conflict, InvalidInput
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.forks import ForkRequest, fork_run
from chalicelib.engine.patches import patch_run
from chalicelib.engine.redo import redrive_run
from chalicelib.engine.rollback import rollback_run
from chalicelib.engine.supervise import detect_timeouts
from tests.doubles.faults import Fault, effect
from tests.doubles.journal import MemoryJournal
from tests.doubles.queues import MemoryQueues
from tests.engine.harness import Harness
from tests.engine.hazards import another, assert_whole, recover
from tests.engine.patching import add_node, request
from tests.engine.test_explain import explained
from tests.engine.test_patch_races import meddled, once
from tests.engine.test_rollback import TRIP, Booking, rolled_back, undone, view
from tests.engine.test_start import changed
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all, sweep_all

UNDONE = [("car", {"no": 3}), ("hotel", {"no": 2}), ("flight", {"no": 1})]
#: Any crash of a rollback comes within this many effects.
MANY = 200


class Dies(BaseException):
    """The process is gone."""


class Countdown:
    """Kills the process at the n-th effect, before or after it, counted from when it is armed."""

    def __init__(self, left: int) -> None:
        self.left, self.armed = left, False

    def __call__(self, operation: str) -> None:
        if self.armed and operation.endswith((".before", ".after")):
            self.left -= 1
            if self.left < 0:
                self.armed = False
                raise Dies(operation)


class MortalStore:
    """The store, with a stop before and after each effect."""

    def __init__(self, inner: RedisRunStore, fault: Fault) -> None:
        self._inner, self._fault = inner, fault

    def __getattr__(self, name: str) -> Callable[..., object]:
        call = getattr(self._inner, name)
        if name not in ("commit", "install", "acknowledge", "put_due"):
            return call

        def watched(*args: object, **named: object) -> object:
            with effect(self._fault, f"store.{name}"):
                return call(*args, **named)

        return watched


def mortal(client: redis.Redis, fault: Fault) -> Harness:
    """A harness whose process dies where `fault` says so."""
    client.flushall()
    harness = Harness(client)
    harness.journal = MemoryJournal(harness.directory, fault)
    harness.queues = MemoryQueues(harness.clock, fault)
    harness.store = MortalStore(harness.store, fault)
    changed(harness, journal=harness.journal, queues=harness.queues, store=harness.store)
    harness.coordinator = another(harness)
    return harness


def survive(harness: Harness) -> None:
    """Drain; after a death another process goes on with what SQS delivers again, and the sweep with the rest."""
    for _ in range(3):
        with contextlib.suppress(Dies):
            harness.drain()
        harness.coordinator = another(harness)
        harness.clock.now += 31_000
    recover(harness)


def crashes(client: redis.Redis) -> Iterator[tuple[Countdown, Harness]]:
    """A harness for each effect of what the caller does with it, until it does all of it alive."""
    for number in range(MANY):
        countdown = Countdown(number)
        yield countdown, mortal(client, countdown)
        if countdown.armed:
            assert number > 20, "nothing was ever killed"
            return
    raise AssertionError("the rollback never survived")


def fail_last(harness: Harness) -> str:
    """A trip of which all is booked, and whose last answer, a failure, waits in the queue."""
    harness.worker = Booking("pay")
    run_id = harness.start(TRIP)
    for _ in range(4):
        settle_all(harness)
        harness.work_batch()
    return run_id


def test_33_a_death_anywhere_in_the_rollback_after_a_failure_changes_nothing(client: redis.Redis) -> None:
    for countdown, harness in crashes(client):
        run_id = fail_last(harness)
        countdown.armed = True
        survive(harness)
        assert harness.worker.undid == UNDONE
        assert rolled_back(harness, run_id)["compensated"] == 3
        assert_whole(harness, run_id, "FAILED")


@pytest.mark.parametrize("steps", [2, 9], ids=["of a live run", "of a completed run"])
def test_33_a_death_anywhere_in_a_rollback_that_was_asked_for_changes_nothing(steps: int, client: redis.Redis) -> None:
    for countdown, harness in crashes(client):
        harness.worker = Booking()
        run_id = harness.start(TRIP)
        for _ in range(steps):
            settle_all(harness)
            harness.work_batch()
        settle_all(harness)
        harness.clock.now += 3000  # the last step's lease on the journal has run out: nobody waits for it
        countdown.armed = True
        try:
            rollback_run(harness.services, run_id, "ann")
        except Dies:
            with contextlib.suppress(Conflict):
                rollback_run(harness.services, run_id, "ann")
        survive(harness)
        assert harness.worker.undid == (UNDONE[-2:] if steps == 2 else UNDONE)
        assert_whole(harness, run_id, "FAILED")


def test_33_every_signal_delivered_three_times_undoes_nothing_twice(harness: Harness) -> None:
    run_id = fail_last(harness)
    handle = harness.coordinator.handle
    harness.coordinator.handle = lambda bodies: handle(bodies) | handle(bodies) | another(harness).handle(bodies)
    harness.drain()
    assert harness.worker.undid == UNDONE
    assert_whole(harness, run_id, "FAILED")


@pytest.mark.parametrize("number", range(4))
def test_33_a_wipe_of_the_store_in_the_middle_loses_nothing(number: int, harness: Harness) -> None:
    run_id = fail_last(harness)
    for _ in range(number):
        settle_all(harness)
        harness.work_batch()
    harness.client.flushall()
    harness.coordinator = another(harness)
    recover(harness)
    assert harness.worker.undid == UNDONE
    assert_whole(harness, run_id, "FAILED")
    harness.assert_fold_equals_store(run_id)


def test_an_undo_that_nobody_answers_times_out_and_is_retried_also_after_a_wipe(harness: Harness) -> None:
    document = {**TRIP, "nodes": [*TRIP["nodes"]]}
    document["nodes"][2] = undone("car", 3, timeout_ms=5000, retry={"max_attempts": 2, "backoff_ms": 0})
    worker = harness.worker = Booking("pay")
    run_id = harness.start(document)
    for _ in range(4):
        settle_all(harness)
        harness.work_batch()
    settle_all(harness)
    lost = harness.queues.receive("tasks-function")[0]
    assert json.loads(lost.body)["deadline"] is not None
    harness.queues.delete("tasks-function", lost.receipt)
    harness.client.flushall()
    sweep_all(harness)
    harness.queues.receive("tasks-function", now=harness.clock.now)
    harness.clock.now += 6000
    assert detect_timeouts(harness.services) == 1
    harness.drain()
    types = [event["type"] for event in harness.events(run_id) if event["data"].get("compensation")]
    assert types[:3] == ["node_dispatched", "node_timed_out", "node_retrying"]
    assert [name for name, _ in worker.undid] == ["car", "car", "hotel", "flight"]  # the first message came as well
    assert_whole(harness, run_id, "FAILED")


def test_a_pause_holds_the_next_undo_and_resume_goes_on(harness: Harness) -> None:
    run_id = fail_last(harness)
    settle_all(harness)
    pause_run(harness.services, run_id, "ann")
    harness.drain()
    shown = view(harness, run_id)
    assert (shown["status"], shown["phase"]) == ("PAUSED", "compensating")
    assert harness.worker.undid == UNDONE[:1]
    resume_run(harness.services, run_id, "ann")
    harness.drain()
    assert harness.worker.undid == UNDONE
    assert_whole(harness, run_id, "FAILED")


def test_a_rollback_of_a_paused_run_goes_on_at_once(harness: Harness) -> None:
    harness.worker = Booking()
    run_id = harness.start(TRIP)
    settle_all(harness)
    harness.work_batch()
    pause_run(harness.services, run_id, "ann")
    settle_all(harness)
    rollback_run(harness.services, run_id, "ann")
    harness.drain()
    assert harness.worker.undid == UNDONE[-1:]
    assert_whole(harness, run_id, "FAILED")


def test_a_cancel_ends_the_run_and_another_rollback_goes_on_with_what_is_left(harness: Harness) -> None:
    run_id = fail_last(harness)
    for _ in range(2):
        settle_all(harness)
        harness.work_batch()
    settle_all(harness)
    cancel_run(harness.services, run_id, "ann")
    shown = view(harness, run_id)
    assert (shown["status"], shown["phase"], shown["rollback"]) == ("CANCELLED", None, None)
    harness.drain()
    before = list(harness.worker.undid)
    assert harness.meta(run_id)["status"] == "CANCELLED"
    with pytest.raises(Conflict, match="rolled back"):
        redrive_run(harness.services, run_id, "ann")
    rollback_run(harness.services, run_id, "bob")
    harness.drain()
    assert before[:2] == UNDONE[:2] and harness.worker.undid[len(before) :] == UNDONE[2:]
    assert rolled_back(harness, run_id)["compensated"] == 3
    assert view(harness, run_id)["error"]["message"] == "pay broke"
    assert_whole(harness, run_id, "FAILED")


def test_a_runs_timeout_begins_anew_with_its_rollback_and_may_end_it(harness: Harness) -> None:
    harness.worker = Booking("pay")
    run_id = harness.start({**TRIP, "timeout_ms": 60_000})
    harness.clock.now += 50_000
    for _ in range(4):
        settle_all(harness)
        harness.work_batch()
    settle_all(harness)
    harness.clock.now += 20_000
    assert detect_timeouts(harness.services) == 0 and view(harness, run_id)["phase"] == "compensating"
    harness.clock.now += 41_000
    assert detect_timeouts(harness.services) == 1
    assert view(harness, run_id)["status"] == "TIMED_OUT"
    rollback_run(harness.services, run_id, "ann")
    harness.drain()
    names = [name for name, _ in harness.worker.undid]
    assert names == ["car", "car", "hotel", "flight"]  # the message of the attempt that was cut off came as well
    assert_whole(harness, run_id, "FAILED")


def test_an_alarm_that_was_not_moved_with_the_timeout_is_set_anew(harness: Harness) -> None:
    run_id = harness.start({**TRIP, "timeout_ms": 60_000})
    harness.drain()
    rollback_run(harness.services, run_id, "ann")
    settle_all(harness)
    harness.store.put_due({f"run:{run_id}": harness.clock.now})  # as if the step had died before it moved the alarm
    detect_timeouts(harness.services)
    harness.clock.now += 61_000
    detect_timeouts(harness.services)
    assert view(harness, run_id)["status"] == "TIMED_OUT"


def test_a_patch_that_was_planned_before_the_rollback_began_is_not_committed_in_it(harness: Harness) -> None:
    """`$end` begins a rollback under the generation that a patch may have been planned on."""
    run_id = fail_last(harness)
    services = meddled(harness, once(lambda: settle_all(harness)))
    with pytest.raises(Conflict, match="rolled back"):
        patch_run(services, request(run_id, [add_node(function("new"))]))
    harness.drain()
    assert harness.worker.undid == UNDONE and "new" not in harness.worker.did
    assert_whole(harness, run_id, "FAILED")


def test_an_undo_that_asks_for_a_patch_fails(harness: Harness) -> None:
    worker = Booking("pay")

    def patching(task: dict) -> dict:
        answer = worker(task)
        asks = task["config"]["handler"] == "undo" and task["node_id"] == "car"
        return {**answer, "patch": {"operations": [], "description": "no"}} if asks else answer

    harness.worker = patching
    run_id = harness.run(TRIP)["run_id"]
    (failed,) = rolled_back(harness, run_id)["failed"]
    assert (failed["node_id"], failed["error"]["type"]) == ("car", "PatchRefused")
    assert len(worker.undid) == 3


def test_a_fork_from_the_middle_of_a_rollback_is_refused_and_one_from_before_undoes_only_its_own(
    harness: Harness,
) -> None:
    run_id = fail_last(harness)
    harness.drain()
    events = harness.events(run_id)
    middle = next(event["seq"] for event in events if event["data"].get("compensation"))
    with pytest.raises(InvalidInput, match="rolled back"):
        fork_run(harness.services, ForkRequest("acme", "ann", run_id, from_seq=middle), "late")
    before = next(event["seq"] for event in events if event["type"] == "node_completed" and event["node_id"] == "hotel")
    harness.worker = Booking("pay")
    fork_run(harness.services, ForkRequest("acme", "ann", run_id, from_seq=before), "fork")
    harness.drain()
    assert harness.worker.did == ["car", "pay"] and harness.worker.undid == UNDONE[:1]
    assert_whole(harness, "fork", "FAILED")


def test_explain_names_the_undo_that_a_run_waits_for(harness: Harness) -> None:
    run_id = fail_last(harness)
    settle_all(harness)
    answer = explained(harness, run_id)
    assert answer["summary"] == "The run is RUNNING, compensating, and waits for 1 task."
    (entry,) = answer["waiting"]
    assert (entry["node_id"], entry["compensation"], entry["queue"]) == ("car", True, "tasks-function")
    assert answer["problems"] == []


def test_a_message_of_an_undo_that_cannot_be_processed_fails_it_and_the_rest_go_on(harness: Harness) -> None:
    run_id = fail_last(harness)
    settle_all(harness)
    task = json.loads(harness.queues.receive("tasks-function")[0].body)
    harness.answer(task, {"status": "perhaps"})
    harness.drain()
    (failed,) = rolled_back(harness, run_id)["failed"]
    assert (failed["node_id"], failed["error"]["type"]) == ("car", "Undeliverable")
    assert_whole(harness, run_id, "FAILED")


def test_hops_that_are_spent_stop_no_rollback(harness: Harness) -> None:
    harness.worker = Booking()
    run_id = harness.run({**TRIP, "limits": {"hops": 4}})["run_id"]
    assert view(harness, run_id)["error"]["type"] == "LimitExceeded"
    assert [name for name, _ in harness.worker.undid][-1] == "flight"
    assert_whole(harness, run_id, "FAILED")


def test_the_branches_of_a_rolled_back_run_are_all_undone_in_reverse_of_their_completion(harness: Harness) -> None:
    nodes = [undone(name, name) for name in "abcd"]
    document = {"nodes": nodes, "edges": edges("a:b", "a:c", "b:d", "c:d")}
    worker = harness.worker = Booking()
    run_id = harness.run(document)["run_id"]
    completed = [event["node_id"] for event in harness.events(run_id) if event["type"] == "node_completed"]
    rollback_run(harness.services, run_id, "ann")
    harness.drain()
    assert [name for name, _ in worker.undid] == completed[::-1]
