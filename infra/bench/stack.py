"""Measures a whole local stack over HTTP: latency of hops, joins, a large graph, and the slowest answer."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

from infra.bench import documents
from infra.bench.results import Section, percentile
from infra.bench.sizes import Sizes
from infra.cli.client import Api
from infra.local.running import running_stack

Json = Any
#: Seconds a run is given to end, and any one answer.
RUN_S, ANSWER_S = 600.0, 5.0
_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})


def measure(sizes: Sizes) -> Section:
    """All of it, on one stack."""
    section = Section(
        "stack",
        "`graft local up` with everything on one machine: API, two coordinators, two workers, Valkey, ministack. A hop "
        "is from one node_dispatched to the next, the worker's part and both queues included.",
    )
    with running_stack() as running:
        api = Api(running.ready["api_url"], running.ready["token"])
        _warm(api)
        _hops(section, api, sizes)
        for width in sizes.joins:
            section.count(f"join of {width:,}: start to end", _run(api, documents.join(width))[1], "s")
        _large(section, api, sizes.large)
        api.close()
    return section


def _warm(api: Api) -> None:
    for _ in range(3):
        _run(api, documents.chain(5))


def _hops(section: Section, api: Api, sizes: Sizes) -> None:
    for runs in dict.fromkeys((1, sizes.stack_runs)):
        begun = time.perf_counter()
        ids = [_start(api, documents.chain(sizes.stack_chain)) for _ in range(runs)]
        for run_id in ids:
            _await(api, run_id)
        took = time.perf_counter() - begun
        found = [hop for run_id in ids for hop in _latencies(_events(api, run_id))]
        label = "one run" if runs == 1 else f"{runs} runs at once"
        section.times(f"hop latency p50, {label}", [percentile(found, 0.5)], "ms")
        section.times(f"hop latency p99, {label}", [percentile(found, 0.99)], "ms")
        section.count(f"hops per second, {label}", runs * sizes.stack_chain / took, "1/s")


def _latencies(events: list[Json]) -> list[float]:
    """Milliseconds between the dispatches of a chain's nodes."""
    at = [datetime.fromisoformat(event["at"]) for event in events if event["type"] == "node_dispatched"]
    return [1000 * (b - a).total_seconds() for a, b in pairwise(at)]


def _large(section: Section, api: Api, nodes: int) -> None:
    """A large graph from start to end, asked about meanwhile and afterwards."""
    answers: dict[str, list[float]] = defaultdict(list)
    document = documents.lanes(nodes, 100 if nodes > 1000 else 10)
    begun = time.perf_counter()
    run_id = _timed(answers, "POST runs", lambda: _start(api, document))
    while True:
        run = _timed(answers, "GET run", lambda: api.get(f"/runs/{run_id}"))
        if run["status"] in _ENDED:
            break
        _timed(answers, "GET node", lambda: api.get(f"/runs/{run_id}/nodes/first"))
        _timed(answers, "GET workflow", lambda: api.get(f"/runs/{run_id}/workflow"))
        _timed(answers, "GET events, first page", lambda: api.get(f"/runs/{run_id}/events", limit=1000))
        time.sleep(1.0)
    took = time.perf_counter() - begun
    assert run["status"] == "COMPLETED", run["error"]
    settled = len(document["nodes"])
    for _ in range(3):
        _timed(answers, "GET run, ended", lambda: api.get(f"/runs/{run_id}"))
        _timed(answers, "GET node, ended", lambda: api.get(f"/runs/{run_id}/nodes/last"))
    _events(api, run_id, lambda work: _timed(answers, "GET events, every page", work))
    section.count(f"{settled:,} nodes: start to end", took, "s")
    section.count(f"{settled:,} nodes: nodes per second", settled / took, "1/s")
    for what, found in answers.items():
        section.times(f"{settled:,} nodes: {what}", found, "s", None)
    slowest = max(value for found in answers.values() for value in found)
    section.count(f"{settled:,} nodes: slowest answer", slowest, "s", ANSWER_S)


def _timed(answers: dict[str, list[float]], what: str, work: Callable[[], Json]) -> Json:
    begun = time.perf_counter()
    found = work()
    answers[what].append(time.perf_counter() - begun)
    return found


def _start(api: Api, document: dict[str, Json]) -> str:
    run_id: str = api.post("/runs", {"workflow": document, "input": None})["run_id"]
    return run_id


def _run(api: Api, document: dict[str, Json]) -> tuple[str, float]:
    """(run id, seconds from start to end)."""
    begun = time.perf_counter()
    run_id = _start(api, document)
    _await(api, run_id)
    return run_id, time.perf_counter() - begun


def _await(api: Api, run_id: str) -> None:
    """Return when the run has completed. Raises AssertionError when it ends otherwise, or takes too long."""
    deadline, after = time.monotonic() + RUN_S, 0
    while time.monotonic() < deadline:
        page = api.get(f"/runs/{run_id}/events", after=after, limit=1000, wait=5)
        after = page["next"]
        if page["done"]:
            status = api.get(f"/runs/{run_id}")["status"]
            assert status == "COMPLETED", f"run {run_id} ended {status}"
            return
    raise AssertionError(f"run {run_id} has not ended after {RUN_S} s")


def _events(api: Api, run_id: str, timed: Callable[[Callable[[], Json]], Json] = lambda work: work()) -> list[Json]:
    """All events of a run that has ended."""
    found: list[Json] = []
    after = 0
    while True:
        page = timed(lambda: api.get(f"/runs/{run_id}/events", after=after, limit=1000))  # noqa: B023 - called at once
        found += page["events"]
        after = page["next"]
        if page["done"] or not page["events"]:
            return found
