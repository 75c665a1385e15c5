"""HAZARDS 12 to 18 and 34, one interleaving each: delays, long chains, outages, wipes, late work and pauses."""

from __future__ import annotations

import contextlib
import itertools
import json

from chalicelib.domain.errors import Unavailable
from chalicelib.engine.controls import CHUNK, pause_run, resume_run
from chalicelib.engine.history import load_state
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.step import MAX_ROUNDS
from chalicelib.engine.supervise import GRACE_MS, detect_timeouts
from tests.engine.dead import letters, spend_receives, take_in_all
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, count, handle_until_done, lost, recover, signal, tasks
from tests.engine.patching import patch, replace
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all, sweep_all

BROKEN = {"status": "failed", "error": {"type": "Broken", "message": "no"}}
CHAIN = {"nodes": [function("a", {"n": 1}), function("b", {"n": 2})], "edges": edges("a:b")}


def test_12_a_backoff_is_a_wake_up_and_the_next_attempt_has_the_patched_config(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a", {"v": 1}, retry={"max_attempts": 2, "backoff_ms": 60_000})]})
    first = tasks(harness)["a"]
    harness.queues.delete(
        "tasks-function", harness.queues.receive("tasks-function", now=harness.clock.now + 31_000)[0].receipt
    )
    harness.answer(first, BROKEN)
    settle_all(harness)
    assert harness.queues.depth("tasks-function") == 0 and harness.queues.depth("completion-signals") == 1
    patch(harness, run_id, replace("/nodes/a/config/params", {"v": 2}))
    harness.drain()
    assert harness.output(run_id) == {"a": {"v": 2}}
    assert_whole(harness, run_id)


def test_12_a_backoff_that_ends_in_a_paused_run_starts_nothing(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a", retry={"max_attempts": 2, "backoff_ms": 1000})]})
    settle_all(harness)
    harness.worker = lambda task: BROKEN
    harness.work_batch()
    settle_all(harness)
    pause_run(harness.services, run_id, "ann")
    harness.clock.now += 5000
    settle_all(harness)
    assert harness.queues.depth("tasks-function") == 0
    resume_run(harness.services, run_id, "ann")
    harness.worker = lambda task: {"status": "completed", "result": task["attempt"]}
    harness.drain()
    assert harness.output(run_id) == {"a": 2}


def test_13_a_long_inline_chain_goes_on_in_further_steps(harness: Harness) -> None:
    length = 150
    names = [f"n{i}" for i in range(length)]
    document = {
        "nodes": [{"id": name, "type": "pass"} for name in names],
        "edges": edges(*(f"{one}:{two}" for one, two in itertools.pairwise(names))),
    }
    run_id = harness.start(document, {"x": 1})
    steps = commits = 0
    while True:
        before = int(harness.meta(run_id)["no"])
        if not harness.settle_batch():
            break
        steps, commits = steps + 1, max(commits, int(harness.meta(run_id)["no"]) - before)
    assert steps > 2 and commits <= MAX_ROUNDS
    assert harness.output(run_id) == {names[-1]: {"x": 1}}
    assert_whole(harness, run_id)


def test_14_an_outage_that_uses_up_every_receive_kills_no_run(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    append, harness.journal.append = harness.journal.append, lost
    for _ in range(7):
        for message in harness.queues.receive("completion-signals"):
            with contextlib.suppress(Unavailable):
                assert harness.coordinator.handle([message.body]) == {0}
        harness.clock.now += 31_000
    assert harness.queues.depth("completion-signals") == 0
    assert take_in_all(harness) == 1
    harness.journal.append = append
    harness.clock.now += 31_000
    assert take_in_all(harness) == 0 and letters(harness) == []
    harness.drain()
    assert_whole(harness, run_id)


def test_14_a_settled_signal_in_the_dead_letters_still_sends_what_it_emitted(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    task = tasks(harness)["a"]
    send = harness.queues.send
    harness.queues.send = lost
    for _ in range(5):
        assert harness.coordinator.handle([signal(task, {"n": 1})]) == {0}
    harness.queues.send = send
    harness.queues.send([Outgoing("completion-signals-dlq", signal(task, {"n": 1}))])
    assert take_in_all(harness) == 0
    assert list(tasks(harness)) == ["b"]
    harness.clock.now += 31_000
    harness.drain()
    assert_whole(harness, run_id)


def test_14_a_refusal_fails_the_token_and_no_more(harness: Harness) -> None:
    document = {"nodes": [function("a"), function("b")], "on_failure": "finish_branches"}
    run_id = harness.start(document)
    held = tasks(harness)
    harness.queues.send([Outgoing("completion-signals", json.dumps({**held["a"], "version": "9"}))])
    settle_all(harness)
    take_in_all(harness)
    handle_until_done(harness, signal(held["b"]))
    settle_all(harness)
    assert [letter["origin"]["node_id"] for letter in letters(harness)] == ["a"]
    assert count(harness, run_id, "node_completed") == 1
    assert_whole(harness, run_id, "FAILED")


def test_15_a_wipe_wakes_what_has_no_message_of_its_own(harness: Harness) -> None:
    """A timer whose wake-up was consumed, a task whose worker died, a start whose dispatch died."""
    waiting = harness.start({"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 600}}]})
    dead = harness.start({"nodes": [function("a", timeout_ms=60_000)]})
    settle_all(harness)
    unsent = harness.start({"nodes": [function("b")]})
    for queue in ("completion-signals", "tasks-function"):
        for message in harness.queues.receive(queue, 100, now=harness.clock.now + 10**9):
            harness.queues.delete(queue, message.receipt)
    harness.client.flushall()
    sweep_all(harness)
    harness.clock.now += 60_000
    settle_all(harness)
    detect_timeouts(harness.services)
    harness.worker = lambda task: {"status": "completed", "result": 1}
    harness.drain()
    assert_whole(harness, waiting)
    assert_whole(harness, unsent)
    assert harness.meta(dead)["status"] in ("COMPLETED", "FAILED")


def test_15_signals_that_find_their_run_gone_are_settled_by_the_same_step_and_fold_it_once(harness: Harness) -> None:
    """On AWS a signal that fails comes again after its visibility timeout: minutes in which the run would stand."""
    wide = [function(f"n{i}") for i in range(10)]
    run_id = harness.start({"nodes": [*wide, function("end")], "edges": edges(*[f"n{i}:end" for i in range(10)])})
    signals = [signal(task, 1) for task in tasks(harness).values()]
    harness.client.flushall()
    reads, read = [], harness.journal.read
    harness.journal.read = lambda *arguments, **named: reads.append(arguments) or read(*arguments, **named)
    assert harness.coordinator.handle(signals) == set()
    assert len(reads) == 1
    assert list(tasks(harness)) == ["end"]
    harness.clock.now += 31_000
    harness.drain()
    assert count(harness, run_id, "run_rebuilt") == 1
    assert_whole(harness, run_id)


def test_15_what_came_of_a_commit_that_was_lost_with_the_store_is_done_anew(harness: Harness) -> None:
    """Redis loses its data between two commits of one step: the first was not in the journal yet."""
    document = {"nodes": [function("a"), {"id": "p", "type": "pass"}, function("b")], "edges": edges("a:p", "p:b")}
    for kept in ("p", "a"):
        run_id = harness.start({**document, "nodes": [*document["nodes"], function(f"other{kept}")]})
        held = tasks(harness)
        commit = harness.store.commit

        def losing(calls, commit=commit, kept=kept):
            if f'"settle":["{kept}@' in calls[0].body:
                harness.store.commit = commit
                harness.client.flushall()
            return commit(calls)

        harness.store.commit = losing
        handle_until_done(harness, signal(held["a"], 1))
        harness.clock.now += 31_000
        harness.drain()
        assert harness.meta(run_id)["status"] == "COMPLETED"
        assert count(harness, run_id, "node_completed") == 4
        assert_whole(harness, run_id)


def test_17_a_finished_run_is_never_installed_again(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    held = tasks(harness)
    handle_until_done(harness, signal(held["a"]))
    harness.clock.now += 31_000
    harness.drain()
    harness.clock.now += GRACE_MS
    sweep_all(harness)
    written = harness.journal.read(run_id)
    assert harness.coordinator.handle([signal(held["a"], "late")]) == set()
    assert harness.store.snapshot(run_id) is None
    state = load_state(harness.services, run_id)
    assert state["meta"]["status"] == "COMPLETED" and harness.journal.read(run_id)[: len(written)] == written


def test_18_a_rebuild_counts_heartbeats_from_now_and_timeouts_from_the_dispatch(harness: Harness) -> None:
    nodes = [function("beating", heartbeat_ms=2000), function("slow", timeout_ms=5000)]
    run_id = harness.start({"nodes": nodes, "on_failure": "finish_branches"})
    held = tasks(harness)
    harness.clock.now += 4000
    harness.client.flushall()
    sweep_all(harness)
    assert detect_timeouts(harness.services) == 0
    harness.clock.now += 1000
    assert detect_timeouts(harness.services) == 1
    handle_until_done(harness, signal(held["beating"]))
    settle_all(harness)
    assert json.loads(harness.meta(run_id)["error"])["node_id"] == "slow"
    assert_whole(harness, run_id, "FAILED")


def test_34_a_paused_run_settles_and_times_out_and_starts_nothing(harness: Harness) -> None:
    wide = [function(f"n{i}") for i in range(2 * CHUNK + 5)]
    nodes = [function("a"), function("late", timeout_ms=5000), {"id": "w", "type": "wait", "config": {"seconds": 3}}]
    document = {
        "nodes": [*nodes, *wide, function("after"), function("caught")],
        "edges": edges(*(f"a:{node['id']}" for node in wide), "w:after", "late:caught:failure"),
    }
    run_id = harness.start(document)
    held = tasks(harness)
    pause_run(harness.services, run_id, "ann")
    handle_until_done(harness, signal(held["a"], 1))
    harness.clock.now += 5000
    detect_timeouts(harness.services)
    settle_all(harness)
    assert harness.queues.depth("tasks-function") == 2  # those that were at work
    types = [event["type"] for event in harness.events(run_id)]
    assert types.count("node_completed") == 2 and types.count("node_timed_out") == 1
    sweep_all(harness)
    assert harness.queues.depth("completion-signals") == 0
    resume_run(harness.services, run_id, "ann")
    sent = [json.loads(body) for body in harness.queues.bodies("completion-signals")]
    assert [len(message["jobs"]) <= CHUNK for message in sent] == [True] * len(sent) and len(sent) >= 3
    recover(harness)
    assert count(harness, run_id, "node_completed") == 2 + len(wide) + 2
    assert_whole(harness, run_id)


def test_34_the_timeout_of_a_paused_run_runs_on(harness: Harness) -> None:
    run_id = harness.start({**CHAIN, "timeout_ms": 1000})
    settle_all(harness)
    pause_run(harness.services, run_id, "ann")
    harness.clock.now += 1000
    detect_timeouts(harness.services)
    assert_whole(harness, run_id, "TIMED_OUT")


def test_a_dead_worker_leaves_no_run_running(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    settle_all(harness)
    spend_receives(harness, "tasks-function")
    take_in_all(harness)
    harness.drain()
    assert_whole(harness, run_id, "FAILED")
