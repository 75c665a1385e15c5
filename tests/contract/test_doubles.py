"""What the doubles add to the contract: failures on demand, and the delivery of SQS."""

from __future__ import annotations

import random

import pytest

from chalicelib.domain.errors import Unavailable
from chalicelib.engine.ports import Outgoing, RunRecord
from tests.contract.chains import chain
from tests.doubles import ManualClock, MemoryArtifacts, MemoryDirectory, MemoryJournal, MemoryQueues, MemorySchedules


class Faults:
    """Raises Unavailable at one operation, and remembers all."""

    def __init__(self, at: str = "") -> None:
        self.at = at
        self.seen: list[str] = []

    def __call__(self, operation: str) -> None:
        self.seen.append(operation)
        if operation == self.at:
            raise Unavailable(f"{operation} fails on demand")


def test_a_failure_before_an_append_leaves_nothing_and_one_after_it_leaves_all():
    for at, left in (("journal.append.before", 0), ("journal.append.after", 1)):
        directory = MemoryDirectory()
        journal = MemoryJournal(directory, Faults(at))
        with pytest.raises(Unavailable):
            journal.append(chain("r", 1), [RunRecord("r", ("t", "r"), {})])
        assert len(journal.read("r")) == left
        assert len(directory.query("t")) == left


def test_a_send_can_stop_between_two_batches():
    clock, faults = ManualClock(), Faults()
    queues = MemoryQueues(clock, faults)
    queues.send([Outgoing("q", str(n)) for n in range(10)])
    assert faults.seen == ["queues.send.before", "queues.send.after"]
    faults.at = "queues.send.after"
    with pytest.raises(Unavailable):
        queues.send([Outgoing("q", str(n)) for n in range(10, 25)])
    assert len(queues.bodies("q")) == 20


def test_every_effect_calls_the_hook_before_and_after():
    faults = Faults()
    queues = MemoryQueues(ManualClock(), faults)
    directory = MemoryDirectory(faults)
    MemoryArtifacts(faults).put(b"x")
    MemorySchedules(queues, faults).once("n", 0, Outgoing("q", "b"))
    directory.put(("t", "k"), {})
    directory.put_new(("t", "k"), {})
    directory.replace(("t", "k"), {}, {})
    directory.delete(("t", "k"))
    effects = ("artifacts.put", "schedules.once", *(f"directory.{n}" for n in ("put", "put_new", "replace", "delete")))
    assert faults.seen == [f"{name}.{when}" for name in effects for when in ("before", "after")]


def test_writing_a_commit_again_with_other_bytes_is_caught():
    journal = MemoryJournal()
    journal.append(chain("r", 1))
    with pytest.raises(AssertionError, match="other bytes"):
        journal.append(chain("r", 1, text="regrouped"))


def test_a_message_not_deleted_comes_again_and_ends_in_the_dead_letters():
    clock = ManualClock()
    queues = MemoryQueues(clock, visibility_ms=1000, max_receives=2)
    queues.send([Outgoing("q", "body")])
    [first] = queues.receive("q")
    assert queues.receive("q") == []
    clock.advance(1000)
    [second] = queues.receive("q")
    assert (first.id, first.count, second.count) == (second.id, 1, 2)
    queues.delete("q", first.receipt)
    assert queues.depth("q") == 1
    clock.advance(1000)
    assert queues.receive("q") == []
    [dead] = queues.receive("q-dlq")
    assert dead.body == "body"
    queues.delete("q-dlq", dead.receipt)
    assert queues.names() == []


def test_visibility_can_be_given_back_at_once_or_prolonged():
    clock = ManualClock()
    queues = MemoryQueues(clock, visibility_ms=1000)
    queues.send([Outgoing("q", "body")])
    [got] = queues.receive("q")
    queues.change_visibility("q", got.receipt, clock.now_ms())
    [again] = queues.receive("q")
    queues.change_visibility("q", again.receipt, clock.now_ms() + 5000)
    assert queues.next_visible("q") == clock.now_ms() + 5000
    clock.advance(4999)
    assert queues.receive("q") == []


def test_a_repeated_message_is_delivered_twice_although_it_is_acknowledged_once():
    queues = MemoryQueues(ManualClock())
    queues.send([Outgoing("q", "body")])
    [first] = queues.receive("q")
    queues.repeat("q", first.id)
    [second] = queues.receive("q")
    assert second.id == first.id
    queues.delete("q", first.receipt)
    queues.delete("q", second.receipt)
    assert queues.depth("q") == 0


def test_a_seed_decides_the_order_of_delivery():
    def order(seed: int) -> list[str]:
        queues = MemoryQueues(ManualClock(), rng=random.Random(seed))
        queues.send([Outgoing("q", str(n)) for n in range(10)])
        return [message.body for message in queues.receive("q")]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == [str(n) for n in range(10)]


def test_a_schedule_fires_once_and_the_same_name_keeps_the_first():
    clock = ManualClock(0)
    queues = MemoryQueues(clock)
    schedules = MemorySchedules(queues)
    schedules.once("n", 1500, Outgoing("q", "first"))
    schedules.once("n", 9000, Outgoing("q", "second"))
    assert schedules.next_at() == 2000
    assert schedules.fire(1999) == 0
    assert schedules.fire(2000) == 1
    assert schedules.fire(99999) == 0
    assert queues.bodies("q") == ["first"]
