"""HAZARDS 17, its other half: what comes too late is recorded as ignored, once, and costs little however often."""

from __future__ import annotations

import contextlib

import pytest

from chalicelib.domain.errors import GraftError, Unavailable
from chalicelib.engine.controls import cancel_run
from chalicelib.engine.late import MOST
from chalicelib.engine.ports import RUN_HASHES
from chalicelib.engine.redo import redrive_run, rerun_node
from chalicelib.engine.supervise import GRACE_MS
from chalicelib.engine.verify import verify_run
from tests.engine.harness import Harness
from tests.engine.hazards import (
    another,
    assert_whole,
    count,
    fall_back,
    handle_until_done,
    lost,
    lost_reply,
    signal,
    tasks,
)
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all, sweep_all

CHAIN = {"nodes": [function("a"), function("b")], "edges": edges("a:b")}
PAIR = {"nodes": [function("a"), function("b")]}


def cancelled(harness: Harness, document: dict = PAIR, *, gone: bool = False) -> tuple[str, dict]:
    """A run that was cancelled with all its tasks at work; `gone`: its keys have left the store."""
    run_id = harness.start(document)
    held = tasks(harness)
    cancel_run(harness.services, run_id, "ann")
    if gone:
        let_go(harness)
    return run_id, held


def let_go(harness: Harness) -> None:
    settle_all(harness)
    harness.clock.now += GRACE_MS
    sweep_all(harness)
    assert harness.client.keys("graft:{*}:meta") == []


def nothing_to_write(items: object, records: object = ()) -> list[object]:
    """In place of an append: whoever has something to write is found out."""
    assert not items
    return []


def ignored(harness: Harness, run_id: str) -> list[dict]:
    return [event for event in harness.events(run_id) if event["type"] == "signal_ignored"]


def assert_verified(harness: Harness, run_id: str) -> None:
    answer = verify_run(harness.services, "acme", run_id)
    assert answer["ok"], answer["differences"]


@pytest.mark.parametrize("gone", [False, True])
def test_17_a_late_signal_of_a_cancelled_run_is_recorded_once_as_ignored(harness: Harness, gone: bool) -> None:
    run_id, held = cancelled(harness, gone=gone)
    for _ in range(3):
        assert harness.coordinator.handle([signal(held["a"], 1), signal(held["a"], 1)]) == set()
    assert another(harness).handle([signal(held["b"], 2)]) == set()
    first, second = ignored(harness, run_id)
    assert (first["node_id"], first["job_id"], second["node_id"]) == ("a", held["a"]["job_id"], "b")
    assert "CANCELLED" in first["data"]["reason"]
    assert (harness.store.snapshot(run_id) is None) == gone
    assert_verified(harness, run_id)


