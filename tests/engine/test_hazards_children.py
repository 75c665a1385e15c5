"""HAZARDS 16, one interleaving each, and a death at every effect in the life of a child run."""

from __future__ import annotations

import contextlib
import json

import pytest

from chalicelib.domain.errors import Unavailable
from chalicelib.domain.ids import job_id
from chalicelib.domain.state import ENDED
from chalicelib.engine.children import start_child, stop_child
from chalicelib.engine.controls import cancel_run
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.redo import redrive_run
from chalicelib.engine.run_events import send_event
from chalicelib.engine.signals import stop_text
from chalicelib.engine.supervise import GRACE_MS, UNSENT_MS
from tests.engine.family import (
    PARENT,
    SUB,
    Deaths,
    assert_family,
    begun,
    calls_of,
    children_of,
    save,
    settle_all,
    status,
    surviving,
)
from tests.engine.harness import Harness
from tests.engine.hazards import fall_back, lost, recover
from tests.engine.test_supervise import sweep_all

#: Calls "sub", which is another level down.
GRAND = {"nodes": [{"id": "call", "type": "workflow", "config": {"workflow": "middle", "input": {"n": 1}}}]}
MIDDLE = {"nodes": [{"id": "call", "type": "workflow", "config": {"workflow": "sub"}}]}
#: A child that nobody ever answers.
ASK = {"nodes": [{"id": "ask", "type": "human", "config": {"message": "?"}}]}
BROKEN = {"status": "failed", "error": {"type": "Boom", "message": "no"}}


def unstarted(harness: Harness) -> tuple[str, str]:
    """(parent, child): the call is in the journal, and its step died before the child was started."""
    run_id = harness.start(PARENT, {"n": 1})
    send, harness.queues.send = harness.queues.send, lost
    put, harness.directory.put_new = harness.directory.put_new, lost
    append = harness.journal.append

    def only_parents(items, records=()):
        if any(item.run_id != run_id for item in items):
            raise Unavailable("It did not answer.")
        return append(items, records)

    harness.journal.append = only_parents
    with contextlib.suppress(Unavailable):
        harness.settle_batch()
    harness.queues.send, harness.directory.put_new, harness.journal.append = send, put, append
    (child,) = children_of(harness, run_id)
    assert status(harness, child) is None
    return run_id, child


def drop_signals(harness: Harness) -> None:
    """What is on its way is lost for good."""
    for message in harness.queues.receive("completion-signals", 100, now=harness.clock.now + 1_000_000):
        harness.queues.delete("completion-signals", message.receipt)


