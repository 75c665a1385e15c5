"""For a join that cancels its losers: the nodes that can only lead to it (HAZARDS 22)."""

from __future__ import annotations

from chalicelib.domain.graph import Graph
from chalicelib.domain.problem_list import ProblemList

#: Losers in one workflow, all joins together: each join stores its own list.
MAX_LOSERS = 100_000


def find_losers(graph: Graph, problems: ProblemList) -> dict[int, tuple[str, ...]]:
    """Per join with `cancel_losers` the ids of nodes whose every maximal path enters it, in document order."""
    losers: dict[int, tuple[str, ...]] = {}
    left = MAX_LOSERS
    for node, raw in enumerate(graph.raws):
        join = raw.get("join")
        if not isinstance(join, dict) or join.get("cancel_losers") is not True:
            continue
        found = _only_leading_to(graph, node)
        left -= len(found)
        if left < 0:
            text = f"The joins that cancel losers name over {MAX_LOSERS} nodes together; use cancel_losers on fewer."
            problems.add("limit_exceeded", graph.path(node, "join", "cancel_losers"), text)
            break
        losers[node] = tuple(graph.ids[loser] for loser in sorted(found))
    return losers


def _only_leading_to(graph: Graph, join: int) -> set[int]:
    """Backwards from the join: a node belongs once all its edges lead into what was found."""
    found: set[int] = set()
    open_edges: dict[int, int] = {}
    stack = [join]
    while stack:
        for link in graph.ins[stack.pop()]:
            source = link.source
            open_edges[source] = open_edges.get(source, len(graph.outs[source])) - 1
            if not open_edges[source]:
                found.add(source)
                stack.append(source)
    return found
