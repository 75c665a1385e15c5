"""What the rough worlds of the simulation found, one interleaving each: stores that lost something, and who notices."""

from __future__ import annotations

import contextlib

import pytest

from chalicelib.domain.errors import Conflict, Unavailable
from chalicelib.domain.fold import fold
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.directory_keys import live_key
from chalicelib.engine.history import load_items
from chalicelib.engine.rebuild import rebuild
from chalicelib.engine.redo import redrive_run, skip_node
from chalicelib.engine.run_reader import read_state
from chalicelib.engine.supervise import GRACE_MS, UNSENT_MS, detect_timeouts
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, fall_back, handle_until_done, lost, lost_reply, recover, signal, tasks
from tests.engine.patching import add_node, patch
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all, sweep_all

PAIR = {"nodes": [function("a"), function("x"), function("b"), function("c", timeout_ms=5000)],
        "edges": edges("a:b", "x:c")}  # fmt: skip
BROKEN = {"status": "failed", "error": {"type": "Broken", "message": "no"}}


def forked(harness: Harness) -> tuple[str, dict]:
    """A run whose store fell back behind the settlement of a; x has not been answered. Its tasks by node."""
    run_id = harness.start(PAIR)
    sent = tasks(harness)
    old = harness.store.snapshot(run_id)
    handle_until_done(harness, signal(sent["a"]))
    fall_back(harness, run_id, old)
    return run_id, sent


def test_deadlines_of_a_commit_that_the_journal_refused_are_not_indexed(harness: Harness) -> None:
    run_id, sent = forked(harness)
    handle_until_done(harness, signal(sent["x"]))
    assert len(harness.store.due(harness.clock.now + 10**9, 100)) == 1
    harness.drain()
    assert_whole(harness, run_id)


def test_the_sweep_finds_a_store_that_fell_behind_although_nothing_shows_it(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a"), function("b")], "edges": edges("a:b")})
    sent = tasks(harness)
    pause_run(harness.services, run_id, "ann")
    handle_until_done(harness, signal(sent["a"]))
    old = harness.store.snapshot(run_id)
    send, harness.queues.send = harness.queues.send, lost
    with pytest.raises(Unavailable):
        resume_run(harness.services, run_id, "ann")
    harness.queues.send = send
    fall_back(harness, run_id, old)
    recover(harness)
    assert_whole(harness, run_id)


def test_the_sweep_puts_back_a_deadline_that_the_index_lost(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("slow", timeout_ms=600_000)]})
    tasks(harness)
    harness.store.drop_due(harness.store.due(harness.clock.now + 10**9, 100))
    sweep_all(harness)
    assert detect_timeouts(harness.services) == 0
    harness.clock.now += 600_000
    assert detect_timeouts(harness.services) == 1
    settle_all(harness)
    assert harness.meta(run_id)["status"] == "FAILED"


def test_the_sweep_leaves_known_deadlines_and_heartbeats_as_they_are(harness: Harness) -> None:
    harness.start({"nodes": [function("slow", timeout_ms=600_000, heartbeat_ms=90_000)]})
    tasks(harness)
    harness.clock.now += 60_000
    sweep_all(harness)
    harness.clock.now += 30_000
    assert detect_timeouts(harness.services) == 1


