"""Compiles a workflow document into a plan, or into every problem it has."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from chalicelib.domain import conditions
from chalicelib.domain import limits as limits_module
from chalicelib.domain.aliases import normalise
from chalicelib.domain.block_rules import check_blocks, check_head, check_parts
from chalicelib.domain.errors import InvalidDocument, Problem
from chalicelib.domain.expressions import ExpressionCompiler
from chalicelib.domain.graph import Graph, read_graph
from chalicelib.domain.graph_rules import check_graph
from chalicelib.domain.ir import Plan
from chalicelib.domain.json_form import canonical, copy_json, fits
from chalicelib.domain.limits import Limits
from chalicelib.domain.loop_bodies import Bodies, find_bodies
from chalicelib.domain.losers import find_losers
from chalicelib.domain.node_bodies import bodies_of, handlers_of
from chalicelib.domain.plan_builder import PlanBuilder
from chalicelib.domain.problem_list import ProblemList, pointer, shorten
from chalicelib.domain.reading_rules import check_readings
from chalicelib.domain.schema import DEFAULT_MAX_ITERATIONS
from chalicelib.domain.shape_rules import check_shape

Json = Any
#: Whether a name is a registered function or a Lambda function on the allowlist; or a queue on the allowlist.
Known = Callable[[str], bool]

#: Part of every plan's hash: raised when the same document compiles to another plan than before.
COMPILER_VERSION = 2


def compile_workflow(
    document: Json, *, limits: Limits, handlers: Known | None = None, queues: Known | None = None
) -> Plan:
    """The plan of `document`. Raises InvalidDocument with every problem found (at most 200, then one that counts)."""
    plan, problems, _ = check(document, limits=limits, handlers=handlers, queues=queues)
    if plan is None:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InvalidDocument(f"The workflow does not compile: {count}.", tuple(problems))
    return plan


def check(
    document: Json, *, limits: Limits, handlers: Known | None = None, queues: Known | None = None
) -> tuple[Plan | None, list[Problem], list[Problem]]:
    """(plan or None, problems, warnings) of `document`, which is left as it is. Unknown handlers are problems where
    `handlers` is given, and unknown queues where `queues` is."""
    problems, warnings = ProblemList(), ProblemList()
    copy = copy_json(document, limits.document_bytes, problems)
    plan = None
    if not problems:
        plan = _compile(copy, limits, {"function": handlers, "queue": queues}, problems, warnings)
    return plan, problems.listed(), warnings.listed("too_many_warnings")


def _compile(
    document: Json, limits: Limits, known: dict[str, Known | None], problems: ProblemList, warnings: ProblemList
) -> Plan | None:
    normalise(document)
    if not isinstance(document, dict):
        problems.add("wrong_type", "", "A workflow is a JSON object with nodes and edges; send one.")
        return None
    deployed, limits = limits, limits_module.lower(limits, document, problems)
    if limits.document_bytes < deployed.document_bytes:
        fits(canonical(document), limits.document_bytes, problems)
    if not _within(document, limits, problems):
        return None
    check_shape(document, problems)
    check_head(document, problems)
    graph = read_graph(document, problems)
    for node, raw in enumerate(graph.raws):
        check_blocks(raw, graph.where[node], limits, problems)
        check_parts(raw, graph.where[node], problems, warnings)
        _check_names(graph, node, known, problems)
    _check_edge_count(graph, limits, problems)
    check_graph(graph, problems, warnings)
    bodies = _bodies(graph, problems)
    found = ExpressionCompiler(graph, problems).compile_all(document)
    check_readings(graph, found.readings, bodies, problems, warnings)
    losers = find_losers(graph, problems)
    if problems or bodies is None:
        return None
    noted = tuple(warning.as_json() for warning in warnings.listed("too_many_warnings"))
    iterations = min(DEFAULT_MAX_ITERATIONS, limits.loop_iterations)
    return PlanBuilder(graph, bodies, found, losers, iterations).build(document, _digest(document), noted)


def _within(document: dict[str, Json], limits: Limits, problems: ProblemList) -> bool:
    """Whether the lists are short enough to look into."""
    fits = True
    for key, most in (("nodes", limits.nodes), ("edges", limits.edges)):
        items = document.get(key)
        if isinstance(items, list) and len(items) > most:
            text = f"There are {len(items)} {key}, at most {most} are allowed; split the workflow."
            problems.add("limit_exceeded", pointer(key), text)
            fits = False
    return fits


def _check_edge_count(graph: Graph, limits: Limits, problems: ProblemList) -> None:
    if len(graph.links) > limits.edges:
        text = (
            f"With those of branch and loop blocks there are {len(graph.links)} edges, over {limits.edges}; use less."
        )
        problems.add("limit_exceeded", "/nodes", text)


def _check_names(graph: Graph, node: int, known: dict[str, Known | None], problems: ProblemList) -> None:
    """The handlers and queues that a node and its bodies name are known."""
    raw = graph.raws[node]
    for part, path in ((raw, ()), *((body.part, body.path) for body in bodies_of(raw))):
        for name, at in handlers_of(part):
            is_known = known.get("function")
            if is_known is not None and name and "${" not in name and not is_known(name):
                text = f'There is no function "{shorten(name)}"; register it, or put its Lambda on the allowlist.'
                problems.add("unknown_handler", graph.path(node, *path, "config", *at), text)
        if _unknown(part, "queue", "queue", known):
            text = f'The deployment allows no queue "{_named(part, "queue")}"; put it on GRAFT_QUEUE_ALLOWLIST.'
            problems.add("unknown_queue", graph.path(node, *path, "config", "queue"), text)


def _unknown(part: dict[str, Json], kind: str, key: str, known: dict[str, Known | None]) -> bool:
    """Whether a part of this type names something that is not known. What is no name is left to the schema."""
    is_known, config = known.get(kind), part.get("config")
    if is_known is None or part.get("type") != kind or not isinstance(config, dict):
        return False
    name = config.get(key)
    return isinstance(name, str) and bool(name) and "${" not in name and not is_known(name)


def _named(part: dict[str, Json], key: str) -> str:
    return shorten(part["config"][key])


def _bodies(graph: Graph, problems: ProblemList) -> Bodies | None:
    """The loop bodies, or None where a cycle or a broken loop leaves order undecided."""
    if len(graph.order) < len(graph.ids):
        return None
    before = len(problems)
    bodies = find_bodies(graph, problems)
    return bodies if len(problems) == before else None


def _digest(document: dict[str, Json]) -> str:
    parts = {"document": document, "evaluator": conditions.evaluator(), "compiler": COMPILER_VERSION}
    return hashlib.sha256(canonical(parts).encode()).hexdigest()