def test_17_a_late_signal_of_a_cancelled_token_in_a_live_run_is_recorded_once(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    old = tasks(harness)["a"]
    rerun_node(harness.services, run_id, "a", "ann")
    for _ in range(2):
        assert harness.coordinator.handle([signal(old, "old")]) == set()
    (event,) = ignored(harness, run_id)
    assert (event["node_id"], event["job_id"]) == ("a", old["job_id"])
    assert "cancelled" in event["data"]["reason"]
    harness.clock.now += 31_000
    harness.drain()
    assert_whole(harness, run_id)


@pytest.mark.parametrize("gone", [False, True])
def test_17_a_duplicate_of_a_signal_that_was_settled_is_not_recorded(harness: Harness, gone: bool) -> None:
    run_id = harness.start(CHAIN)
    first = tasks(harness)["a"]
    handle_until_done(harness, signal(first))
    harness.clock.now += 31_000
    harness.drain()
    if gone:
        let_go(harness)
    events = harness.events(run_id)
    assert harness.coordinator.handle([signal(first), signal(first, "other")]) == set()
    assert harness.events(run_id) == events


def test_17_what_the_engine_says_to_itself_too_late_is_not_recorded(harness: Harness) -> None:
    document = {"nodes": [function("a", timeout_ms=1000), {"id": "w", "type": "wait", "config": {"seconds": 60}}]}
    run_id, _ = cancelled(harness, document)
    harness.clock.now += 120_000
    sweep_all(harness)
    settle_all(harness)
    assert ignored(harness, run_id) == []


@pytest.mark.parametrize("gone", [False, True])
def test_17_at_most_a_hundred_late_signals_of_a_run_are_recorded(harness: Harness, gone: bool) -> None:
    names = [f"n{i}" for i in range(MOST + 5)]
    run_id, held = cancelled(harness, {"nodes": [function(name) for name in names]}, gone=gone)
    for name in names:
        assert harness.coordinator.handle([signal(held[name])]) == set()
    assert len(ignored(harness, run_id)) == MOST
    assert_verified(harness, run_id)


def test_17_a_storm_of_repeated_late_signals_reads_no_journal_and_writes_nothing(harness: Harness) -> None:
    run_id, held = cancelled(harness, gone=True)
    harness.coordinator.handle([signal(held["a"])])
    written = harness.journal.read(run_id)
    harness.journal.read, harness.journal.append = lost, nothing_to_write
    for _ in range(50):
        assert harness.coordinator.handle([signal(held["a"])]) == set()
    del harness.journal.read, harness.journal.append
    assert harness.journal.read(run_id) == written


def test_17_a_late_wake_up_of_an_ended_run_reads_no_journal(harness: Harness) -> None:
    document = {"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 7200}}]}
    run_id = harness.start(document)
    settle_all(harness)
    cancel_run(harness.services, run_id, "ann")
    let_go(harness)
    harness.journal.read = lost
    harness.drain()
    del harness.journal.read
    assert ignored(harness, run_id) == []


def test_17_late_signals_of_one_ended_run_at_once_are_all_recorded(harness: Harness) -> None:
    run_id, held = cancelled(harness, gone=True)
    append = harness.journal.append

    def slow(items, records=()):
        """Before this one's write arrives, another process has recorded its own, and the same."""
        harness.journal.append = append
        assert another(harness).handle([signal(held["b"])]) == set()
        assert another(harness).handle([signal(held["a"])]) == set()
        return append(items, records)

    harness.journal.append = slow
    assert harness.coordinator.handle([signal(held["a"])]) == set()
    assert sorted(event["node_id"] for event in ignored(harness, run_id)) == ["a", "b"]
    assert_verified(harness, run_id)


@pytest.mark.parametrize("gone", [False, True])
def test_17_a_record_whose_reply_was_lost_is_not_made_twice(harness: Harness, gone: bool) -> None:
    run_id, held = cancelled(harness, gone=gone)
    append = harness.journal.append
    harness.journal.append = lost_reply(append)
    with contextlib.suppress(Unavailable):
        assert harness.coordinator.handle([signal(held["a"])]) == {0}
    harness.journal.append = append
    harness.clock.now += 3000
    handle_until_done(harness, signal(held["a"]))
    assert len(ignored(harness, run_id)) == 1
    assert_verified(harness, run_id)


def test_17_a_record_that_a_dead_step_left_unwritten_is_written_by_the_repeat(harness: Harness) -> None:
    run_id, held = cancelled(harness)
    append, harness.journal.append = harness.journal.append, lost
    with contextlib.suppress(Unavailable):
        harness.coordinator.handle([signal(held["a"])])
    harness.journal.append = append
    assert ignored(harness, run_id) == []
    harness.clock.now += 3000
    handle_until_done(harness, signal(held["a"]))
    assert len(ignored(harness, run_id)) == 1
    assert_verified(harness, run_id)


def test_17_a_redrive_that_a_late_signal_comes_before_is_refused_whole_and_works_when_repeated(
    harness: Harness,
) -> None:
    run_id, held = cancelled(harness, gone=True)
    install = harness.store.install

    def late(name, state, replaces=""):
        harness.store.install = install  # between the redrive's look at the journal and its commit
        assert another(harness).handle([signal(held["a"])]) == set()
        return install(name, state, replaces)

    harness.store.install = late
    with contextlib.suppress(GraftError):
        redrive_run(harness.services, run_id, "ann")
    for _ in range(3):
        if harness.directory.get((f"head#{run_id}", "head"))["status"] == "RUNNING":
            break
        harness.clock.now += 3000
        handle_until_done(harness, signal(held["b"]))
        with contextlib.suppress(GraftError):
            redrive_run(harness.services, run_id, "ann")
    harness.drain()
    assert_whole(harness, run_id)
    assert count(harness, run_id, "signal_ignored") == 2


def test_17_events_after_the_end_change_no_state(harness: Harness) -> None:
    run_id, held = cancelled(harness)
    before = harness.store.snapshot(run_id)
    harness.coordinator.handle([signal(held["a"])])
    after = harness.store.snapshot(run_id)
    for name in set(RUN_HASHES) - {"meta", "tail"}:
        assert after[name] == before[name]
    kept = ("status", "gen", "graph", "rev", "out", "finished_at", "error", "output")
    assert [after["meta"].get(name) for name in kept] == [before["meta"].get(name) for name in kept]


def test_1_a_store_that_fell_back_behind_a_runs_end_gives_way_to_it(harness: Harness) -> None:
    run_id = harness.start(PAIR)
    held = tasks(harness)
    old = harness.store.snapshot(run_id)
    cancel_run(harness.services, run_id, "ann")
    fall_back(harness, run_id, old)
    handle_until_done(harness, signal(held["a"]))
    assert harness.store.snapshot(run_id) is None  # read from its journal from now on
    assert len(ignored(harness, run_id)) == 1
    assert_verified(harness, run_id)
    assert count(harness, run_id, "node_completed") == 0
