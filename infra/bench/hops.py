"""Settlements per second, and the round trips, calls and bytes of a thousand hops, by kind of work."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from types import FrameType
from typing import Any

from infra.bench import documents
from infra.bench.results import Section
from infra.bench.rig import Rig, Took, aws_rig, quick_rig
from infra.bench.sizes import Sizes

Json = Any
#: Signals that one Lambda invocation gets.
BATCH = 10
#: Where a journal is spread over partitions already, and how many commits of it one read of an events page takes.
DEEP, PAGE = 1_100, 200
#: What is counted of a hop, and the unit.
_COUNTED = (
    ("redis round trips", "round trips"),
    ("redis bytes", "bytes"),
    ("dynamodb calls", "calls"),
    ("dynamodb bytes", "bytes"),
    ("sqs calls", "calls"),
    ("sqs bytes", "bytes"),
    ("s3 calls", "calls"),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of hops to count, so many signals a batch; `round_trips` is the most to Redis that a batch may take."""

    name: str
    document: dict[str, Json]
    runs: int
    batch: int
    round_trips: int


def settlements(sizes: Sizes) -> Section:
    """Settlements per second of one core: the engine alone, and with boto3 and its calls."""
    section = Section(
        "settlements",
        "Ten chains of function nodes, a signal of each in every batch. CPU is this process's alone; by the wall clock "
        "the stand-in for AWS and Valkey take their time as well. Function calls are counted, the rig's own included.",
    )
    for name, make in (("engine alone", quick_rig), ("with boto3 and ministack", aws_rig)):
        with make() as rig:
            tooks = [took for _ in range(sizes.repeats) for took in _lockstep(rig, documents.chain(sizes.chain))]
            section.count(f"function calls of one settlement, {name}", _function_calls(rig, sizes.chain), "calls")
        section.times(f"settlements per CPU second, {name}", [t.signals / t.cpu_s for t in tooks], "1/s")
        section.times(f"settlements per second, {name}", [t.signals / t.wall_s for t in tooks], "1/s")
        section.times(f"CPU of one settlement, {name}", [1e6 * t.cpu_s / t.signals for t in tooks], "µs")
    return section


def _lockstep(rig: Rig, document: dict[str, Json]) -> list[Took]:
    """Ten runs side by side; the batches between the first two and the last two."""
    ids = rig.start(document, BATCH)
    tooks = rig.drain(BATCH)
    assert {rig.status(run_id) for run_id in ids} == {"COMPLETED"}
    full = [took for took in tooks if took.signals == BATCH]
    return full[2:-1] or full


def _function_calls(rig: Rig, length: int) -> float:
    """Calls of functions, Python's and C's, of one settlement: a cost that no neighbour on the machine changes."""
    made = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    rig.start(documents.chain(length), BATCH)
    rig.step(BATCH)
    rig.step(BATCH)
    settled = 0
    for _ in range(length - 3):
        sys.setprofile(note)
        settled += rig.step(BATCH).signals
        sys.setprofile(None)
    rig.drain(BATCH)
    return made / settled


def calls(sizes: Sizes) -> Section:
    """Round trips, calls and bytes per 1,000 hops: exact, the same on every machine."""
    section = Section("calls", "Counted, not timed: per 1,000 hops, over those between the first and the last.")
    length = max(4, sizes.counted // BATCH)
    kinds = (
        Kind("plain, ten runs a batch", documents.chain(length), BATCH, BATCH, 1),
        Kind("plain, one signal a batch", documents.chain(length), 1, 1, 1),
        Kind("branch reads ctx, ten runs a batch", documents.branches(length), BATCH, BATCH, 2),
        Kind("config reads ctx, ten runs a batch", documents.reading_chain(length), BATCH, BATCH, 2),
        Kind("ten lanes of one run a batch", documents.lanes(BATCH * length, BATCH), 1, BATCH, 2),
    )
    with aws_rig() as rig:
        for kind in kinds:
            ids = _count(section, rig, kind)
        before = rig.meter.counts.copy()
        rig.services.journal.read(ids[0], DEEP, PAGE)
        queries = rig.meter.since(before)["dynamodb calls"]
        section.count(f"a read of {PAGE} commits past event {DEEP:,}: queries", queries, "calls")
    return section


def _count(section: Section, rig: Rig, kind: Kind) -> list[str]:
    """Run this kind of hops to its end, add its rows, and return the runs' ids."""
    ids = rig.start(kind.document, kind.runs)
    while len(rig.pending) < kind.batch or "continue" in rig.pending[0]:
        rig.step(kind.batch)
    found: Counter[str] = Counter()
    hops = 0
    while len(rig.pending) == kind.batch:
        before, done = rig.meter.counts.copy(), rig.step(kind.batch).signals
        if len(rig.pending) == kind.batch:  # the last nodes' hops end the runs: another kind of work
            found += rig.meter.since(before)
            hops += done
    rig.drain(kind.batch)
    marks = {"redis round trips": 1000 * kind.round_trips / kind.batch}
    for key, unit in _COUNTED:
        if found[key]:
            section.count(f"{kind.name}: {key}", 1000 * found[key] / hops, unit, marks.get(key))
    return ids
