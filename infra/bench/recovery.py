"""What a loss of Redis costs: live runs brought back from their journals, and what journaling a hop takes before."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from chalicelib.adapters.dynamodb_items import size_of
from chalicelib.engine.directory_keys import LIVE_SHARDS, snapshot_key
from chalicelib.engine.rebuild import ensure_present
from chalicelib.engine.supervise import sweep
from infra.bench import documents
from infra.bench.results import Section
from infra.bench.rig import Rig, aws_rig
from infra.bench.sizes import Sizes

Json = Any
BATCH = 10
#: Parts of a rebuild whose time is told: port, its method, name.
WATCHED = (
    ("journal", "read", "reading the journal"),
    ("store", "install", "installing"),
    ("journal", "append", "journaling run_rebuilt"),
    ("queues", "send", "sending again"),
)
#: Hops that a run has behind it when Redis is lost.
BEHIND = 5


def measure(sizes: Sizes) -> Section:
    """All of it, on one rig."""
    section = Section(
        "recovery",
        "One process over Valkey and ministack. Half of the runs wait for an answer that nobody gives, the others have "
        "a signal on its way. Redis loses all its data; then the sweep passes over every slice, or the signals come.",
    )
    log = logging.getLogger("graft")
    level = log.level
    log.setLevel(logging.ERROR)  # every rebuilt run is a warning
    with aws_rig() as rig:
        _loss(section, rig, sizes)
        _long(section, rig, sizes)
        _journal(section, rig, sizes)
    log.setLevel(level)
    return section


def _journal(section: Section, rig: Rig, sizes: Sizes) -> None:
    """Items, bytes and calls of the journal for 1,000 hops."""
    rig.drain()
    for name, runs in (("plain, ten runs a batch", BATCH), ("plain, one run", 1)):
        rig.start(documents.chain(sizes.chain), runs)
        rig.step(BATCH)
        rig.aws_calls.clear()
        settled = sum(took.signals for took in rig.drain(BATCH))
        puts = [put for call in rig.aws_calls for put in _puts(call[1], call[2]) if "no" in put]
        calls = sum(call[0] == "dynamodb" for call in rig.aws_calls)
        scale = 1000 / settled
        section.count(f"{name}: journal items of 1,000 signals", scale * len(puts), "items")
        section.count(f"{name}: bytes of an item", sum(map(size_of, puts)) / len(puts), "bytes")
        section.count(f"{name}: DynamoDB calls of 1,000 signals", scale * calls, "calls")


def _puts(operation: str, params: dict[str, Json]) -> list[Json]:
    if operation == "PutItem":
        return [params["Item"]]
    return [action["Put"]["Item"] for action in params.get("TransactItems", ()) if "Put" in action]


def _loss(section: Section, rig: Rig, sizes: Sizes) -> None:
    half = sizes.live_runs // 2
    _started(rig, half)
    rig.pending.clear()  # these wait
    _by_sweep(section, rig, f"{half:,} waiting runs", half)
    moving = _started(rig, half)
    rig.redis.flushall()
    before, begun = rig.meter.counts.copy(), time.perf_counter()
    took = [rig.step(BATCH) for _ in range(-(-half // BATCH))]
    by_signals = time.perf_counter() - begun
    since = rig.meter.since(before)
    assert all(rig.status(run_id) == "RUNNING" for run_id in moving)
    rig.pending.clear()
    name = f"{half:,} runs with a signal on its way"
    section.count(f"{name}: all back and moved on", by_signals, "s")
    section.times(f"{name}: a batch of ten", [1000 * one.wall_s for one in took], "ms")
    section.times(f"{name}: a batch of ten, CPU", [1000 * one.cpu_s for one in took], "ms")
    _per_run(section, name, since, half)


def _by_sweep(section: Section, rig: Rig, name: str, runs: int) -> None:
    """Lose all data, and let the sweep bring back what lives."""
    rig.redis.flushall()
    before, spent = rig.meter.counts.copy(), _watch(rig)
    begun, cpu = time.perf_counter(), time.process_time()
    for tick in range(LIVE_SHARDS):
        sweep(rig.services, tick)
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    section.count(f"{name}: all back, by one pass over every slice", took, "s")
    section.count(f"{name}: CPU of it", cpu, "s")
    _per_run(section, name, rig.meter.since(before), runs)
    for what, seconds in spent.items():
        section.count(f"{name}: {what}", seconds, "s")
    section.count(f"{name}: the rest", took - sum(spent.values()), "s")


def _started(rig: Rig, runs: int) -> list[str]:
    """Runs with BEHIND hops behind them, whose next task has just been answered."""
    found = rig.start(documents.chain(BEHIND + 3), runs)
    for _ in range(BEHIND * -(-runs // BATCH)):
        rig.step(BATCH)
    return found


def _per_run(section: Section, name: str, since: Counter[str], runs: int) -> None:
    for what in ("redis round trips", "dynamodb calls", "sqs calls"):
        section.count(f"{name}: {what} of a run", since[what] / runs, what.split(maxsplit=1)[1])


def _watch(rig: Rig) -> dict[str, float]:
    """Seconds spent from now on in the watched calls, by name."""
    spent = dict.fromkeys((name for _, _, name in WATCHED), 0.0)
    for port, method, name in WATCHED:
        target = getattr(rig.services, port)
        setattr(target, method, _timed(getattr(type(target), method).__get__(target), spent, name))
    return spent


def _timed(call: Callable[..., Any], spent: dict[str, float], name: str) -> Callable[..., Any]:
    def timed(*arguments: object, **named: object) -> Any:  # noqa: ANN401 - as the call has it
        begun = time.perf_counter()
        try:
            return call(*arguments, **named)
        finally:
            spent[name] += time.perf_counter() - begun

    return timed


def _long(section: Section, rig: Rig, sizes: Sizes) -> None:
    """One run of many commits: what its rebuild reads, with its snapshot and without."""
    (run_id,) = rig.start(documents.lanes(sizes.long_run))
    while len(rig.pending) and int(_meta(rig, run_id)["no"]) < sizes.long_run * 3 // 4:
        rig.step(BATCH)
    rig.pending.clear()
    for name, drop in (("with its snapshot", False), ("without a snapshot", True)):
        if drop:
            rig.services.directory.delete(snapshot_key(run_id))
        rig.redis.flushall()
        rig.aws_calls.clear()
        begun = time.perf_counter()
        ensure_present(rig.services, run_id)
        took = time.perf_counter() - begun
        title = f"a run of {int(_meta(rig, run_id)['no']):,} commits, {name}"
        section.count(f"{title}: back", took, "s")
        queries = sum(call[1] == "Query" for call in rig.aws_calls)
        section.count(f"{title}: queries", queries, "calls")


def _meta(rig: Rig, run_id: str) -> dict[str, str]:
    state = rig.services.store.snapshot(run_id, ("meta",))
    assert state is not None, f"run {run_id} is gone"
    return state["meta"]
