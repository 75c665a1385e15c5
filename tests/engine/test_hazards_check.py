"""HAZARDS 12: a task that waits in its queue is not begun once nobody waits for it, and always where somebody does."""

from __future__ import annotations

import pytest

from chalicelib.domain.errors import Unavailable
from chalicelib.domain.ids import parse_job_id
from chalicelib.engine.controls import cancel_run, pause_run
from chalicelib.engine.outstanding import is_outstanding
from chalicelib.engine.supervise import GRACE_MS, detect_timeouts
from chalicelib.engine.work import WorkPorts, work
from tests.engine.harness import SECRET, Harness
from tests.engine.hazards import fall_back, lost, signal, tasks
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import sweep_all

CHECKED = {"nodes": [function("a", check_before_start=True), function("b")], "edges": edges("a:b")}


def wanted(harness: Harness, task: dict) -> bool:
    return is_outstanding(harness.services, parse_job_id(task["job_id"], SECRET))


def queued(harness: Harness, document: dict = CHECKED) -> tuple[str, dict]:
    """A run, and the task of its first node, which no worker has begun."""
    run_id = harness.start(document)
    return run_id, tasks(harness)["a"]


def settle_all(harness: Harness) -> None:
    while harness.settle_batch():
        pass


class Noting:
    """A worker that notes that it began."""

    def __init__(self) -> None:
        self.began = 0

    def run(self, task: object) -> str:
        self.began += 1
        return "done"


def test_12_a_task_in_its_queue_is_not_begun_once_its_run_is_cancelled(harness: Harness) -> None:
    run_id, task = queued(harness)
    worker = Noting()
    ports = WorkPorts(harness.clock, harness.artifacts, wanted=lambda message: wanted(harness, message))
    said = work(task, {"function": worker}, ports)
    assert said is not None and (said["status"], worker.began) == ("completed", 1)
    cancel_run(harness.services, run_id, "ann")
    assert work(task, {"function": worker}, ports) is None
    assert worker.began == 1


def test_12_a_task_of_an_attempt_that_is_over_is_not_begun(harness: Harness) -> None:
    _, task = queued(harness)
    harness.coordinator.handle([signal(task)])
    assert not wanted(harness, task)


def test_12_a_task_of_an_attempt_that_timed_out_is_not_begun_and_that_of_the_next_one_is(harness: Harness) -> None:
    node = function("a", check_before_start=True, timeout_ms=1000, retry={"max_attempts": 2, "backoff_ms": 0})
    _, first = queued(harness, {"nodes": [node]})
    harness.clock.now += 2000
    detect_timeouts(harness.services)
    settle_all(harness)
    harness.clock.now += 1000
    second = tasks(harness)["a"]
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert (wanted(harness, first), wanted(harness, second)) == (False, True)


def test_12_a_task_of_a_paused_run_is_begun(harness: Harness) -> None:
    """A pause sends nothing new; what was sent before is worked."""
    run_id, task = queued(harness)
    pause_run(harness.services, run_id, "ann")
    assert wanted(harness, task)


def test_12_a_store_that_lost_the_run_is_brought_back_before_anything_is_said(harness: Harness) -> None:
    run_id, task = queued(harness)
    harness.client.flushall()
    assert wanted(harness, task)
    harness.coordinator.handle([signal(task)])
    harness.client.flushall()
    assert not wanted(harness, task)
    assert harness.meta(run_id)["status"] == "RUNNING"


def test_12_a_store_that_fell_back_to_before_the_task_says_no_no(harness: Harness) -> None:
    run_id = harness.start(CHECKED)
    old = harness.store.snapshot(run_id)
    task = tasks(harness)["a"]
    fall_back(harness, run_id, old)
    assert wanted(harness, task)


def test_12_a_settlement_that_only_the_store_knows_is_journaled_before_it_counts(harness: Harness) -> None:
    """The store may lose it: then the attempt is outstanding again, and its task was thrown away."""
    run_id, task = queued(harness)
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        harness.coordinator.handle([signal(task)])
    harness.clock.now += 3000
    with pytest.raises(Unavailable):
        wanted(harness, task)
    harness.journal.append = append
    assert not wanted(harness, task)
    assert "node_completed" in [event["type"] for event in harness.events(run_id)]


def test_12_a_run_that_is_long_gone_wants_nothing_and_is_not_brought_back(harness: Harness) -> None:
    run_id, task = queued(harness)
    cancel_run(harness.services, run_id, "ann")
    harness.clock.now += GRACE_MS + 1
    sweep_all(harness)
    assert harness.store.snapshot(run_id, ("meta",)) is None
    assert not wanted(harness, task)
    assert harness.store.snapshot(run_id, ("meta",)) is None


def test_12_many_who_ask_about_a_live_run_read_little_of_its_journal(harness: Harness) -> None:
    """Each fold of a long journal costs what all of it does."""
    _, task = queued(harness)
    harness.coordinator.handle([signal(task)])
    read, limits = harness.journal.read, []

    def noting(run_id: str, after: int = 0, limit: int = 500):
        limits.append(limit)
        return read(run_id, after, limit)

    harness.journal.read = noting
    for _ in range(5):
        assert not wanted(harness, task)
    assert sum(limits) <= 5 * 2


@pytest.mark.parametrize("document", [CHECKED, {"nodes": [function("a")]}], ids=["asked", "not asked"])
def test_12_the_message_says_whether_to_ask(harness: Harness, document: dict) -> None:
    _, task = queued(harness, document)
    assert task.get("check_before_start", False) is (document is CHECKED)


def test_12_a_body_may_ask_too(harness: Harness) -> None:
    body = {"type": "function", "config": {"handler": "echo"}, "check_before_start": True}
    _, task = queued(harness, {"nodes": [{"id": "a", "type": "map", "config": {"items": [1], "body": body}}]})
    assert task["check_before_start"] is True
