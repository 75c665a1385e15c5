"""Times patches of live runs of growing size, and counts the round trips of hops after a patch."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import redis

from chalicelib.adapters.redis.store import RedisRunStore
from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.ir import Plan
from chalicelib.engine.executions import standings
from chalicelib.engine.patch_terms import Change
from chalicelib.engine.patches import PatchRequest, patch_run
from chalicelib.engine.plans import PlanStore
from chalicelib.engine.rebuild import position
from chalicelib.engine.services import Services
from chalicelib.engine.store_calls import CommitAnswer, CommitCall
from infra.bench import documents
from infra.bench.results import Section
from infra.bench.rig import Rig, quick_rig
from infra.bench.sizes import Sizes

Json = Any
#: Most round trips to Redis of the first hop after a patch: a commit that is stale, the new plan, the commit.
FIRST_HOP = 3
#: What is timed. Compiling is part of planning; what is left of a patch is its journal item.
WHOLE, DRY, COMPILE, SAVE, COMMIT = ("a patch", "planning it", "compiling", "writing the plan", "its commit in Redis")


class Phases:
    """Milliseconds by the name of a phase, by the clock and of CPU; one number for each time it was gone through."""

    def __init__(self) -> None:
        self.wall: defaultdict[str, list[float]] = defaultdict(list)
        self.cpu: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[name].append(1000 * (time.perf_counter() - wall))
        self.cpu[name].append(1000 * (time.process_time() - cpu))


class TimedStore(RedisRunStore):
    """The run store, its commits timed."""

    def __init__(self, client: redis.Redis, phases: Phases) -> None:
        super().__init__(client)
        self._phases = phases

    def commit(self, calls: Sequence[CommitCall]) -> list[CommitAnswer]:
        """Commit, timed."""
        with self._phases.timed(COMMIT):
            return super().commit(calls)


class TimedPlans(PlanStore):
    """The plan store, its writes timed."""

    def __init__(self, rig: Rig, phases: Phases) -> None:
        super().__init__(rig.services.artifacts, rig.services.directory, rig.services.store)
        self._phases = phases

    def save(self, plan: Plan) -> None:
        """Save, timed."""
        with self._phases.timed(SAVE):
            super().save(plan)


class Patcher:
    """Patches as the API does: beside the coordinator, with a memory for plans of its own."""

    def __init__(self, rig: Rig) -> None:
        self.phases = Phases()
        store, plans = TimedStore(rig.redis, self.phases), TimedPlans(rig, self.phases)
        self.services: Services = replace(rig.services, store=store, plans=plans)

    def add(self, run_id: str, name: str, after: str, *, dry_run: bool = False) -> None:
        """Add the node `name`, and an edge to it from `after`."""
        operations = [
            {"op": "add", "path": "/nodes/-", "value": documents.task(name)},
            {"op": "add", "path": "/edges/-", "value": documents.edge(after, name)},
        ]
        change = Change(lambda plan: operations, "A node more")
        patch_run(self.services, PatchRequest("bench", "bench", run_id, change, dry_run=dry_run))

    def plan(self, run_id: str) -> Plan:
        """The run's present plan, from then on in the patcher's memory."""
        state = self.services.store.snapshot(run_id, ("meta",))
        assert state is not None
        return self.services.plans.load(state["meta"]["graph"])


def measure(sizes: Sizes) -> Section:
    """Latency of a patch by the size of its run, and the round trips of hops in a patched run."""
    section = Section(
        "patch",
        "A node and an edge are added behind a running node of a run that is half done; the patcher has the run's plan "
        "in memory. The engine alone over a real Valkey; planning is a dry run's. The hops are a chain's, one a batch.",
    )
    with quick_rig() as rig:
        _hops(section, rig, max(8, sizes.counted // 10))
        for nodes in sizes.patched:
            _latency(section, rig, nodes, sizes.repeats)
    return section


def _latency(section: Section, rig: Rig, nodes: int, repeats: int) -> None:
    document = documents.lanes(nodes, 100 if nodes > 1000 else min(10, nodes - 2))
    (run_id,) = rig.start(document)
    left = len(document["nodes"]) // 2
    while left > 0:
        left -= rig.step(min(10, left)).signals
    patcher = Patcher(rig)
    counted = [_one(patcher, rig, run_id, f"more{number}") for number in range(repeats)]
    for what in (WHOLE, COMMIT):
        section.times(f"{nodes:,} nodes: {what}, wall clock", patcher.phases.wall[what], "ms")
    for what in (WHOLE, DRY, COMPILE, SAVE):
        section.times(f"{nodes:,} nodes: {what}, CPU", patcher.phases.cpu[what], "ms")
    for key, unit in (("redis round trips", "round trips"), ("redis bytes", "bytes")):
        section.count(f"{nodes:,} nodes: {key} of a patch", max(since[key] for since in counted), unit)
    rig.drain()
    state = rig.services.store.snapshot(run_id)
    assert state is not None
    assert state["meta"]["status"] == standings(state)["more0"].status == "COMPLETED"
    rig.services.store.retire(run_id, position(state["meta"]))


def _one(patcher: Patcher, rig: Rig, run_id: str, name: str) -> dict[str, int]:
    """Patch once, and time its planning and compiling once more alone; returns what the patch itself sent."""
    after = next(json.loads(text)["node_id"] for text in reversed(rig.pending) if "node_id" in text)
    document = patcher.plan(run_id).document
    limits, phases = patcher.services.limits, patcher.phases
    before = rig.meter.counts.copy()
    with phases.timed(WHOLE):
        patcher.add(run_id, name, after)
    since = rig.meter.since(before)
    with phases.timed(DRY):
        patcher.add(run_id, f"{name}_dry", after, dry_run=True)
    with phases.timed(COMPILE):
        compile_workflow(
            document, limits=limits, handlers=patcher.services.has_handler, queues=patcher.services.has_queue
        )
    return since


def _hops(section: Section, rig: Rig, length: int) -> None:
    """Each hop of a chain that is patched once, early on."""
    (run_id,) = rig.start(documents.chain(length))
    rig.step()
    rig.step()
    Patcher(rig).add(run_id, "more", f"n{length - 1}")
    trips = [_trips(rig) for _ in range(length - 3)]
    rig.drain()
    assert rig.status(run_id) == "COMPLETED"
    section.count("first hop after a patch: redis round trips", trips[0], "round trips", FIRST_HOP)
    later = 1000 * sum(trips[1:]) / len(trips[1:])
    section.count("later hops of the patched run: redis round trips of 1,000 hops", later, "round trips", 1000)


def _trips(rig: Rig) -> int:
    before = rig.meter.counts.copy()
    rig.step()
    return rig.meter.since(before)["redis round trips"]
