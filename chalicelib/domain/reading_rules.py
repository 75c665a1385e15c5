"""Rules on which nodes an expression may read: known ones, that can have run before (SPEC 4, HAZARDS 31)."""

from __future__ import annotations

from chalicelib.domain.expressions import Reading
from chalicelib.domain.graph import Graph
from chalicelib.domain.loop_bodies import Bodies
from chalicelib.domain.problem_list import ProblemList, shorten
from chalicelib.domain.reachability import Reachability


def check_readings(
    graph: Graph, readings: list[Reading], bodies: Bodies | None, problems: ProblemList, warnings: ProblemList
) -> None:
    """Add `unknown_node` and `reads_later_node` problems, and `may_be_pending` warnings.

    Without `bodies` (the graph has a cycle or broken loops) only unknown nodes are found.
    """
    order = Reachability(graph) if bodies is not None else None
    for reading in readings:
        for name in reading.nodes:
            if name not in graph.at:
                text = f'There is no node "{shorten(name)}" for ctx to read; add it, or name another.'
                problems.add("unknown_node", reading.path, text)
            elif order is not None and bodies is not None and reading.reader is not None:
                _check_order(graph, reading, graph.at[name], order, bodies, problems, warnings)


def _check_order(
    graph: Graph,
    reading: Reading,
    node: int,
    order: Reachability,
    bodies: Bodies,
    problems: ProblemList,
    warnings: ProblemList,
) -> None:
    reader, name = reading.reader, shorten(graph.ids[node])
    if reader is None or (node == reader and reading.completed):
        return
    if (node == reader or order.leads_to(reader, node)) and not bodies.share_loop(reader, node):
        text = f'"{name}" can never have run when this is evaluated; read a node that comes before.'
        problems.add("reads_later_node", reading.path, text)
    elif node == reader or not order.always_before(node, reader):
        text = (
            f'"{name}" is not on every path to "{shorten(graph.ids[reader])}", so it may not have run; '
            f'test ctx["{name}"].status, or read it with get(…) and a default.'
        )
        warnings.add("may_be_pending", reading.path, text)
