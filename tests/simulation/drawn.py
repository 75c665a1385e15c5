"""Draws the runs of one world: documents, inputs, and how their workers answer."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.errors import InvalidDocument
from chalicelib.domain.limits import Limits
from tests.simulation.generate import behaviour, run_input, workflow
from tests.simulation.reference_graph import Graph
from tests.simulation.reference_state import Behave

Json = Any
#: Every `timeout_ms`: longer than any world is busy without an idle moment, so that no worker's answer comes too late.
TIMEOUT_MS = 3_600_000


@dataclass(frozen=True)
class SimulatedRun:
    """One run to be done: its document, its input, and how its workers answer."""

    run_id: str
    document: dict[str, Json]
    input: Json
    behave: Behave


def draw(rng: random.Random, seed: int, *, racing: bool, mixed: bool = False) -> list[SimulatedRun]:
    """One to three runs, `mixed` of all node types; in `racing` ones the end depends on the order of settlements."""
    runs = []
    count = rng.choice([1, 1, 1, 2, 3])
    for number in range(count):
        size = rng.choice([5, 10, 15] if count > 1 else [8, 15, 25])
        document = workflow(rng, size=size, confluent=not racing, mixed=mixed)
        if racing:
            _share(rng, document)
        runs.append(SimulatedRun(f"run-{seed}-{number}", document, run_input(rng), behaviour(rng, document)))
    return runs


def _share(rng: random.Random, document: dict[str, Json]) -> None:
    """Let tasks read what other paths are changing, and decisions not.

    What a task reads is fixed by the commit that creates it; a decision may have read a moment before its commit, and
    then no order of settlements says what is right.
    """
    document["vars"]["shared"] = 0
    for node in document["nodes"]:
        if set(node.get("set", {})) & {"v0", "v1"}:
            node["set"] = {"shared": "${output.n}"}
    loops = Graph(document).loops
    once = [name for name in loops if not loops[name]]
    for node in document["nodes"]:
        if node["type"] == "function" and once and rng.random() < 0.6:
            _read(node["config"], rng.choice(once), document)


def _read(config: dict[str, Json], name: str, document: dict[str, Json]) -> None:
    """Adds the reads to a task's params, if its node may read that other one."""
    before = config["params"]
    config["params"] = {"was": before, "done": f"${{ctx[\"{name}\"].status == 'COMPLETED'}}", "v": "${vars.shared}"}
    try:
        compile_workflow(document, limits=Limits())
    except InvalidDocument:
        config["params"] = {"was": before, "v": "${vars.shared}"}