def test_the_sweep_sets_no_deadline_for_what_a_pause_holds_back(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a"), function("b", timeout_ms=1000)], "edges": edges("a:b")})
    sent = tasks(harness)
    pause_run(harness.services, run_id, "ann")
    handle_until_done(harness, signal(sent["a"]))
    harness.clock.now += 2000
    sweep_all(harness)
    assert detect_timeouts(harness.services) == 0


def test_a_store_that_fell_behind_the_end_of_a_run_is_emptied_by_the_sweep(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    sent = tasks(harness)
    old = harness.store.snapshot(run_id)
    handle_until_done(harness, signal(sent["a"], 1))
    fall_back(harness, run_id, old)
    sweep_all(harness)
    assert harness.store.snapshot(run_id) is None
    assert read_state(harness.services, "acme", run_id)["meta"]["status"] == "COMPLETED"


def test_a_forked_store_is_read_as_the_journal_has_it_at_once(harness: Harness) -> None:
    run_id, sent = forked(harness)
    append, harness.journal.append = harness.journal.append, lost
    with contextlib.suppress(Unavailable):
        harness.coordinator.handle([signal(sent["x"])])
    harness.journal.append = append
    state = read_state(harness.services, "acme", run_id, ("meta", "done"))
    assert any(token.startswith("a@") for token in state["done"]), "the settlement that the journal knows"
    assert not any(token.startswith("x@") for token in state["done"])
    harness.drain()
    assert harness.meta(run_id)["status"] == "RUNNING"


def test_a_forked_store_takes_a_control_action_at_the_first_try(harness: Harness) -> None:
    run_id, _ = forked(harness)
    pause_run(harness.services, run_id, "ann")
    assert harness.meta(run_id)["status"] == "PAUSED"
    harness.assert_fold_equals_store(run_id)


def test_a_forked_store_takes_a_patch_at_the_first_try(harness: Harness) -> None:
    run_id, _ = forked(harness)
    patch(harness, run_id, add_node(function("late")))
    harness.assert_fold_equals_store(run_id)
    assert any(token.startswith("late@") for token in harness.store.snapshot(run_id)["tok"])


def test_a_patch_plans_again_where_the_store_loses_the_run_meanwhile(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    tasks(harness)
    snapshot, seen = harness.store.snapshot, []

    def losing(run: str, hashes: tuple = ()) -> object:
        seen.append(hashes)
        if len(seen) == 2:
            harness.client.flushall()
        return snapshot(run, hashes)

    harness.store.snapshot = losing
    patch(harness, run_id, add_node(function("late")))
    harness.store.snapshot = snapshot
    harness.assert_fold_equals_store(run_id)


def test_what_a_dead_step_left_unsent_is_held_by_a_pause_and_sent_by_resuming(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a"), function("b")], "edges": edges("a:b")})
    sent = work_of(harness)
    send, harness.queues.send = harness.queues.send, lost
    assert harness.coordinator.handle([signal(sent["a"])]) == {0}
    harness.queues.send = send
    pause_run(harness.services, run_id, "ann")
    assert harness.coordinator.handle([signal(sent["a"])]) == set()
    harness.clock.now += UNSENT_MS
    sweep_all(harness)
    assert harness.queues.names() == []
    resume_run(harness.services, run_id, "ann")
    harness.drain()
    assert [task["node_id"] for task in harness.tasks] == ["b"]
    assert_whole(harness, run_id)


def test_a_resume_that_dies_leaves_what_a_pause_held_to_the_sweep(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a"), function("b")], "edges": edges("a:b")})
    sent = work_of(harness)
    send, harness.queues.send = harness.queues.send, lost
    assert harness.coordinator.handle([signal(sent["a"])]) == {0}
    harness.queues.send = send
    pause_run(harness.services, run_id, "ann")
    assert harness.coordinator.handle([signal(sent["a"])]) == set()
    harness.queues.send = lost
    with pytest.raises(Unavailable):
        resume_run(harness.services, run_id, "ann")
    harness.queues.send = send
    recover(harness)
    assert_whole(harness, run_id)


@pytest.mark.parametrize(("action", "before"), [(resume_run, pause_run), (pause_run, resume_run)])
def test_a_store_that_fell_behind_is_no_ground_for_answering_that_all_is_done(
    action: object, before: object, harness: Harness
) -> None:
    """The last control action is lost with the store's last writes: what it still shows is not the answer."""
    run_id = harness.start({"nodes": [function("a")]})
    work_of(harness)
    if before is resume_run:
        pause_run(harness.services, run_id, "ann")
    old = harness.store.snapshot(run_id)
    before(harness.services, run_id, "ann")
    fall_back(harness, run_id, old)
    action(harness.services, run_id, "bob")
    status = read_state(harness.services, "acme", run_id)["meta"]["status"]
    assert status == ("RUNNING" if action is resume_run else "PAUSED")
    assert fold(load_items(harness.services, run_id))["meta"]["status"] == status
    harness.assert_fold_equals_store(run_id)


def work_of(harness: Harness) -> dict:
    """The tasks on the queue by node, taken off it for good: nobody will answer them again."""
    sent = tasks(harness)
    harness.clock.now += 31_000
    for message in harness.queues.receive("tasks-function", 100):
        harness.queues.delete("tasks-function", message.receipt)
    return sent


def test_a_repeated_cancel_answers_only_once_the_first_is_journaled(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    tasks(harness)
    append, harness.journal.append = harness.journal.append, lost
    for _ in range(2):
        with pytest.raises(Unavailable):
            cancel_run(harness.services, run_id, "ann")
    harness.journal.append = append
    harness.clock.now += 3000
    cancel_run(harness.services, run_id, "ann")
    harness.client.flushall()
    assert read_state(harness.services, "acme", run_id)["meta"]["status"] == "CANCELLED"


def test_the_sweep_writes_the_end_that_a_dead_cancel_left_unwritten(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    tasks(harness)
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        cancel_run(harness.services, run_id, "ann")
    harness.journal.append = append
    harness.clock.now += 3000
    sweep_all(harness)
    assert harness.directory.get(live_key(run_id))["status"] == "CANCELLED"
    harness.client.flushall()
    assert read_state(harness.services, "acme", run_id)["meta"]["status"] == "CANCELLED"


def failed_run(harness: Harness) -> str:
    run_id = harness.start({"nodes": [function("a")]})
    harness.worker = lambda task: BROKEN
    harness.drain()
    assert harness.meta(run_id)["status"] == "FAILED"
    return run_id


def test_a_redrive_that_others_journal_is_listed_as_live(harness: Harness) -> None:
    run_id = failed_run(harness)
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        redrive_run(harness.services, run_id, "ann")
    harness.journal.append = append
    harness.clock.now += 3000
    sweep_all(harness)
    record = harness.directory.get(live_key(run_id))
    assert (record["status"], record["finished_at"]) == ("RUNNING", None)
    harness.clock.now += GRACE_MS
    sweep_all(harness)
    assert harness.store.snapshot(run_id) is not None


@pytest.mark.parametrize("moment", ["retire", "delete"])
def test_a_run_redriven_while_the_sweep_lets_it_go_stays_live(moment: str, harness: Harness) -> None:
    run_id = failed_run(harness)
    harness.clock.now += GRACE_MS
    port = harness.store if moment == "retire" else harness.directory
    call = getattr(port, moment)

    def redriven_first(*args: object, **named: object) -> None:
        setattr(port, moment, call)
        redrive_run(harness.services, run_id, "ann")
        call(*args, **named)

    setattr(port, moment, redriven_first)
    sweep_all(harness)
    assert harness.directory.get(live_key(run_id))["status"] == "RUNNING"
    harness.worker = lambda task: {"status": "completed", "result": 1}
    harness.clock.now += UNSENT_MS
    recover(harness)
    assert_whole(harness, run_id)


def test_a_lost_reply_to_a_start_or_a_control_action_changes_nothing_twice(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a"), function("b")], "edges": edges("a:b")}, run_id="once")
    append = harness.journal.append
    for action in (pause_run, resume_run):
        harness.journal.append = lost_reply(append)
        with pytest.raises(Unavailable):
            action(harness.services, run_id, "ann")
        harness.journal.append = append
        action(harness.services, run_id, "ann")
    harness.drain()
    types = [event["type"] for event in harness.events(run_id)]
    assert types.count("run_paused") == types.count("run_resumed") == 1
    assert_whole(harness, run_id)


def test_a_node_whose_skip_is_under_way_cannot_be_skipped_from_outside(harness: Harness) -> None:
    """`b` waits for one taken edge of two that are not taken: its own skip is a token for a moment."""
    document = {
        "nodes": [function("a"), function("x"), {**function("b"), "join": "any"}, function("z")],
        "edges": [{**edge, "on": "failure"} for edge in edges("a:b", "x:b")] + edges("a:z"),
    }
    run_id = harness.start(document)
    sent = tasks(harness)
    pause_run(harness.services, run_id, "ann")
    handle_until_done(harness, signal(sent["a"]), signal(sent["x"]))
    assert "b@#0.0" in harness.store.snapshot(run_id)["tok"]
    with pytest.raises(Conflict, match="b is SKIPPING"):
        skip_node(harness.services, run_id, "b", 1, "ann")
    resume_run(harness.services, run_id, "ann")
    recover(harness)
    assert_whole(harness, run_id)


def test_a_node_between_two_attempts_can_be_skipped(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a", retry={"max_attempts": 2, "backoff_ms": 60_000})]})
    sent = tasks(harness)
    harness.answer(sent["a"], BROKEN)
    settle_all(harness)
    skip_node(harness.services, run_id, "a", "instead", "ann")
    harness.drain()
    assert harness.output(run_id) == {"a": "instead"}
    assert_whole(harness, run_id)


def test_a_timer_that_is_not_yet_set_can_be_skipped(harness: Harness) -> None:
    run_id = harness.start(
        {"nodes": [function("a"), {"id": "w", "type": "wait", "config": {"seconds": 60}}], "edges": edges("a:w")}
    )
    sent = tasks(harness)
    pause_run(harness.services, run_id, "ann")
    handle_until_done(harness, signal(sent["a"]))
    skip_node(harness.services, run_id, "w", "instead", "ann")
    harness.drain()
    assert harness.meta(run_id)["status"] == "PAUSED"  # only the skip of a failed node ends a pause
    resume_run(harness.services, run_id, "ann")
    harness.drain()
    assert harness.output(run_id) == {"w": "instead"}
    assert_whole(harness, run_id)


def test_a_repeat_is_done_only_once_its_settlement_is_journaled(harness: Harness) -> None:
    """The store says "settled before" and then loses that settlement, which no journal has."""
    run_id = harness.start({"nodes": [function("a"), function("b")], "edges": edges("a:b")})
    sent = work_of(harness)
    old = harness.store.snapshot(run_id)
    append, harness.journal.append = harness.journal.append, lost
    with contextlib.suppress(Unavailable):
        harness.coordinator.handle([signal(sent["a"])])
    harness.journal.append = append
    commit = harness.store.commit

    def losing(calls: list) -> list:
        answers = commit(calls)
        fall_back(harness, run_id, old)
        harness.store.commit = commit
        return answers

    harness.store.commit = losing
    handle_until_done(harness, signal(sent["a"]))
    harness.drain()
    assert_whole(harness, run_id)


@pytest.mark.parametrize("loses", ["last writes", "all"])
def test_a_late_signal_is_given_up_only_once_the_end_is_journaled(loses: str, harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    sent = work_of(harness)
    old = harness.store.snapshot(run_id)
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        cancel_run(harness.services, run_id, "ann")
    commit = harness.store.commit

    def losing(calls: list) -> list:
        answers = commit(calls)
        fall_back(harness, run_id, old) if loses == "last writes" else harness.client.flushall()
        harness.store.commit, harness.journal.append = commit, append
        return answers

    harness.store.commit = losing
    assert harness.coordinator.handle([signal(sent["a"], 1)]) == {0}
    handle_until_done(harness, signal(sent["a"], 1))
    harness.drain()
    assert_whole(harness, run_id)


def test_a_late_signal_writes_the_end_that_a_dead_cancel_left_unwritten(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    sent = work_of(harness)
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        cancel_run(harness.services, run_id, "ann")
    harness.journal.append = append
    harness.clock.now += 3000
    handle_until_done(harness, signal(sent["a"], 1))
    harness.client.flushall()
    assert read_state(harness.services, "acme", run_id)["meta"]["status"] == "CANCELLED"


def test_a_skip_names_no_execution_that_the_journal_does_not_know(harness: Harness) -> None:
    run_id = failed_run(harness)
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        redrive_run(harness.services, run_id, "ann")
    with pytest.raises(Unavailable):
        skip_node(harness.services, run_id, "a", "instead", "ann")
    assert harness.queues.names() == []
    harness.journal.append = append
    harness.clock.now += 3000
    skip_node(harness.services, run_id, "a", "instead", "ann")
    recover(harness)
    assert harness.output(run_id) == {"a": "instead"}
    assert_whole(harness, run_id)


def test_a_redrive_is_not_refused_because_the_store_fell_behind(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    sent = work_of(harness)
    old = harness.store.snapshot(run_id)
    harness.answer(sent["a"], BROKEN)
    settle_all(harness)
    assert harness.meta(run_id)["status"] == "FAILED"
    fall_back(harness, run_id, old)
    redrive_run(harness.services, run_id, "ann")
    harness.drain()
    assert_whole(harness, run_id)


def test_a_resume_does_not_rest_on_a_store_that_was_behind_and_is_rebuilt_meanwhile(harness: Harness) -> None:
    """It saw the run as before its pause; by the time it asked the journal, another had brought the run back."""
    run_id = harness.start({"nodes": [function("a")]})
    old = harness.store.snapshot(run_id)
    pause_run(harness.services, run_id, "ann")
    fall_back(harness, run_id, old)
    read = harness.journal.read

    def rebuilt_first(*args: object, **kwargs: object) -> list:
        harness.journal.read = read
        rebuild(harness.services, run_id)
        return read(*args, **kwargs)

    harness.journal.read = rebuilt_first
    resume_run(harness.services, run_id, "ann")
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
