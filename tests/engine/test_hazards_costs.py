"""HAZARDS 35 to 37 and 40 to 42: what a hop costs and writes, wide work, bad neighbours, reads, and far timers."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from chalicelib.adapters.dynamodb_items import FLAT_SEQS, MAX_ITEM_BYTES, SHARDS, encode_journal, shard_of, size_of
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.routing import FAN
from chalicelib.engine.controls import send_waiting
from chalicelib.engine.directory_keys import RUN_SHARDS, run_list_key
from chalicelib.engine.effects import LAST_MINUTES_MS, SQS_DELAY_MS
from chalicelib.engine.rebuild import rebuild
from chalicelib.engine.run_reader import read_state
from chalicelib.engine.signals import INLINE_BYTES
from infra.local.redis_server import RedisServer
from tests.engine.counting import Meter
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, fall_back, handle_until_done, lost, recover, signal, tasks
from tests.engine.test_step import edges, function

Json = Any
CHAIN = {"nodes": [function("a"), function("b", "${output.n}"), function("c", "${ctx.a.output.n}")],
         "edges": edges("a:b", "b:c")}  # fmt: skip


@pytest.fixture
def meter(client: redis.Redis, redis_server: RedisServer) -> Iterator[Meter]:
    meter = Meter(client, redis_server.port)
    yield meter
    meter.client.close()


def test_35_a_plain_hop_is_one_round_trip_and_one_that_reads_further_back_two(meter: Meter) -> None:
    meter.hop(*meter.begin(CHAIN), result={"n": 1})  # the process is warm
    meter.tap.tasks()
    assert meter.hop(*meter.begin(CHAIN), result={"n": 1})["redis"] == 1
    assert meter.hop(*meter.tap.tasks(), result={"n": 2})["redis"] == 2
    assert [task["config"]["params"] for task in meter.tap.tasks()] == [1]


def test_35_a_hop_into_a_join_reads_nothing_of_what_the_join_will_read(meter: Meter) -> None:
    costs = []
    for width in (10, 300):
        names = [f"n{i}" for i in range(width)]
        join = function("j", {"first": "${ctx.n0.output}", "last": f"${{ctx.n{width - 1}.output}}"})
        document = {"nodes": [*(function(name) for name in names), join], "edges": edges(*(f"{n}:j" for n in names))}
        begun = meter.begin(document)
        meter.hop(begun[0])
        costs.append(meter.hop(begun[1], result={"x": "y"}))
    # The second trip moves the mark of what is journaled, since other steps are at this run too (HAZARDS 3).
    assert costs[0]["redis"] == costs[1]["redis"] == 2
    assert costs[0]["commands"] == costs[1]["commands"]


def test_36_a_large_value_is_stored_once_and_the_hops_that_read_it_stay_small(harness: Harness) -> None:
    large = "x" * (2 * INLINE_BYTES)
    reads = [function(f"r{i}", "${ctx.a.output}") for i in range(3)]
    run_id = harness.start({"nodes": [function("a"), *reads], "edges": edges("a:r0", "a:r1", "a:r2"), "output": "done"})
    handle_until_done(harness, signal(tasks(harness)["a"], large))
    held = tasks(harness)
    assert set(held) == {"r0", "r1", "r2"}
    handle_until_done(harness, *(signal(task) for task in held.values()))
    harness.drain()
    assert max(len(item.text) for item in harness.journal.read(run_id)) < 8192
    assert_whole(harness, run_id)


def test_36_a_value_below_that_size_is_in_one_item_of_the_journal_however_often_it_is_read(harness: Harness) -> None:
    value = "y" * (INLINE_BYTES // 2)
    reads = [function(f"r{i}", "${ctx.a.output}") for i in range(5)]
    run_id = harness.start(
        {"nodes": [function("a"), *reads], "edges": edges(*(f"a:r{i}" for i in range(5))), "output": "done"}
    )
    handle_until_done(harness, signal(tasks(harness)["a"], value))
    held = tasks(harness)
    assert all(task["config"]["params"] == value for task in held.values())
    handle_until_done(harness, *(signal(task, "small") for task in held.values()))
    harness.drain()
    assert sum(value in item.text for item in harness.journal.read(run_id)) == 1
    assert_whole(harness, run_id)


def test_36_a_long_runs_items_are_spread_over_partitions_evenly() -> None:
    assert {shard_of(seq) for seq in range(1, FLAT_SEQS + 1)} == {0}
    found = [shard_of(seq) for seq in range(FLAT_SEQS + 1, FLAT_SEQS + 1 + 100 * SHARDS)]
    assert set(found) == set(range(1, SHARDS + 1))
    assert max(found.count(shard) for shard in set(found)) <= 110


def test_37_ten_thousand_edges_out_of_one_node_leave_small_items_and_bounded_steps(harness: Harness) -> None:
    names = [f"n{i}" for i in range(9_998)]
    document = {
        "nodes": [function("a"), *({"id": name, "type": "function", "config": {"handler": "echo"}} for name in names)],
        "edges": edges(*(f"a:{name}" for name in names)),
    }
    run_id = harness.start(document)
    first = tasks(harness)["a"]
    send, sizes = harness.queues.send, []

    def counted(messages: Json) -> None:
        sizes.append(len(messages))
        send(messages)

    harness.queues.send = counted
    assert harness.coordinator.handle([signal(first)]) == set()
    while harness.settle_batch():
        pass
    assert sizes[0] <= 300, "the first step begins some, and leaves the rest to continue messages"
    assert max(sizes) <= 10 * FAN, "a batch is ten messages, and each begins a part"
    assert sum(sizes) >= len(names)
    assert harness.queues.depth("tasks-function") == len(names) + 1
    items = harness.journal.read(run_id, 0, 10_000)
    assert max(size_of(encode_journal(item)) for item in items) < MAX_ITEM_BYTES // 4


def test_40_one_bad_run_in_a_batch_cancels_none_of_its_neighbours(harness: Harness) -> None:
    runs = {harness.start({"nodes": [function("a"), function("b")], "edges": edges("a:b")}): None for _ in range(10)}
    while harness.settle_batch():
        pass
    bodies = {}
    for message in harness.queues.receive("tasks-function", 100):
        task = json.loads(message.body)
        bodies[task["run_id"]] = task
    bad = next(iter(runs))
    old = harness.store.snapshot(bad)
    handle_until_done(harness, signal(bodies[bad]))
    fall_back(harness, bad, old)  # its journal will refuse what is decided on this
    order = list(bodies)
    failed = harness.coordinator.handle([signal(bodies[run_id], "again") for run_id in order])
    assert failed == {order.index(bad)}
    going = {json.loads(body)["run_id"] for body in harness.queues.bodies("tasks-function")}
    assert going >= set(runs) - {bad}
    for run_id in set(runs) - {bad}:
        assert [event["type"] for event in harness.events(run_id)].count("node_completed") == 1
    handle_until_done(harness, signal(bodies[bad], "again"))
    recover(harness)
    for run_id in runs:
        assert_whole(harness, run_id)


def test_41_what_is_shown_of_a_run_is_in_the_journal_first(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a"), function("b")]})
    held = tasks(harness)
    append, harness.journal.append = harness.journal.append, lost
    with contextlib.suppress(Unavailable):
        harness.coordinator.handle([signal(held["a"], 1)])
    harness.clock.now += 3000
    with pytest.raises(Unavailable):  # it may vanish with the store: better no answer than that one
        read_state(harness.services, "acme", run_id)
    harness.journal.append = append
    shown = read_state(harness.services, "acme", run_id)["meta"]
    harness.client.flushall()
    again = read_state(harness.services, "acme", run_id)["meta"]
    assert {name: again[name] for name in ("no", "cid", "seq")} == {name: shown[name] for name in ("no", "cid", "seq")}


def test_41_a_tenants_runs_of_a_day_are_listed_from_several_partitions() -> None:
    partitions = {run_list_key("acme", 1_800_000_000_000, f"run-{i}")[0] for i in range(100)}
    assert len(partitions) == RUN_SHARDS and all(name.startswith("runs#acme#20270115#") for name in partitions)


@pytest.mark.parametrize("seconds", [901, 3600, 86_400])
def test_42_a_wait_over_fifteen_minutes_is_scheduled_to_its_last_ten_and_ends_to_the_second(
    harness: Harness, seconds: int
) -> None:
    run_id = harness.start({"nodes": [{"id": "w", "type": "wait", "config": {"seconds": seconds}}]})
    sent: list[Json] = []
    send = harness.queues.send

    def watched(messages: Json) -> None:
        sent.extend(messages)
        send(messages)

    harness.queues.send = watched
    began = harness.clock.now
    while harness.settle_batch():
        pass
    due = began + seconds * 1000
    at = harness.services.schedules.next_at()
    assert due - LAST_MINUTES_MS <= at < due - LAST_MINUTES_MS + 1000
    harness.clock.now = at + 59_000  # such a schedule fires within its minute
    harness.services.schedules.fire(harness.clock.now)
    while harness.settle_batch():
        pass
    assert harness.meta(run_id)["status"] == "RUNNING"
    assert max(message.delay_s for message in sent) <= SQS_DELAY_MS // 1000
    harness.drain()
    assert due <= int(harness.meta(run_id)["finished_at"]) <= due + 1000
    assert_whole(harness, run_id)


@pytest.mark.parametrize("early_ms", [1000, 600_000])
def test_42_a_wake_up_that_came_early_and_could_not_be_put_off_comes_again(harness: Harness, early_ms: int) -> None:
    run_id = harness.start({"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 3600}}]})
    due = harness.clock.now + 3_600_000
    while harness.settle_batch():
        pass
    harness.clock.now = due - early_ms
    harness.services.schedules.fire(harness.clock.now)
    (wake,) = harness.queues.receive("completion-signals")
    send = harness.queues.send

    def refuses(messages: Json) -> None:
        raise Unavailable("SQS is out.")

    harness.queues.send = refuses
    assert harness.coordinator.handle([wake.body]) == {0}, "the message that says so must not be acknowledged"
    harness.queues.send = send
    harness.drain()
    assert_whole(harness, run_id)
    assert due <= int(harness.meta(run_id)["finished_at"]) <= due + 60_000


NOISE = random.Random(36)


def noise(size: int) -> str:
    """Text that no compression makes smaller by much."""
    return "".join(NOISE.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size))


LARGE_SIGNALS = {
    "many variables": {"result": {f"v{i}": noise(60_000) for i in range(14)}},
    "hundreds of variables": {"result": {f"v{i}": noise(3000) for i in range(300)}},
    "metadata": {"result": 1, "metadata": {"note": noise(900_000), "tokens_used": 3}},
    "tool calls": {"result": 1, "metadata": {"tool_calls": [{"name": noise(2000)} for _ in range(400)]}},
    "an error": {"status": "failed", "error": {"type": noise(400_000), "message": noise(400_000), "retryable": False}},
    "a patch": {"result": 1, "patch": {"operations": [
        {"op": "add", "path": "/metadata", "value": {"x": noise(700_000)}}], "description": "why"}},
    "a patch's description": {"result": 1, "patch": {"operations": [
        {"op": "add", "path": "/metadata", "value": {"x": 1}}], "description": noise(700_000)}},
}  # fmt: skip


@pytest.mark.parametrize("what", LARGE_SIGNALS)
def test_36_no_signal_makes_an_item_that_the_table_cannot_hold(harness: Harness, what: str) -> None:
    answer = LARGE_SIGNALS[what]
    names = answer["result"] if isinstance(answer.get("result"), dict) else {}
    first = function("a", set={name: f"${{output.{name}}}" for name in names})
    follower = function("b", {name: f"${{size(vars.{name})}}" for name in list(names)[:3]})
    run_id = harness.start({"nodes": [first, follower], "edges": edges("a:b"), "vars": dict.fromkeys(names, 0)})
    task = tasks(harness)["a"]
    head = {name: task[name] for name in ("version", "job_id", "run_id", "node_id")}
    handle_until_done(harness, json.dumps({**head, "status": "completed", **answer}))
    harness.drain()
    for item in harness.journal.read(run_id):
        assert size_of(encode_journal(item)) < MAX_ITEM_BYTES
    assert_whole(harness, run_id, "FAILED" if "error" in answer else harness.meta(run_id)["status"])


@pytest.mark.parametrize("times", [1, 2, 3])
def test_42_a_schedule_that_is_refused_is_made_by_the_repeat(harness: Harness, times: int) -> None:
    """Also where the repeat is refused its schedule, which has no commit of its own any more."""
    run_id = harness.start({"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 7200}}]})
    once, left = harness.services.schedules.once, [None] * times

    def refuses(*given: Json) -> None:
        if not left:
            return once(*given)
        left.pop()
        raise Unavailable("no schedules now")

    harness.services.schedules.once = refuses
    while harness.settle_batch():
        pass
    assert len(left) == times - 1 and harness.services.schedules.next_at() is None
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"


def test_42_a_schedule_made_again_after_a_rebuild_is_noted_as_sent(harness: Harness) -> None:
    """A rebuild does not know what was sent: the sweep sends it, once."""
    run_id = harness.start({"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 7200}}]})
    while harness.settle_batch():
        pass
    harness.client.flushall()
    rebuild(harness.services, run_id)
    assert [since[0] for since in harness.store.snapshot(run_id)["ready"].values()] == ["r"]
    send_waiting(harness.services, run_id, harness.clock.now)
    while harness.settle_batch():
        pass
    assert harness.services.schedules.next_at() is not None
    assert not harness.store.snapshot(run_id)["ready"]


def test_42_long_waits_that_begin_in_one_commit_have_a_schedule_each(harness: Harness) -> None:
    waits = [{"id": f"w{n}", "type": "wait", "config": {"seconds": 7200 * n}} for n in (1, 2)]
    nodes = [{"id": "p", "type": "pass"}, *waits]
    run_id = harness.start({"nodes": nodes, "edges": edges("p:w1", "p:w2")})
    began = harness.clock.now
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    assert harness.clock.now - began < 14_500_000
