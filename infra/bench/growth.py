"""How the cost of a hop grows with the nodes of its run and with the width of a join: it should not."""

from __future__ import annotations

from typing import Any

from chalicelib.engine.rebuild import position
from infra.bench import documents
from infra.bench.results import Section
from infra.bench.rig import Rig, Took, quick_rig
from infra.bench.sizes import Sizes

Json = Any
BATCH = 10


def measure(sizes: Sizes) -> Section:
    """CPU, round trips and bytes of one hop in runs of growing size, and along joins of growing width."""
    section = Section(
        "growth",
        "One run, the engine alone over a real Valkey; every batch is ten signals of that run. CPU of the coordinator, "
        "and of Valkey's scripts as Valkey itself counts it.",
    )
    with quick_rig() as rig:
        rig.start(documents.chain(4), BATCH)
        rig.drain()
        for nodes in sizes.run_nodes:
            _grow(section, rig, f"run of {nodes:,} nodes", documents.lanes(nodes), sizes.repeats if nodes < 5000 else 1)
        for width in sizes.widths:
            _grow(section, rig, f"join of {width:,}", documents.join(width), sizes.repeats if width < 2000 else 1)
    return section


def _grow(section: Section, rig: Rig, name: str, document: dict[str, Json], repeats: int) -> None:
    found: list[Took] = []
    before, scripts = rig.meter.counts.copy(), _script_us(rig)
    for _ in range(repeats):
        (run_id,) = rig.start(document)
        found += rig.drain(BATCH)
        assert rig.status(run_id) == "COMPLETED"
        state = rig.services.store.snapshot(run_id, ("meta",))
        assert state is not None
        rig.services.store.retire(run_id, position(state["meta"]))
    hops = repeats * len(document["nodes"])
    since = rig.meter.since(before)
    section.times(f"{name}: CPU of a hop", _per_hop(found), "µs")
    section.count(f"{name}: Valkey's time of a hop", (_script_us(rig) - scripts) / hops, "µs")
    section.count(f"{name}: Redis round trips of 1,000 hops", 1000 * since["redis round trips"] / hops, "round trips")
    section.count(f"{name}: Redis bytes of a hop", since["redis bytes"] / hops, "bytes")


def _per_hop(found: list[Took]) -> list[float]:
    full = [took for took in found if took.signals == BATCH] or found
    return [1e6 * took.cpu_s / took.signals for took in full]


def _script_us(rig: Rig) -> float:
    """Microseconds that Valkey has spent in scripts so far."""
    stats: dict[str, Json] = rig.redis.info("commandstats")
    return float(sum(stats.get(f"cmdstat_{name}", {}).get("usec", 0) for name in ("evalsha", "eval")))
