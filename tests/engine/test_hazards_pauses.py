"""HAZARDS 34 and 11: what becomes ready in a pause counts from what ends it, the same for every send (SPEC 9)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.domain.errors import Unavailable
from chalicelib.domain.ids import job_id
from chalicelib.domain.journal import timestamp
from chalicelib.domain.records import parse_began
from chalicelib.engine.controls import cancel_run, continue_jobs, pause_run, resume_run
from chalicelib.engine.executions import standings
from chalicelib.engine.explaining import explain_run
from chalicelib.engine.redo import redrive_run, rerun_node
from chalicelib.engine.rollback import rollback_run
from chalicelib.engine.supervise import UNSENT_MS, detect_timeouts
from tests.engine.harness import Harness
from tests.engine.hazards import another, assert_whole, fall_back, handle_until_done, lost, recover, signal, tasks
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all, sweep_all

Json = Any
TIMEOUT_MS, LONG_MS = 5000, 3_600_000
CHAIN = {"nodes": [function("a"), function("b", timeout_ms=TIMEOUT_MS)], "edges": edges("a:b")}
ASK = {"id": "w", "type": "human", "config": {"message": "Well?", "quorum": 2}, "timeout_ms": TIMEOUT_MS}
EVENT = {"id": "w", "type": "event", "config": {"name": "e"}, "timeout_ms": TIMEOUT_MS}
WAIT = {"id": "w", "type": "wait", "config": {"seconds": 5}}


def held(harness: Harness, document: Json = CHAIN) -> tuple[str, str]:
    """A run in a long pause, in which `a` was settled: what follows it is held. Also the signal that settled it."""
    run_id = harness.start(document)
    done = signal(tasks(harness)["a"])
    harness.clock.now += 1000
    pause_run(harness.services, run_id, "ann")
    handle_until_done(harness, done)
    harness.clock.now += LONG_MS
    return run_id, done


def after_a(node: Json) -> Json:
    return {"nodes": [function("a"), node], "edges": edges(f"a:{node['id']}")}


def sends(harness: Harness, node: str = "b") -> list[str]:
    """All messages of the node's tasks that are on the queue, as sent."""
    settle_all(harness)
    return [body for body in harness.queues.bodies("tasks-function") if json.loads(body)["node_id"] == node]


def deadline(harness: Harness, node: str = "b") -> str:
    """Of the node's one task: every send of it is the same to the byte."""
    bodies = set(sends(harness, node))
    assert len(bodies) == 1, bodies
    return str(json.loads(bodies.pop())["deadline"])


def times_out_at(harness: Harness, moment: int) -> None:
    """The timeout detector finds something at this moment, and nothing just before."""
    harness.clock.now = moment - 1
    assert detect_timeouts(harness.services) == 0
    harness.clock.now = moment
    assert detect_timeouts(harness.services) == 1


def test_34_a_task_that_a_pause_held_counts_its_timeout_from_the_resume(harness: Harness) -> None:
    run_id, _ = held(harness)
    assert detect_timeouts(harness.services) == 0 and sends(harness) == []
    resumed = harness.clock.now
    resume_run(harness.services, run_id, "ann")
    harness.clock.now += 700  # what the message says does not come from the sender's clock
    assert deadline(harness) == timestamp(resumed + TIMEOUT_MS)
    assert standings(harness.store.snapshot(run_id))["b"].started_at == resumed
    times_out_at(harness, resumed + TIMEOUT_MS)
    settle_all(harness)
    assert_whole(harness, run_id, "FAILED")


def test_34_a_heartbeat_of_a_task_that_a_pause_held_counts_from_the_resume(harness: Harness) -> None:
    run_id, _ = held(harness, after_a(function("b", heartbeat_ms=2000)))
    resumed = harness.clock.now
    resume_run(harness.services, run_id, "ann")
    settle_all(harness)
    times_out_at(harness, resumed + 2000)


