"""HAZARDS 9 to 11, one interleaving each: the end of a run, and what is sent again."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from chalicelib.domain.errors import Unavailable
from chalicelib.engine.controls import pause_run, resume_run
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.redo import skip_node
from chalicelib.engine.supervise import UNSENT_MS
from tests.engine.harness import Harness
from tests.engine.hazards import (
    another,
    assert_whole,
    handle_until_done,
    lost,
    lost_reply,
    recover,
    signal,
    tasks,
)
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import sweep_all

CHAIN = {"nodes": [function("a", {"n": 1}), function("b", {"n": 2})], "edges": edges("a:b")}


def test_9_the_commit_that_leaves_nothing_outstanding_makes_the_end_in_the_same_call(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a", {"n": 1})], "output": {"n": "${ctx.a.output.n}"}})
    held = tasks(harness)
    commit = harness.store.commit
    harness.store.commit = lost_reply(commit)
    with contextlib.suppress(Unavailable):
        harness.coordinator.handle([signal(held["a"], {"n": 1})])
    harness.store.commit = commit
    state = harness.store.snapshot(run_id)
    assert (state["meta"]["status"], len(state["tok"])) == ("RUNNING", 1)
    assert next(iter(state["tok"])).startswith("$end@")
    harness.clock.now += 3000
    handle_until_done(harness, signal(held["a"], {"n": 1}))
    assert harness.output(run_id) == {"n": 1}
    assert_whole(harness, run_id)


def test_9_a_run_ends_though_the_message_of_its_last_api_commit_was_lost(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    held = tasks(harness)
    handle_until_done(harness, signal(held["a"], {"n": 1}))
    tasks(harness)
    send, harness.queues.send = harness.queues.send, lost
    with pytest.raises(Unavailable):
        skip_node(harness.services, run_id, "b", {"n": 5}, "ann")
    harness.queues.send = send
    skip_node(harness.services, run_id, "b", {"n": 5}, "ann")  # the person asks again
    harness.clock.now += UNSENT_MS
    sweep_all(harness)
    harness.drain()
    assert harness.output(run_id) == {"b": {"n": 5}}
    assert_whole(harness, run_id)


def test_10_a_repeated_settlement_sends_nothing_in_a_paused_run_and_resume_sends_it(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    held = tasks(harness)
    send, harness.queues.send = harness.queues.send, lost
    assert harness.coordinator.handle([signal(held["a"], {"n": 1})]) == {0}
    harness.queues.send = send
    pause_run(harness.services, run_id, "ann")
    assert harness.coordinator.handle([signal(held["a"], {"n": 1})]) == set()
    assert "b" not in tasks(harness)
    resume_run(harness.services, run_id, "ann")
    recover(harness)
    assert [task["node_id"] for task in harness.tasks].count("b") == 1
    assert_whole(harness, run_id)


def test_10_a_duplicate_hours_later_sends_nothing_again(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function(name) for name in "abcz"], "edges": edges("a:b", "b:c")})
    held = tasks(harness)
    handle_until_done(harness, signal(held["a"]))
    later = tasks(harness)
    handle_until_done(harness, signal(later["b"]))
    tasks(harness)
    harness.clock.now += 3 * 3600 * 1000
    depth = harness.queues.depth("tasks-function")
    handle_until_done(harness, signal(held["a"]), signal(later["b"]))
    bodies = [json.loads(body)["node_id"] for body in harness.queues.bodies("tasks-function")[depth:]]
    assert "b" not in bodies
    handle_until_done(harness, signal(held["z"]))
    harness.drain()
    assert_whole(harness, run_id)


def test_10_a_repeat_sends_nothing_before_the_commit_that_made_it_is_in_the_journal(harness: Harness) -> None:
    """Another step committed while the repeat read how far the journal was; what came of it left at once."""
    nodes = [function("a"), {"id": "p", "type": "pass"}, function("b"), function("z")]
    run_id = harness.start({"nodes": nodes, "edges": edges("a:p", "p:b")})
    held = tasks(harness)
    commit = harness.store.commit
    harness.store.commit = lambda calls: (commit(calls), setattr(harness.clock, "now", harness.clock.now + 6000))[0]
    assert harness.coordinator.handle([signal(held["a"])]) == set()  # it has no time left for what follows
    harness.store.commit = commit
    (onward,) = harness.queues.bodies("completion-signals")
    snapshot, append = harness.store.snapshot, harness.journal.append

    def overtaken(run_id, hashes):
        if "tok" in hashes:
            harness.store.snapshot, harness.journal.append = snapshot, lost
            with contextlib.suppress(Unavailable):
                another(harness).handle([onward])
            harness.journal.append = append
        return snapshot(run_id, hashes)

    depth = harness.queues.depth("tasks-function")
    harness.store.snapshot = overtaken
    harness.clock.now += 2000
    assert harness.coordinator.handle([signal(held["a"])]) == set()
    assert [json.loads(body)["node_id"] for body in harness.queues.bodies("tasks-function")[depth:]] == ["b"]
    made = [item.no for item in harness.journal.read(run_id, 0, 100) if '"b@#0.1"' in item.text]
    assert made, "b was sent, and no commit in the journal has made it"
    handle_until_done(harness, signal(held["z"]))
    harness.drain()
    assert_whole(harness, run_id)


def test_10_a_repeat_that_loses_the_store_while_it_reads_tries_again(harness: Harness) -> None:
    """It counted as done with, and what came of the settlement was left to the sweep."""
    run_id = harness.start({"nodes": [*CHAIN["nodes"], function("z")], "edges": CHAIN["edges"]})
    held = tasks(harness)
    send, harness.queues.send = harness.queues.send, lost
    assert harness.coordinator.handle([signal(held["a"], {"n": 1})]) == {0}
    harness.queues.send = send
    snapshot = harness.store.snapshot

    def lost_between(run_id, hashes):
        if "tok" in hashes:
            harness.store.snapshot = snapshot
            harness.client.flushall()
        return snapshot(run_id, hashes)

    harness.store.snapshot = lost_between
    handle_until_done(harness, signal(held["a"], {"n": 1}))
    assert "b" in tasks(harness)
    harness.clock.now += 31_000
    handle_until_done(harness, signal(held["z"]))
    harness.drain()
    assert_whole(harness, run_id)


def test_11_every_dispatch_of_one_job_is_byte_equal_whatever_happened_between(harness: Harness) -> None:
    document = {
        "vars": {"count": 0},
        "nodes": [
            function("a"),
            function("p", {"v": 7}, set={"count": "${vars.count + 1}"}),
            function("b", {"p": "${ctx.p.status}", "count": "${vars.count}"}),
        ],
        "edges": edges("a:b"),
    }
    run_id = harness.start(document)
    held = tasks(harness)
    send = harness.queues.send
    harness.queues.send = lost_reply(send)
    assert harness.coordinator.handle([signal(held["a"])]) == {0}
    harness.queues.send = send
    handle_until_done(harness, signal(held["p"], {"v": 7}))
    handle_until_done(harness, signal(held["a"]))
    sent = [body for body in harness.queues.bodies("tasks-function") if json.loads(body)["node_id"] == "b"]
    assert len(sent) == 2 and sent[0] == sent[1]
    assert json.loads(sent[0])["config"]["params"] == {"p": "PENDING", "count": 0}
    harness.queues.send([Outgoing("completion-signals", signal(json.loads(sent[0])))])
    harness.drain()
    assert_whole(harness, run_id)


@pytest.mark.parametrize("loss", ["wipe", "fall back", "fall back and go on"])
def test_11_a_task_is_not_built_of_values_that_the_store_lost_since_its_commit(harness: Harness, loss: str) -> None:
    """b begins; before its config is resolved the store is as it was before a had completed, or is empty."""
    nodes = [function("a"), function("x"), function("b", {"a": "${ctx.a.output}", "on": "${run.id}"})]
    run_id = harness.start({"nodes": [*nodes, {"id": "p", "type": "pass"}], "edges": edges("a:p", "p:x", "x:b")})
    sent = tasks(harness)
    old = harness.store.snapshot(run_id)
    handle_until_done(harness, signal(sent["a"], 7))
    sent |= tasks(harness)
    read = harness.store.read

    def lose_then_read(calls: Any) -> Any:
        harness.store.read = read
        harness.retire(run_id)
        if loss != "wipe":
            assert harness.store.install(run_id, old)
        if loss == "fall back and go on":
            append, harness.journal.append = harness.journal.append, lost
            with contextlib.suppress(Unavailable):
                another(harness).handle([signal(sent["a"], 8)])
            harness.journal.append = append
        return read(calls)

    harness.store.read = lose_then_read
    handle_until_done(harness, signal(sent["x"]))
    assert harness.store.read == read, "nothing was read"
    bodies = [json.loads(body) for body in harness.queues.bodies("tasks-function")]
    params = [task["config"]["params"] for task in bodies if task["node_id"] == "b"]
    assert params and all(found == {"a": 7, "on": run_id} for found in params)
    harness.drain()
    assert_whole(harness, run_id)
