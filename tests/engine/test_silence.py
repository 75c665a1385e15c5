"""Tasks of which nothing was heard for twelve days are sent again, before their queue drops them (HAZARDS 15)."""

from __future__ import annotations

import json

from chalicelib.engine.controls import pause_run
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.silence import SILENT_MS
from chalicelib.engine.supervise import detect_timeouts
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, handle_until_done, signal
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all, sweep_all

DAY_MS = 24 * 3_600_000


def drop_tasks(harness: Harness) -> list[str]:
    """What is on the task queue, which loses it."""
    found = harness.queues.receive("tasks-function", 100, now=harness.clock.now + 10**9)
    for message in found:
        harness.queues.delete("tasks-function", message.receipt)
    return [message.body for message in found]


def looks(harness: Harness) -> list[tuple[str, ...]]:
    """The hashes of each snapshot taken from now on, metas alone left out."""
    found: list[tuple[str, ...]] = []
    snapshot = harness.store.snapshot

    def watched(run_id, hashes=("tok",)):
        if tuple(hashes) != ("meta",):
            found.append(tuple(hashes))
        return snapshot(run_id, hashes)

    harness.store.snapshot = watched
    return found


def sweep_and_settle(harness: Harness) -> list[str]:
    sweep_all(harness)
    settle_all(harness)
    return drop_tasks(harness)


def test_a_task_that_its_queue_dropped_is_sent_again_with_the_same_bytes(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a"), function("b")], "edges": edges("a:b")})
    settle_all(harness)
    [first] = drop_tasks(harness)
    harness.clock.now += SILENT_MS - 1
    assert sweep_and_settle(harness) == []
    harness.clock.now += 1
    assert sweep_and_settle(harness) == [first]
    assert sweep_and_settle(harness) == []
    harness.clock.now += SILENT_MS
    assert sweep_and_settle(harness) == [first]
    handle_until_done(harness, signal(json.loads(first), 1))
    harness.drain()
    assert_whole(harness, run_id)


def test_each_task_is_due_by_its_own_dispatch(harness: Harness) -> None:
    harness.start({"nodes": [function("a"), function("c"), function("b")], "edges": edges("a:b")})
    settle_all(harness)
    tasks = {json.loads(body)["node_id"]: body for body in drop_tasks(harness)}
    harness.clock.now += 5 * DAY_MS
    handle_until_done(harness, signal(json.loads(tasks["a"]), 1))
    [late] = drop_tasks(harness)
    harness.clock.now += 7 * DAY_MS
    assert sweep_and_settle(harness) == [tasks["c"]]
    harness.clock.now += 5 * DAY_MS - 1
    assert sweep_and_settle(harness) == []
    harness.clock.now += 1
    assert sweep_and_settle(harness) == [late]
    harness.clock.now += 7 * DAY_MS
    assert sweep_and_settle(harness) == [tasks["c"]]


def test_only_what_is_due_is_looked_through(harness: Harness) -> None:
    """A young run costs no look, an old one a look each time that one of its tasks may be due."""
    harness.start({"nodes": [function("a")]})
    settle_all(harness)
    sent = looks(harness)
    harness.clock.now += SILENT_MS - 1
    sweep_all(harness)
    young = len(sent)
    sent.clear()
    harness.clock.now += 1
    sweep_all(harness)
    due = len(sent)
    sent.clear()
    for _ in range(3):
        harness.clock.now += DAY_MS
        sweep_all(harness)
    assert due == young + 1 and len(sent) == 3 * young


def test_after_a_wipe_an_old_run_is_looked_through_once_more(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    settle_all(harness)
    [first] = drop_tasks(harness)
    harness.clock.now += SILENT_MS
    assert sweep_and_settle(harness) == [first]
    harness.client.flushall()
    harness.clock.now += DAY_MS
    assert sweep_and_settle(harness) == [first]  # by the rebuild, which sends all that is outstanding
    sweep_and_settle(harness)
    assert sweep_and_settle(harness) == []
    handle_until_done(harness, signal(json.loads(first), 1))
    assert_whole(harness, run_id)


def test_what_beats_or_waits_or_is_held_is_not_sent_again(harness: Harness) -> None:
    beating = harness.start({"nodes": [function("a", heartbeat_ms=20 * DAY_MS)]})
    harness.start({"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 30 * 24 * 3600}}]})
    paused = harness.start({"nodes": [function("b")]})
    settle_all(harness)
    sent = {json.loads(body)["node_id"]: body for body in drop_tasks(harness)}
    pause_run(harness.services, paused, "ann")
    harness.clock.now += SILENT_MS
    assert sweep_and_settle(harness) == []
    beat = {"version": "1.0", "kind": "heartbeat", "job_id": json.loads(sent["a"])["job_id"]}
    harness.queues.send([Outgoing("completion-signals", json.dumps(beat))])
    settle_all(harness)
    assert detect_timeouts(harness.services) == 0
    handle_until_done(harness, signal(json.loads(sent["a"]), 1))
    settle_all(harness)
    assert_whole(harness, beating)