def test_34_every_send_of_what_a_pause_held_has_the_same_deadline(harness: Harness) -> None:
    """By a repeat of the signal, by the sweep, by a rebuild: none knows of the others."""
    run_id, done = held(harness)
    resumed = harness.clock.now
    send, harness.queues.send = harness.queues.send, lost
    with pytest.raises(Unavailable):
        resume_run(harness.services, run_id, "ann")
    harness.queues.send = send
    harness.clock.now += UNSENT_MS
    sweep_all(harness)
    handle_until_done(harness, done)
    assert len(sends(harness)) == 2
    harness.client.flushall()
    sweep_all(harness)
    assert len(sends(harness)) == 3
    assert deadline(harness) == timestamp(resumed + TIMEOUT_MS)
    harness.drain()
    assert_whole(harness, run_id)


def test_34_a_task_that_was_sent_before_the_pause_keeps_its_deadline(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a"), function("b", timeout_ms=TIMEOUT_MS)]})
    begun = harness.clock.now
    assert tasks(harness).keys() == {"a", "b"}
    harness.clock.now += 1000
    pause_run(harness.services, run_id, "ann")
    harness.clock.now += 1000
    resume_run(harness.services, run_id, "ann")
    pause_run(harness.services, run_id, "ann")
    harness.client.flushall()
    sweep_all(harness)
    assert deadline(harness) == timestamp(begun + TIMEOUT_MS)
    times_out_at(harness, begun + TIMEOUT_MS)


def test_34_a_pause_before_the_sends_of_a_resume_changes_nothing_of_them(harness: Harness) -> None:
    nodes = [*CHAIN["nodes"], function("c", timeout_ms=TIMEOUT_MS)]
    run_id, done = held(harness, {"nodes": nodes, "edges": edges("a:b", "b:c")})
    resumed = harness.clock.now
    resume_run(harness.services, run_id, "ann")
    pause_run(harness.services, run_id, "ann")
    (sent,) = sends(harness)
    handle_until_done(harness, done, signal(json.loads(sent)))
    harness.clock.now += LONG_MS
    assert sends(harness, "c") == []
    again = harness.clock.now
    resume_run(harness.services, run_id, "ann")
    assert deadline(harness) == timestamp(resumed + TIMEOUT_MS)
    assert deadline(harness, "c") == timestamp(again + TIMEOUT_MS)
    harness.drain()
    assert_whole(harness, run_id)


def test_34_a_rerun_that_ends_a_pause_lets_go_what_it_held(harness: Harness) -> None:
    nodes = [function("a"), function("x"), function("b", timeout_ms=TIMEOUT_MS)]
    run_id, _ = held(harness, {"nodes": nodes, "edges": edges("a:b")})
    begun = harness.clock.now
    rerun_node(harness.services, run_id, "x", "ann")
    harness.clock.now += 700
    assert deadline(harness) == timestamp(begun + TIMEOUT_MS)
    harness.drain()
    assert_whole(harness, run_id)


def test_34_what_is_redriven_after_a_cancel_in_a_pause_counts_from_the_redrive(harness: Harness) -> None:
    run_id, _ = held(harness)
    cancel_run(harness.services, run_id, "ann")
    harness.clock.now += LONG_MS
    begun = harness.clock.now
    redrive_run(harness.services, run_id, "ann")
    assert deadline(harness) == timestamp(begun + TIMEOUT_MS)
    harness.drain()
    assert_whole(harness, run_id)


def test_34_a_rollback_that_ends_a_pause_leaves_no_pause_behind(harness: Harness) -> None:
    undo = {"type": "function", "config": {"handler": "echo"}, "timeout_ms": TIMEOUT_MS}
    run_id, _ = held(harness, {"nodes": [function("a", compensate=undo), function("b")], "edges": edges("a:b")})
    begun = harness.clock.now
    rollback_run(harness.services, run_id, "ann")
    (task,) = [task for task in map(json.loads, sends(harness, "a")) if "compensation" in task]
    assert task["deadline"] == timestamp(begun + TIMEOUT_MS)
    assert "paused" not in harness.meta(run_id)
    harness.drain()
    assert_whole(harness, run_id, "FAILED")


@pytest.mark.parametrize("node", [ASK, EVENT, WAIT], ids=lambda node: node["type"])
def test_34_what_waits_after_a_pause_counts_from_the_resume(harness: Harness, node: Json) -> None:
    run_id, _ = held(harness, after_a(node))
    assert detect_timeouts(harness.services) == 0
    assert_waits_from_the_resume(harness, run_id)


@pytest.mark.parametrize("node", [ASK, EVENT, WAIT], ids=lambda node: node["type"])
@pytest.mark.parametrize("knows", [False, True], ids=["before the step knows", "though the step knows"])
def test_34_a_pause_just_before_a_node_would_wait_holds_it_back(harness: Harness, node: Json, knows: bool) -> None:
    """The pause comes while a step is at it: between the commit that made the node ready and the one that lets it wait.
    A step that has heard of the pause by another signal decides on the run as it is, and is not refused for that."""
    run_id = harness.start({"nodes": [*after_a(node)["nodes"], function("x")], "edges": edges("a:w")})
    sent, commit = tasks(harness), harness.store.commit

    def paused_between(calls: Any) -> Any:
        answers = commit(calls)
        if any("$arm:w@" in call.body for call in calls):
            harness.store.commit = commit
            pause_run(harness.services, run_id, "ann")
            if knows:
                handle_until_done(harness, signal(sent["x"]))
        return answers

    harness.store.commit = paused_between
    handle_until_done(harness, signal(sent["a"]))
    assert harness.meta(run_id)["status"] == "PAUSED"
    outstanding = harness.store.snapshot(run_id)["tok"]
    assert [text for text in outstanding if "w@" in text] == ["$arm:w@#0.1"]
    harness.clock.now += LONG_MS
    sweep_all(harness)
    settle_all(harness)
    assert detect_timeouts(harness.services) == 0
    assert_waits_from_the_resume(harness, run_id)


def test_34_a_resume_before_the_step_has_marked_what_is_held_does_not_leave_it_to_the_sweep(harness: Harness) -> None:
    run_id = harness.start(after_a(WAIT))
    sent, commit, hold = tasks(harness), harness.store.commit, harness.store.hold

    def paused_between(calls: Any) -> Any:
        answers = commit(calls)
        if any("$arm:w@" in call.body for call in calls):
            harness.store.commit = commit
            pause_run(harness.services, run_id, "ann")
        return answers

    harness.store.commit, harness.store.hold = paused_between, _resumed_before(harness, run_id)
    handle_until_done(harness, signal(sent["a"]))
    settle_all(harness)
    assert "w@#0.1" in harness.store.snapshot(run_id)["tok"]
    harness.store.hold = hold
    harness.drain()
    assert_whole(harness, run_id)


def test_10_a_resume_before_a_repeat_has_marked_what_is_held_lets_the_signal_come_again(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    done = signal(tasks(harness)["a"])
    send, harness.queues.send = harness.queues.send, lost
    assert harness.coordinator.handle([done]) == {0}
    harness.queues.send = send
    pause_run(harness.services, run_id, "ann")
    hold, harness.store.hold = harness.store.hold, _resumed_before(harness, run_id)
    assert harness.coordinator.handle([done]) == {0}
    harness.store.hold = hold
    handle_until_done(harness, done)
    assert len(sends(harness)) == 1
    harness.drain()
    assert_whole(harness, run_id)


def _resumed_before(harness: Harness, run_id: str) -> Callable[..., None]:
    """In place of the store's call that marks tokens as held: somebody resumes the run just before."""
    hold = harness.store.hold

    def resumed(*arguments: Any) -> None:
        resume_run(harness.services, run_id, "ann")
        hold(*arguments)

    return resumed


def assert_waits_from_the_resume(harness: Harness, run_id: str) -> None:
    """It begins to wait when the run goes on, for as long as its node says."""
    resumed = harness.clock.now
    resume_run(harness.services, run_id, "ann")
    settle_all(harness)
    (record,) = [record for text, record in harness.store.snapshot(run_id)["tok"].items() if text.startswith("w@")]
    began = parse_began(record)
    assert (began.at_ms, began.data.get("due", resumed + 5000)) == (resumed, resumed + 5000)
    if began.kind == "h":
        times_out_at(harness, resumed + TIMEOUT_MS)
    assert_whole(harness, run_id, "RUNNING")


def test_34_a_rebuild_in_a_pause_sets_no_deadline_for_what_it_holds(harness: Harness) -> None:
    run_id, _ = held(harness)
    harness.client.flushall()
    sweep_all(harness)
    harness.clock.now += LONG_MS
    assert detect_timeouts(harness.services) == 0 and sends(harness) == []
    resumed = harness.clock.now
    resume_run(harness.services, run_id, "ann")
    assert deadline(harness) == timestamp(resumed + TIMEOUT_MS)
    assert_whole(harness, run_id, "RUNNING")


def test_34_a_store_that_fell_back_into_a_pause_sends_nothing_that_it_holds(harness: Harness) -> None:
    """The resume is in the journal, its sends are under way; the store does not know of it any more."""
    run_id, done = held(harness)
    old, resumed = harness.store.snapshot(run_id), harness.clock.now
    resume_run(harness.services, run_id, "ann")
    fall_back(harness, run_id, old)
    assert sends(harness) == []
    handle_until_done(harness, done)
    assert sends(harness) == []
    harness.clock.now += UNSENT_MS
    sweep_all(harness)
    assert deadline(harness) == timestamp(resumed + TIMEOUT_MS)
    harness.drain()
    assert_whole(harness, run_id)


def test_34_a_repeat_that_began_before_a_pause_sends_nothing_that_began_in_it(harness: Harness) -> None:
    """It looks whether the run goes on, then what is unsent: the pause comes in between, and another step goes on."""
    nodes = [function("a"), {"id": "p", "type": "pass"}, function("b", timeout_ms=TIMEOUT_MS)]
    run_id = harness.start({"nodes": nodes, "edges": edges("a:p", "p:b")})
    done = signal(tasks(harness)["a"])
    commit, snapshot = harness.store.commit, harness.store.snapshot
    harness.store.commit = _dies_after(commit)
    with contextlib.suppress(Unavailable):
        harness.coordinator.handle([done])
    harness.store.commit = commit

    def pause_then_read(run: str, hashes: Any = ()) -> Any:
        if "tok" in hashes:
            harness.store.snapshot = snapshot
            pause_run(harness.services, run_id, "ann")
            began = parse_began(snapshot(run_id)["tok"]["p@#0.1"])
            continue_jobs(harness.services, [job_id(began.job(run_id, "p@#0.1"), harness.services.secret)])
            batch = [message.body for message in harness.queues.receive("completion-signals")]
            assert another(harness).handle(batch) == set()
        return snapshot(run, hashes)

    harness.store.snapshot = pause_then_read
    handle_until_done(harness, done)
    assert harness.store.snapshot == snapshot and "b@#0.1" in snapshot(run_id)["tok"]
    assert sends(harness) == []
    harness.clock.now += LONG_MS
    resumed = harness.clock.now
    resume_run(harness.services, run_id, "ann")
    assert deadline(harness) == timestamp(resumed + TIMEOUT_MS)
    harness.drain()
    assert_whole(harness, run_id)


def _dies_after(commit: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The step commits once and dies."""
    calls: list[object] = []

    def once(wanted: Any) -> Any:
        calls.append(wanted)
        return commit(wanted) if len(calls) == 1 else lost()

    return once


def test_34_a_paused_run_says_what_it_holds_and_what_is_at_work(harness: Harness) -> None:
    nodes = [function("a"), function("x"), function("b", timeout_ms=TIMEOUT_MS)]
    run_id, _ = held(harness, {"nodes": nodes, "edges": edges("a:b")})
    answer = explain_run(harness.services, "acme", run_id)
    assert {entry["node_id"]: entry["waits_for"] for entry in answer["waiting"]} == {"x": "task", "b": "resume"}
    assert [problem["code"] for problem in answer["problems"] if problem["node_id"] == "b"] == []
    assert [answer["since"]] == [one["at"] for one in harness.events(run_id) if one["type"] == "run_paused"]
    resume_run(harness.services, run_id, "ann")
    entries = explain_run(harness.services, "acme", run_id)["waiting"]
    (entry,) = [entry for entry in entries if entry["node_id"] == "b"]
    assert entry["deadline"] == timestamp(harness.clock.now + TIMEOUT_MS)
    recover(harness)
    assert_whole(harness, run_id)