def test_16_a_a_start_that_comes_after_the_cancellation_is_refused(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = unstarted(harness)
    (job,) = calls_of(harness, run_id)
    cancel_run(harness.services, run_id, "ann")
    settle_all(harness)
    assert status(harness, child) == "CANCELLED"
    assert [event["type"] for event in harness.events(child)] == ["run_created", "run_cancelled"]
    start_child(harness.services, job)
    harness.drain()
    assert harness.tasks == []
    assert_family(harness, {run_id: "CANCELLED", child: "CANCELLED"})


def test_16_a_a_start_that_had_read_the_call_before_it_was_cancelled_is_refused(harness: Harness) -> None:
    """It read the call, slept over its cancellation, and wrote only then."""
    save(harness, SUB)
    run_id, child = unstarted(harness)
    (job,) = calls_of(harness, run_id)
    append = harness.journal.append

    def late(items, records=()):
        harness.journal.append = append
        cancel_run(harness.services, run_id, "ann")
        settle_all(harness)
        return append(items, records)

    harness.journal.append = late
    start_child(harness.services, job)
    harness.drain()
    assert harness.tasks == []
    assert_family(harness, {run_id: "CANCELLED", child: "CANCELLED"})


def test_16_a_a_cancellation_that_meets_a_start_ends_what_was_started(harness: Harness) -> None:
    """It saw no child, and the child began before it could refuse it."""
    save(harness, SUB)
    run_id, child = unstarted(harness)
    (job,) = calls_of(harness, run_id)
    append = harness.journal.append

    def overtaken(items, records=()):
        if items[0].run_id == child:
            harness.journal.append = append
            start_child(harness.services, job)
        return append(items, records)

    harness.journal.append = overtaken
    stop_child(harness.services, job)
    assert status(harness, child) == "CANCELLED"
    assert [event["type"] for event in harness.events(child)] == ["run_created", "run_cancelled"]


def test_16_a_a_child_whose_cancellation_was_lost_is_found_by_its_own_sweep(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness)
    cancel_run(harness.services, run_id, "ann")
    drop_signals(harness)
    assert status(harness, child) == "RUNNING"
    recover(harness)
    assert_family(harness, {run_id: "CANCELLED", child: "CANCELLED"})


def test_16_a_a_child_of_a_parent_that_is_long_gone_is_found_by_its_own_sweep(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness)
    cancel_run(harness.services, run_id, "ann")
    drop_signals(harness)
    harness.retire(run_id)
    harness.clock.now += UNSENT_MS
    sweep_all(harness)
    harness.drain()
    assert_family(harness, {run_id: "CANCELLED", child: "CANCELLED"})


def test_16_a_a_sweep_leaves_the_child_of_a_store_that_fell_back_alone(harness: Harness) -> None:
    """The store does not know the call any more; the journal does."""
    save(harness, SUB)
    run_id = harness.start(PARENT, {"n": 1})
    old = harness.store.snapshot(run_id)
    settle_all(harness)
    (child,) = children_of(harness, run_id)
    fall_back(harness, run_id, old)
    recover(harness)
    assert_family(harness, {run_id: "COMPLETED", child: "COMPLETED"})


def test_16_b_a_child_that_ended_unheard_is_found_by_the_parent_s_sweep(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness)
    cancel_run(harness.services, child, "ann")
    drop_signals(harness)
    harness.clock.now += UNSENT_MS
    assert status(harness, run_id) == "RUNNING"
    sweep_all(harness)
    harness.drain()
    assert_family(harness, {run_id: "FAILED", child: "CANCELLED"})


def test_16_b_a_child_that_ended_unheard_is_found_after_its_keys_are_gone(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness)
    harness.work_batch()
    settle_until_ended(harness, child)
    drop_signals(harness)
    harness.client.flushall()
    harness.clock.now += GRACE_MS + 1
    for _ in range(2):
        sweep_all(harness)
    harness.drain()
    assert harness.store.snapshot(child, ("meta",)) is None
    assert_family(harness, {run_id: "COMPLETED", child: "COMPLETED"})


def settle_until_ended(harness: Harness, run_id: str) -> None:
    while status(harness, run_id) in ("PENDING", "RUNNING"):
        assert harness.settle_batch()


def test_16_b_a_cancellation_that_died_before_the_journal_is_written_by_the_sweep(harness: Harness) -> None:
    """The run was CANCELLED in the store for good, its journal never said so, and its parent waited for ever."""
    save(harness, SUB)
    run_id, child = begun(harness)
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        cancel_run(harness.services, child, "ann")
    harness.journal.append = append
    harness.clock.now += 31_000
    assert status(harness, child) == "RUNNING"
    sweep_all(harness)
    harness.drain()
    assert_family(harness, {run_id: "FAILED", child: "CANCELLED"})


def test_16_b_a_repeat_of_the_settlement_that_ended_the_child_tells_again(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness)
    harness.work_batch()
    send, harness.queues.send = harness.queues.send, lost
    with pytest.raises(Unavailable):
        harness.settle_batch()
    harness.queues.send = send
    assert (status(harness, child), status(harness, run_id)) == ("COMPLETED", "RUNNING")
    harness.drain()
    assert_family(harness, {run_id: "COMPLETED", child: "COMPLETED"})


def test_16_b_the_repeat_tells_again_although_the_store_was_lost_in_between(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness)
    harness.work_batch()
    send, harness.queues.send = harness.queues.send, lost
    with pytest.raises(Unavailable):
        harness.settle_batch()
    harness.queues.send = send
    harness.client.flushall()
    harness.drain()
    assert_family(harness, {run_id: "COMPLETED", child: "COMPLETED"})


def test_16_c_a_redrive_calls_another_child(harness: Harness) -> None:
    save(harness, SUB)
    harness.worker = lambda task: BROKEN
    run_id = harness.run(PARENT, {"n": 1})["run_id"]
    (first,) = children_of(harness, run_id)
    harness.worker = lambda task: {"status": "completed", "result": "well"}
    redrive_run(harness.services, run_id, "ann")
    harness.drain()
    _, second = children_of(harness, run_id)
    assert first != second and harness.output(run_id) == {"after": "well"}
    assert_family(harness, {run_id: "COMPLETED", first: "FAILED", second: "COMPLETED"})


def test_16_nobody_cancels_a_run_that_a_call_did_not_start(harness: Harness) -> None:
    """Somebody chose the very id that the call's child would have."""
    save(harness, SUB)
    run_id, child = unstarted(harness)
    (job,) = calls_of(harness, run_id)
    harness.start(ASK, run_id=child)
    settle_all(harness)
    stop_child(harness.services, job)
    assert status(harness, child) == "RUNNING"


def test_16_a_wide_cancellation_is_no_storm_and_ends_every_child(harness: Harness) -> None:
    save(harness, SUB)
    call = PARENT["nodes"][0]
    document = {"nodes": [{**call, "id": f"c{number}"} for number in range(30)]}
    run_id = harness.start(document, {"n": 1})
    settle_all(harness)
    family = [child for number in range(30) for child in children_of(harness, run_id, f"c{number}")]
    assert len(family) == 30
    harness.clock.now += 3000  # no step holds the right to write them any more
    sent = []
    send = harness.queues.send
    harness.queues.send = lambda messages: (sent.extend(messages), send(messages))
    cancel_run(harness.services, run_id, "ann")
    settle_all(harness)
    kinds = [json.loads(message.body)["kind"] for message in sent]
    assert kinds.count("stop") == 3 and len(kinds) == 3 + 30
    assert_family(harness, {run_id: "CANCELLED", **dict.fromkeys(family, "CANCELLED")})


def _life(harness: Harness) -> None:
    """Three generations to a good end."""
    harness.start(GRAND, {"n": 1}, run_id="top")


def _end(harness: Harness) -> None:
    """Three generations, cancelled from above."""
    with contextlib.suppress(Unavailable):
        cancel_run(harness.services, "top", "ann")


def _ready(harness: Harness, low: dict = SUB) -> None:
    save(harness, low)
    save(harness, MIDDLE, name="middle")


def _family(harness: Harness) -> tuple[str, str, str]:
    (middle,) = children_of(harness, "top")
    (low,) = children_of(harness, middle)
    return "top", middle, low


def rest(harness: Harness) -> None:
    """Time passes until the family has ended: a sweep for each generation at most."""
    for _ in range(3):
        recover(harness)
        if all(status(harness, run) in ENDED for run in _family(harness)):
            return


def _effects(harness: Harness, act) -> int:
    deaths = Deaths(harness, 0)
    act(harness)
    harness.drain()
    return deaths.count


@pytest.mark.parametrize("wipe", [False, True], ids=["", "wiped"])
def test_16_a_death_at_any_effect_of_three_generations_changes_nothing(client, wipe: bool) -> None:
    first = Harness(client)
    _ready(first)
    total = _effects(first, _life)
    assert total > 60
    for at in range(1, total + 1):
        client.flushall()
        harness = Harness(client)
        _ready(harness)
        Deaths(harness, at)
        surviving(harness, lambda: _life(harness))  # noqa: B023  # used at once
        if status(harness, "top") is None:  # the start itself died: its client sends it again
            _life(harness)
        if wipe:
            client.flushall()
        rest(harness)
        assert_family(harness, dict.fromkeys(_family(harness), "COMPLETED"))
        work = [task for task in harness.tasks if task["node_id"] == "work"]
        assert len({task["job_id"] for task in work}) == 1, at


@pytest.mark.parametrize("wipe", [False, True], ids=["", "wiped"])
def test_16_a_death_at_any_effect_of_a_cancellation_leaves_nobody_running(client, wipe: bool) -> None:
    def prepared() -> Harness:
        client.flushall()
        harness = Harness(client)
        _ready(harness, ASK)
        _life(harness)
        settle_all(harness)
        return harness

    total = _effects(prepared(), _end)
    assert total > 20
    for at in range(1, total + 1):
        harness = prepared()
        Deaths(harness, at)
        surviving(harness, lambda: _end(harness))  # noqa: B023  # used at once
        if wipe:
            client.flushall()
        _end(harness)  # its client sends it again
        rest(harness)
        assert [status(harness, run) for run in _family(harness)] == 3 * ["CANCELLED"], at
        assert_family(harness, dict.fromkeys(_family(harness), "CANCELLED"))


@pytest.mark.parametrize("wipe", [False, True], ids=["there", "wiped"])
def test_16_a_child_whose_start_was_not_sent_begins_though_an_event_came_before(harness: Harness, wipe: bool) -> None:
    """The starter died after the child's first commit; what came from outside since is no sign that it has begun."""
    save(harness, SUB)
    run_id = harness.start(PARENT, {"n": 1})
    send, harness.queues.send = harness.queues.send, lost
    with contextlib.suppress(Unavailable):
        harness.settle_batch()
    harness.queues.send = send
    (child,) = children_of(harness, run_id)
    assert status(harness, child) == "PENDING"
    send_event(harness.services, child, "early", 1, "ann", "key")
    if wipe:
        harness.client.flushall()
    harness.drain()
    assert_family(harness, {run_id: "COMPLETED", child: "COMPLETED"})


def test_a_stop_that_cannot_be_done_now_is_delivered_again(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness)
    (job,) = calls_of(harness, run_id)
    cancel_run(harness.services, run_id, "ann")
    drop_signals(harness)
    harness.queues.send([Outgoing("completion-signals", stop_text([job_id(job, harness.services.secret)]))])
    append, harness.journal.append = harness.journal.append, lost
    with contextlib.suppress(Unavailable):
        harness.settle_batch()
    harness.journal.append = append
    assert status(harness, child) == "RUNNING"
    harness.drain()
    assert_family(harness, {run_id: "CANCELLED", child: "CANCELLED"})


def test_a_step_that_takes_too_long_leaves_the_other_children_to_the_next(harness: Harness) -> None:
    save(harness, SUB)
    call = PARENT["nodes"][0]
    run_id = harness.start({"nodes": [{**call, "id": f"c{number}"} for number in range(4)]}, {"n": 1})
    settle_all(harness)  # each cancellation waits two seconds until it may write the child's journal
    cancel_run(harness.services, run_id, "ann")
    steps = 0
    while harness.settle_batch():
        steps += 1
    assert steps > 1
    family = [child for number in range(4) for child in children_of(harness, run_id, f"c{number}")]
    assert_family(harness, {run_id: "CANCELLED", **dict.fromkeys(family, "CANCELLED")})
