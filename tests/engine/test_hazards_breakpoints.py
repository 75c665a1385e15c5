"""Breakpoints where things go wrong: steps at once, deaths, control actions in between, and stores that lose data."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from chalicelib.domain.errors import Unavailable
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.redo import skip_node
from tests.engine.harness import Harness
from tests.engine.hazards import (
    another,
    assert_whole,
    count,
    fall_back,
    handle_until_done,
    lost,
    lost_reply,
    recover,
    signal,
    tasks,
)
from tests.engine.patching import edges, function, patch, replace
from tests.engine.test_breakpoints import CHAIN, FORK, ran, resume, stops
from tests.engine.test_supervise import settle_all, sweep_all

Json = Any


def before_stop(harness: Harness, do: Any) -> None:
    """The first time that a step is about to commit a stop, this happens before."""
    commit, waiting = harness.store.commit, [do]

    def committing(calls: Json) -> Json:
        if waiting and any('"stopped|' in call.body and '"PAUSED"' in call.body for call in calls):
            waiting.pop()()
        return commit(calls)

    harness.store.commit = committing


def to_b(harness: Harness, document: Json = CHAIN, breakpoints: Json = ("b",)) -> str:
    """Start, and answer `a`; the answer waits to be settled."""
    run_id = harness.start(document, breakpoints=list(breakpoints))
    settle_all(harness)
    harness.work_batch()
    return run_id


def test_two_steps_at_one_breakpoint_stop_once(harness: Harness) -> None:
    run_id = to_b(harness)
    [message] = harness.queues.bodies("completion-signals")
    before_stop(harness, lambda: another(harness).handle([message]))
    harness.drain()
    assert stops(harness, run_id) == ["b"]
    resume(harness, run_id)
    assert ran(harness) == ["a", "b", "c"]
    assert_whole(harness, run_id)


def test_a_pause_between_look_and_stop_holds_the_node_and_it_stops_after_the_resume(harness: Harness) -> None:
    run_id = to_b(harness)
    before_stop(harness, lambda: pause_run(harness.services, run_id, "ann"))
    harness.drain()
    assert stops(harness, run_id) == [] and harness.meta(run_id)["status"] == "PAUSED"
    resume(harness, run_id)
    assert stops(harness, run_id) == ["b"]
    resume(harness, run_id)
    assert ran(harness) == ["a", "b", "c"]
    assert_whole(harness, run_id)


def test_a_cancellation_between_look_and_stop_wins(harness: Harness) -> None:
    run_id = to_b(harness)
    before_stop(harness, lambda: cancel_run(harness.services, run_id, "ann"))
    harness.drain()
    assert stops(harness, run_id) == []
    assert_whole(harness, run_id, "CANCELLED")


def test_a_patch_between_look_and_stop_changes_what_runs_and_it_stops_all_the_same(harness: Harness) -> None:
    run_id = to_b(harness)
    before_stop(harness, lambda: patch(harness, run_id, replace("/nodes/b/config/params", 7)))
    harness.drain()
    assert stops(harness, run_id) == ["b"]
    resume(harness, run_id)
    assert harness.tasks[1]["config"]["params"] == 7
    assert_whole(harness, run_id)


def test_a_pause_right_before_a_resumed_node_begins_holds_it_and_needs_no_second_stop(harness: Harness) -> None:
    run_id = to_b(harness)
    harness.drain()
    resume_run(harness.services, run_id, "ann")
    pause_run(harness.services, run_id, "ann")
    harness.drain()
    assert ran(harness) == ["a"]
    resume(harness, run_id)
    assert ran(harness) == ["a", "b", "c"] and stops(harness, run_id) == ["b"]
    assert_whole(harness, run_id)


def test_a_resume_and_a_skip_at_once_settle_the_node_once(harness: Harness) -> None:
    run_id = to_b(harness)
    harness.drain()
    resume_run(harness.services, run_id, "ann")
    skip_node(harness.services, run_id, "b", "skipped", "ann")
    harness.drain()
    assert set(ran(harness)) == {"a", "c"} and count(harness, run_id, "node_completed") == 3
    assert_whole(harness, run_id)


def test_10_what_a_dead_step_stopped_at_is_not_sent_by_its_repeat(harness: Harness) -> None:
    """It died between its commits and the journal: the signal comes again, finds the run paused, and journals that."""
    run_id = to_b(harness)
    append, harness.journal.append = harness.journal.append, lost
    with contextlib.suppress(Unavailable):
        harness.settle_batch()
    harness.journal.append = append
    assert harness.meta(run_id)["status"] == "PAUSED"
    harness.clock.now += 31_000
    harness.coordinator = another(harness)
    harness.drain()
    assert stops(harness, run_id) == ["b"] and ran(harness) == ["a"]
    resume(harness, run_id)
    assert_whole(harness, run_id)


def test_10_a_pause_that_only_the_store_has_is_journaled_before_its_signal_is_given_up(harness: Harness) -> None:
    run_id = harness.start(CHAIN, breakpoints=["a"])
    settle_all(harness)
    resume_run(harness.services, run_id, "ann")
    [message] = harness.queues.bodies("completion-signals")
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        pause_run(harness.services, run_id, "ann")
    with contextlib.suppress(Unavailable):
        assert harness.coordinator.handle([message]) == {0}
    harness.journal.append = append
    harness.clock.now += 5000
    assert another(harness).handle([message]) == set()
    assert count(harness, run_id, "run_paused") == 2
    assert harness.meta(run_id)["mark"] == harness.meta(run_id)["no"]


def test_a_stop_whose_reply_was_lost_is_not_made_twice(harness: Harness) -> None:
    run_id = to_b(harness)
    commit, seen = harness.store.commit, []

    def committing(calls: Json) -> Json:
        stop = any('"stopped|' in call.body and '"PAUSED"' in call.body for call in calls)
        if stop and not seen:
            seen.append(1)
            return lost_reply(commit)(calls)
        return commit(calls)

    harness.store.commit = committing
    [message] = harness.queues.bodies("completion-signals")
    handle_until_done(harness, message)
    harness.drain()
    assert seen and stops(harness, run_id) == ["b"]
    resume(harness, run_id)
    assert_whole(harness, run_id)


@pytest.mark.parametrize("moment", ["stopped", "resumed"])
def test_15_a_wipe_at_a_breakpoint_loses_nothing(harness: Harness, moment: str) -> None:
    run_id = to_b(harness)
    harness.drain()
    if moment == "resumed":
        resume_run(harness.services, run_id, "ann")
    harness.client.flushall()
    recover(harness)
    if moment == "stopped":
        assert ran(harness) == ["a"]
        resume(harness, run_id)
    assert set(ran(harness)) == {"a", "b", "c"} and stops(harness, run_id) == ["b"]
    assert_whole(harness, run_id)


@pytest.mark.parametrize("lost_part", ["stop", "resume"])
def test_1_a_store_that_falls_back_behind_a_stop_or_a_resume_gives_way(harness: Harness, lost_part: str) -> None:
    run_id = to_b(harness)
    old = harness.store.snapshot(run_id)
    harness.drain()
    if lost_part == "resume":
        old = harness.store.snapshot(run_id)
        resume_run(harness.services, run_id, "ann")
        settle_all(harness)
    fall_back(harness, run_id, old)
    recover(harness)
    if lost_part == "stop":
        assert ran(harness) == ["a"] and stops(harness, run_id) == ["b"]
        resume(harness, run_id)
    assert set(ran(harness)) == {"a", "b", "c"} and stops(harness, run_id) == ["b"]
    assert_whole(harness, run_id)


def test_what_waits_for_its_own_stop_is_sent_by_resuming_whatever_the_store_forgot(harness: Harness) -> None:
    """Of two breakpoints in one commit the second is held by the pause of the first. Nothing marks it for that: that it
    is outstanding, at a breakpoint, says enough."""
    run_id = harness.run(FORK, breakpoints=["b", "c"])["run_id"]
    marks = harness.store.snapshot(run_id, ("ready",))["ready"]
    assert {name: mark[0] for name, mark in marks.items()} == {"$arm:b@#0.1": "s", "$arm:c@#0.1": "s"}
    resume(harness, run_id)
    resume(harness, run_id)
    assert sorted(ran(harness)) == ["a", "b", "c"]
    assert_whole(harness, run_id)


def test_a_late_message_of_a_breakpoint_changes_nothing(harness: Harness) -> None:
    run_id = to_b(harness)
    harness.drain()
    resume_run(harness.services, run_id, "ann")
    [message] = harness.queues.bodies("completion-signals")
    assert json.loads(message)["kind"] == "continue"
    harness.drain()
    before = harness.meta(run_id)["no"]
    handle_until_done(harness, message, message)
    assert harness.meta(run_id)["no"] == before
    assert_whole(harness, run_id)


def test_many_breakpoints_reached_at_once_pause_one_by_one(harness: Harness) -> None:
    names = [f"n{i}" for i in range(45)]
    document = {"nodes": [function("a"), *map(function, names)], "edges": edges(" ".join(f"a>{n}" for n in names))}
    run_id = harness.run(document, breakpoints=names)["run_id"]
    for _ in names:
        if harness.meta(run_id)["status"] == "PAUSED":
            resume(harness, run_id)
    assert sorted(stops(harness, run_id)) == sorted(names) and sorted(ran(harness)) == sorted(["a", *names])
    assert_whole(harness, run_id)


def test_a_sweep_of_a_paused_run_sends_nothing_of_its_breakpoints(harness: Harness) -> None:
    run_id = harness.run(FORK, breakpoints=["b", "c"])["run_id"]
    sweep_all(harness)
    assert harness.queues.depth("completion-signals") == 0
    assert tasks(harness) == {}
    del run_id


def test_a_signal_of_a_parallel_task_in_the_step_that_stops_is_settled(harness: Harness) -> None:
    document = {"nodes": [function("a"), function("b"), function("x"), function("y")], "edges": edges("a>b x>y")}
    run_id = harness.start(document, breakpoints=["b"])
    found = tasks(harness)
    assert harness.coordinator.handle([signal(found["a"], 1), signal(found["x"], 1)]) == set()
    assert stops(harness, run_id) == ["b"] and count(harness, run_id, "node_completed") == 2
    handle_until_done(harness, signal(tasks(harness)["y"], 1))
    resume(harness, run_id)
    assert_whole(harness, run_id)
