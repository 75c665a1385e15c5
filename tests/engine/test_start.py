"""Starting a run once, however often it is asked for and wherever it dies."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import redis

from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.errors import Conflict, InvalidInput, TooLarge, Unavailable
from chalicelib.domain.ids import derived_run_id
from chalicelib.domain.limits import Limits
from chalicelib.engine.controls import pause_run, resume_run
from chalicelib.engine.directory_keys import run_head_key
from chalicelib.engine.runs import StartRequest, start_run
from tests.doubles.journal import MemoryJournal
from tests.doubles.queues import MemoryQueues
from tests.engine.harness import Harness
from tests.engine.test_step import edges, function

DOCUMENT = {"nodes": [function("a", "${input.v}"), function("b", "${output}")], "edges": edges("a:b")}


class Dies(Exception):
    """The process dies here."""


class Crash:
    """Fails one operation, once, before or after it happened."""

    def __init__(self, operation: str, error: Exception) -> None:
        self._operation, self._error, self.armed = operation, error, True

    def __call__(self, operation: str) -> None:
        if self.armed and operation == self._operation:
            self.armed = False
            raise self._error


def changed(harness: Harness, **parts: object) -> None:
    harness.services = dataclasses.replace(harness.services, **parts)


@pytest.fixture
def finished(harness: Harness) -> str:
    run_id = harness.start(DOCUMENT, {"v": 1}, idempotency_key="k")
    harness.drain()
    return run_id


def kinds(harness: Harness, run_id: str) -> list[str]:
    return [event["type"] for event in harness.events(run_id)]


def test_the_same_key_and_body_is_the_same_run(harness: Harness) -> None:
    first = harness.start(DOCUMENT, {"v": 1}, idempotency_key="k")
    harness.drain()
    assert harness.start(DOCUMENT, {"v": 1}, idempotency_key="k") == first == derived_run_id("acme", "k")
    harness.drain()
    assert [task["node_id"] for task in harness.tasks] == ["a", "b"]
    assert kinds(harness, first).count("run_created") == 1


def test_a_repeat_in_the_middle_of_the_run_does_not_disturb_it(harness: Harness) -> None:
    run_id = harness.start(DOCUMENT, {"v": 1}, idempotency_key="k")
    for _ in range(4):
        harness.settle_batch()
        assert harness.start(DOCUMENT, {"v": 1}, idempotency_key="k") == run_id
        harness.work_batch()
    harness.drain()
    assert harness.output(run_id) == {"b": 1}
    assert len({task["job_id"] for task in harness.tasks}) == 2
    harness.assert_fold_equals_store(run_id)


OTHER = {
    "another input": {"input": {"v": 2}},
    "no input": {"input": None},
    "another workflow": {"document": {"nodes": [function("a")]}},
    "another timeout": {"timeout_ms": 1000},
    "another name": {"name": "other"},
    "an input that only looks alike": {"input": {"v": 1.5}},
}


@pytest.mark.parametrize("other", OTHER.values(), ids=OTHER)
@pytest.mark.parametrize("by", ["idempotency_key", "run_id"])
def test_the_same_key_or_id_with_another_body_is_a_conflict(other: dict, by: str, harness: Harness) -> None:
    run_id = harness.start(DOCUMENT, {"v": 1}, **{by: "k"})
    request = {"document": DOCUMENT, "input": {"v": 1}, **other}
    with pytest.raises(Conflict, match=f"Run {run_id} exists already"):
        harness.start(request.pop("document"), request.pop("input"), **{by: "k"}, **request)
    harness.drain()
    assert harness.output(run_id) == {"b": 1}


def test_another_tenants_run_of_the_same_id_is_a_conflict_and_of_the_same_key_another_run(harness: Harness) -> None:
    mine = harness.start(DOCUMENT, {"v": 1}, run_id="one")
    plan = compile_workflow(DOCUMENT, limits=Limits())
    theirs = StartRequest("other", "tester", plan, {"name": None, "version": None}, {"v": 1}, run_id="one")
    with pytest.raises(Conflict):
        start_run(harness.services, theirs)
    keyed = harness.start(DOCUMENT, {"v": 1}, idempotency_key="k")
    by_key = dataclasses.replace(theirs, run_id=None, idempotency_key="k")
    assert start_run(harness.services, by_key) not in (mine, keyed)


def test_a_start_without_key_or_id_is_a_run_of_its_own_each_time(harness: Harness) -> None:
    assert len({harness.start(DOCUMENT, {"v": 1}) for _ in range(5)}) == 5


CRASHES = {
    "before the journal": "journal.append.before",
    "the journal's answer is lost": "journal.append.after",
    "before the send": "queues.send.before",
    "after the send": "queues.send.after",
}


@pytest.mark.parametrize("operation", CRASHES.values(), ids=CRASHES)
@pytest.mark.parametrize("error", [Unavailable("gone"), Dies()], ids=["refused", "died"])
def test_a_start_that_breaks_off_is_healed_by_its_repeat(operation: str, error, harness: Harness) -> None:
    crash = Crash(operation, error)
    journal = MemoryJournal(harness.directory, crash)
    queues = MemoryQueues(harness.clock, crash)
    harness.journal, harness.queues = journal, queues
    changed(harness, journal=journal, queues=queues)
    harness.coordinator = type(harness.coordinator)(harness.services)
    with pytest.raises(type(error)):
        harness.start(DOCUMENT, {"v": 1}, idempotency_key="k")
    assert not crash.armed
    run_id = harness.start(DOCUMENT, {"v": 1}, idempotency_key="k")
    harness.drain()
    assert harness.output(run_id) == {"b": 1}
    assert kinds(harness, run_id).count("run_created") == 1
    assert len({task["job_id"] for task in harness.tasks}) == 2
    harness.assert_fold_equals_store(run_id)


def test_a_start_that_dies_between_journal_and_store_is_healed_by_its_repeat(
    harness: Harness, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(type(harness.store), "install", lambda *_, **__: (_ for _ in ()).throw(Unavailable("gone")))
        with pytest.raises(Unavailable):
            harness.start(DOCUMENT, {"v": 1}, idempotency_key="k")
    assert harness.store.snapshot(derived_run_id("acme", "k")) is None
    run_id = harness.start(DOCUMENT, {"v": 1}, idempotency_key="k")
    harness.drain()
    assert harness.output(run_id) == {"b": 1}


def test_a_repeat_after_redis_lost_the_run_does_not_begin_it_again(harness: Harness, client: redis.Redis) -> None:
    run_id = harness.start(DOCUMENT, {"v": 1}, idempotency_key="k")
    harness.settle_batch()
    harness.work_batch()
    harness.settle_batch()
    client.flushall()
    assert harness.start(DOCUMENT, {"v": 1}, idempotency_key="k") == run_id
    harness.drain()
    assert harness.output(run_id) == {"b": 1}
    assert [task["node_id"] for task in harness.tasks] == ["a", "b"]
    assert kinds(harness, run_id).count("node_completed") == 2
    harness.assert_fold_equals_store(run_id)


def test_a_repeat_of_a_finished_run_does_not_bring_its_keys_back(
    harness: Harness, finished: str, client: redis.Redis
) -> None:
    harness.retire(finished)
    assert harness.start(DOCUMENT, {"v": 1}, idempotency_key="k") == finished
    harness.drain()
    assert harness.store.snapshot(finished) is None
    assert len(harness.tasks) == 2


def test_a_run_is_in_its_list_from_its_first_moment(harness: Harness) -> None:
    run_id = harness.start(DOCUMENT, {"v": 1}, name="mine")
    record = harness.directory.get(run_head_key(run_id))
    assert record["status"] == "PENDING"
    harness.drain()
    assert harness.directory.get(run_head_key(run_id))["status"] == "COMPLETED"


def sized(count: int) -> dict:
    """An input of so many bytes of JSON text."""
    return {"v": "x" * (count - len('{"v":""}'))}


@pytest.mark.parametrize("over", [0, 1])
def test_an_input_past_the_inline_limit_becomes_an_artifact(over: int, harness: Harness) -> None:
    value = sized(Limits().input_bytes + over)
    document = {"nodes": [function("a", "${size(input.v)}")], "output": "${input.v == 'x' ? 0 : size(input.v)}"}
    run_id = harness.start(document, value)
    meta = harness.meta(run_id)
    assert ("input_ref" in meta, "input" in meta) == (bool(over), not over)
    if over:
        assert json.loads(harness.artifacts.get(meta["input_ref"])) == value
    harness.drain()
    assert harness.output(run_id) == len(value["v"])
    harness.assert_fold_equals_store(run_id)


def test_an_input_past_the_artifact_limit_is_too_large_and_starts_nothing(harness: Harness) -> None:
    changed(harness, limits=Limits(artifact_bytes=1000, input_bytes=100))
    with pytest.raises(TooLarge, match="1001 bytes; 1000 are allowed"):
        harness.start(DOCUMENT, sized(1001), run_id="big")
    assert harness.journal.read("big") == []
    assert harness.store.snapshot("big") is None
    harness.start(DOCUMENT, sized(1000), run_id="fits")


def test_an_input_that_breaks_the_schema_starts_nothing(harness: Harness) -> None:
    schema = {"type": "object", "required": ["v"], "properties": {"v": {"type": "integer"}}}
    document = {**DOCUMENT, "input_schema": schema}
    with pytest.raises(InvalidInput) as refused:
        harness.start(document, {"v": "text"}, run_id="r")
    assert [problem.path for problem in refused.value.problems] == ["/input/v"]
    assert harness.journal.read("r") == []
    harness.start(document, {"v": 1}, run_id="r")


VALUES = ["\ud800", "a\0b", 12345678901234567, [], {}, None, {"${x}": "${1/0}"}, "🎉"]


@pytest.mark.parametrize("value", VALUES, ids=map(repr, VALUES))
def test_an_input_of_any_json_is_kept_as_it_is(value: object, harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a", "${input.v}")]}, {"v": value}, idempotency_key="k")
    harness.drain()
    assert harness.output(run_id) == {"a": value}
    assert harness.start({"nodes": [function("a", "${input.v}")]}, {"v": value}, idempotency_key="k") == run_id


def test_a_start_takes_its_time_and_ids_from_outside(client: redis.Redis) -> None:
    texts = []
    for _ in range(2):
        client.flushall()
        harness = Harness(client)
        harness.start(DOCUMENT, {"v": 1}, run_id="same")
        harness.drain()
        texts.append([item.text for item in harness.journal.read("same")])
    assert texts[0] == texts[1]


def test_a_run_timeout_of_the_request_goes_before_the_workflows(harness: Harness) -> None:
    document = {**DOCUMENT, "timeout_ms": 60_000}
    now = harness.clock.now
    assert harness.meta(harness.start(document, {"v": 1}))["timeout_at"] == str(now + 60_000)
    assert harness.meta(harness.start(document, {"v": 1}, timeout_ms=5))["timeout_at"] == str(now + 5)
    assert "timeout_at" not in harness.meta(harness.start(DOCUMENT, {"v": 1}))


def test_a_pause_before_the_first_step_holds_the_run(harness: Harness) -> None:
    run_id = harness.start(DOCUMENT, {"v": 1})
    pause_run(harness.services, run_id, "ann")
    harness.drain()
    assert (harness.meta(run_id)["status"], harness.tasks) == ("PAUSED", [])
    resume_run(harness.services, run_id, "ann")
    assert harness.meta(run_id)["status"] == "RUNNING"
    harness.drain()
    assert harness.output(run_id) == {"b": 1}


def test_a_run_whose_first_step_comes_between_a_resume_and_its_commit_is_running(harness: Harness) -> None:
    """The resume saw a run that had not begun; the first step is no control action, and fences nothing."""
    run_id, commit = harness.start(DOCUMENT, {"v": 1}), harness.store.commit
    pause_run(harness.services, run_id, "ann")

    def begun_before(calls: Any) -> Any:
        harness.store.commit = commit
        harness.settle_batch()
        return commit(calls)

    harness.store.commit = begun_before
    resume_run(harness.services, run_id, "ann")
    assert (harness.meta(run_id)["status"], "started_at" in harness.meta(run_id)) == ("RUNNING", True)
    harness.drain()
    assert harness.output(run_id) == {"b": 1}
    harness.assert_fold_equals_store(run_id)


def test_a_run_that_is_resumed_before_its_first_step_is_pending_until_then(harness: Harness) -> None:
    run_id = harness.start(DOCUMENT, {"v": 1})
    pause_run(harness.services, run_id, "ann")
    resume_run(harness.services, run_id, "ann")
    assert (harness.meta(run_id)["status"], "started_at" in harness.meta(run_id)) == ("PENDING", False)
    harness.settle_batch()
    assert (harness.meta(run_id)["status"], "started_at" in harness.meta(run_id)) == ("RUNNING", True)
    harness.drain()
    assert harness.output(run_id) == {"b": 1}
    harness.assert_fold_equals_store(run_id)
