"""Draws the runs of one world: documents, inputs, and how their workers answer."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.errors import InvalidDocument
from chalicelib.domain.limits import Limits
from tests.simulation.generate import behaviour, run_input, workflow
from tests.simulation.reference_calls import DEPTH, Path
from tests.simulation.reference_graph import Graph
from tests.simulation.reference_state import Behave, work_of

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
    #: How it came about, and how many levels of child runs may be below it.
    path: Path
    left: int = DEPTH


def draw(rng: random.Random, seed: int, *, racing: bool, mixed: bool = False) -> list[SimulatedRun]:
    """One to three runs, `mixed` of all node types; in `racing` ones the end depends on the order of settlements."""
    runs = []
    count = rng.choice([1, 1, 1, 2, 3])
    for number in range(count):
        size = rng.choice([5, 10, 15] if count > 1 else [8, 15, 25])
        document = workflow(rng, size=size, confluent=not racing, mixed=mixed)
        if racing:
            _share(rng, document)
            document = _cleaned_up(document)
        run_id = f"run-{seed}-{number}"
        runs.append(SimulatedRun(run_id, document, run_input(rng, document), behaviour(rng, document), (run_id,)))
    return runs


def _cleaned_up(document: dict[str, Json]) -> dict[str, Json]:
    """Let some nodes that fail be cleaned up after, by nodes whose ways meet those of others: of what the failure
    cancels, and of what was done before it (HAZARDS 23)."""
    rng = random.Random(json.dumps(document))
    if document.get("on_failure") == "finish_branches" or rng.random() < 0.4:
        return document
    for number in range(rng.choice([1, 1, 2, 3])):
        made = copy.deepcopy(document)
        _clean_up(rng, made, f"tidy{number}")
        with contextlib.suppress(InvalidDocument):
            compile_workflow(made, limits=Limits())
            document = made
    return document


def _clean_up(rng: random.Random, document: dict[str, Json], name: str) -> None:
    """A function fails often that has much beside it; `name` cleans up after it and leads to nodes not before it."""
    graph = Graph(document)
    outside = [node for node in document["nodes"] if not graph.loops[node["id"]]]
    able = [node for node in outside if node["type"] == "function"] or outside
    failing = max(rng.sample(able, min(len(able), 4)), key=lambda node: len(graph.beside(node["id"])))
    failing["metadata"] = {"sim": {"undo": 0.0, **failing.get("metadata", {}).get("sim", {}), "fail": 0.8}}
    before = graph.before(failing["id"])
    later = [node["id"] for node in outside if node["id"] not in before and graph.into[node["id"]]]
    document["nodes"].append({"id": name, "type": "function", "config": {"handler": "echo", "params": {"v": name}}})
    document["edges"].append({"from": failing["id"], "to": name, "on": "always"})
    for target in rng.sample(later, min(len(later), rng.choice([0, 1, 1, 2]))):
        when = {"condition": "output.n > 1"} if rng.random() < 0.3 else {}
        document["edges"].append({"from": name, "to": target, **when})


def _share(rng: random.Random, document: dict[str, Json]) -> None:
    """Let tasks read what other paths are changing, and decisions not.

    What a task reads is fixed by the commit that creates it; a decision may have read a moment before its commit, and
    then no order of settlements says what is right.
    """
    document["vars"]["shared"] = 0
    for node in document["nodes"]:
        if set(node.get("set", {})) & {"v0", "v1"}:
            node["set"] = {"shared": next(iter(node["set"].values()))}
    loops = Graph(document).loops
    once = [name for name in loops if not loops[name]]
    for node in document["nodes"]:
        work = work_of(node)
        if work["type"] == "function" and once and rng.random() < 0.6:
            _read(work["config"], rng.choice(once), document)


def _read(config: dict[str, Json], name: str, document: dict[str, Json]) -> None:
    """Adds the reads to a task's params, if its node may read that other one."""
    before = config["params"]
    config["params"] = {"was": before, "done": f"${{ctx[\"{name}\"].status == 'COMPLETED'}}", "v": "${vars.shared}"}
    try:
        compile_workflow(document, limits=Limits())
    except InvalidDocument:
        config["params"] = {"was": before, "v": "${vars.shared}"}
