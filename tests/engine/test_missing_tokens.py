"""Messages that let a step go on with a token which the store does not have at that moment."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.adapters.redis.keys import run_key
from chalicelib.domain.ids import job_id, parse_job_id
from chalicelib.domain.records import parse_began
from chalicelib.engine.signals import continue_text, wake_text
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole
from tests.engine.test_rollback import TRIP, Booking
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all

Json = Any
WORK = {"type": "function", "config": {"handler": "echo"}}
WAIT = {"id": "w", "type": "wait", "config": {"seconds": 600}}
DOCUMENTS = {
    "a task": {"nodes": [function("a"), function("b")], "edges": edges("a:b")},
    "a timer": {"nodes": [WAIT, function("b")], "edges": edges("w:b")},
    "an undo": {
        "nodes": [
            {**function("a"), "compensate": {"type": "function", "config": {"handler": "echo"}}},
            {"id": "stop", "type": "fail"},
        ],
        "edges": edges("a:stop"),
        "on_failure": "compensate",
    },
}


def jobs_of(harness: Harness, run_id: str) -> list[str]:
    """The job ids of what is outstanding."""
    state = harness.store.snapshot(run_id)
    return [job_id(parse_began(text).job(run_id, name), harness.services.secret) for name, text in state["tok"].items()]


def token_of(harness: Harness, job: str) -> str:
    """The token of a job id."""
    return parse_job_id(job, harness.services.secret).token


def begun(harness: Harness, what: str) -> tuple[str, str]:
    """A run whose task, timer or undo is outstanding, and nothing else; its id, and that job's."""
    run_id = harness.start(DOCUMENTS[what])
    settle_all(harness)
    if what == "an undo":
        harness.work_batch()
        settle_all(harness)
    (job,) = jobs_of(harness, run_id)
    return run_id, job


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a task", lambda job: continue_text([job])),
        ("a timer", lambda job: continue_text([job])),
        ("a timer", wake_text),
        ("an undo", lambda job: continue_text([job])),
    ],
    ids=["continue task", "continue timer", "wake timer", "continue undo"],
)
def test_going_on_with_a_token_that_is_back_when_the_commit_comes_does_not_settle_it(
    harness: Harness, what: str, text: Any
) -> None:
    """A store that falls back may lack the token when it is read, and have it again when the step commits."""
    run_id, job = begun(harness, what)
    key, read = run_key(run_id, "tok"), harness.store.read
    kept = harness.client.hgetall(key)

    def lacking(calls: Json) -> Json:
        harness.store.read = read
        harness.client.delete(key)
        answers = read(calls)
        harness.client.hset(key, mapping=kept)
        return answers

    harness.store.read = lacking
    harness.coordinator.handle([text(job)])
    assert harness.store.read == read
    assert harness.client.hgetall(key) == kept
    harness.drain()
    assert_whole(harness, run_id, "FAILED" if what == "an undo" else "COMPLETED")


def test_going_on_with_an_undo_that_was_settled_before_changes_nothing(harness: Harness) -> None:
    harness.worker = Booking("pay")
    run_id = harness.start(TRIP)
    while not (undos := [job for job in jobs_of(harness, run_id) if "undo" in token_of(harness, job)]):
        settle_all(harness)
        harness.work_batch()
    settle_all(harness)
    harness.work_batch()
    settle_all(harness)
    before = harness.store.snapshot(run_id, ("tok", "done", "val"))
    before.pop("meta")
    assert harness.coordinator.handle([continue_text(undos)]) == set()
    after = harness.store.snapshot(run_id, ("tok", "done", "val"))
    assert after | before == after
    harness.drain()
    assert_whole(harness, run_id, "FAILED")


WIDE = {
    "a fan-out": {"nodes": [function(f"n{i}") for i in range(150)]},
    "a map": {"nodes": [{"id": "m", "type": "map", "config": {"items": list(range(150)), "body": WORK}}]},
}


@pytest.mark.parametrize("what", WIDE)
def test_going_on_with_a_part_of_wide_work_that_was_settled_before_changes_nothing(harness: Harness, what: str) -> None:
    """A second copy of the message found no data of the part, and its step crashed until it was a dead letter."""
    run_id = harness.start(WIDE[what])
    settle_all(harness)
    dispatched = harness.store.snapshot(run_id, ("dis",))["dis"]
    parts = [
        job_id(parse_began(record).job(run_id, name), harness.services.secret)
        for name, record in dispatched.items()
        if name.startswith("$fan:")
    ]
    before = harness.store.snapshot(run_id, ("tok", "done", "val"))
    assert len(parts) == 2
    assert harness.coordinator.handle([continue_text([job]) for job in parts]) == set()
    after = harness.store.snapshot(run_id, ("tok", "done", "val"))
    assert (after["tok"], after["done"]) == (before["tok"], before["done"])
    harness.drain()
    assert_whole(harness, run_id)
