"""What runs before what in an acyclic graph, as one integer of bits per node.

Bit n of a set stands for node n. Ten thousand nodes make sets of 1,250 bytes, so that whole-graph questions cost one
pass of a few machine instructions per edge.
"""

from __future__ import annotations

from functools import reduce
from operator import and_, or_

from chalicelib.domain.graph import Graph


class Reachability:
    """Answers about order; each table is made when it is first asked for."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._place = {node: place for place, node in enumerate(graph.order)}
        self._after: list[int] | None = None
        self._before: list[int] | None = None

    def leads_to(self, source: int, target: int) -> bool:
        """Whether some path of edges leads from `source` to `target`, another node."""
        if self._place[target] <= self._place[source]:
            return False
        if self._after is None:
            self._after = _descendants(self._graph)
        return bool(self._after[source] >> target & 1)

    def always_before(self, node: int, reader: int) -> bool:
        """Whether `node` has run whenever `reader` starts, failures of other nodes aside."""
        if self._place[node] >= self._place[reader]:
            return False
        if any(link.source == node for link in self._graph.ins[reader]) and len(self._graph.ins[reader]) == 1:
            return True
        if self._before is None:
            self._before = _surely_run(self._graph)
        return bool(self._before[reader] >> node & 1)


def _descendants(graph: Graph) -> list[int]:
    after = [0] * len(graph.ids)
    for node in reversed(graph.order):
        after[node] = reduce(or_, (after[link.target] | 1 << link.target for link in graph.outs[node]), 0)
    return after


def _surely_run(graph: Graph) -> list[int]:
    """Per node those that have run when it starts: on every path to it (dominators), or started together with one
    that is and awaited by an `all` join on the way, as the arms of a plain fan-out are."""
    promised = _promises(graph)
    surely, settled, due = ([0] * len(graph.ids) for _ in range(3))
    for node in graph.order:
        sources = [link.source for link in graph.ins[node]]
        if not sources:
            continue
        on_all = reduce(and_, (surely[source] | 1 << source for source in sources))
        waits = or_ if _waits_for_all(graph, node) else and_
        settled[node] = reduce(waits, (settled[source] | 1 << source for source in sources))
        due[node] = reduce(and_, (due[source] | promised[source] for source in sources))
        surely[node] = on_all | (settled[node] & due[node])
    return surely


def _promises(graph: Graph) -> list[int]:
    """Per node those that start, at once or later, because it completed: over edges that are always taken."""
    promised = [0] * len(graph.ids)
    for node in reversed(graph.order):
        raw = graph.raws[node]
        if raw.get("loop") is not None or any(link.on != "success" for link in graph.outs[node]):
            continue
        for link in graph.outs[node]:
            join = raw_join(graph, link.target)
            if link.kind == "plain" and link.condition is None and join != "count":
                promised[node] |= promised[link.target] | 1 << link.target
    return promised


def _waits_for_all(graph: Graph, node: int) -> bool:
    return len(graph.ins[node]) == 1 or raw_join(graph, node) == "all"


def raw_join(graph: Graph, node: int) -> str:
    """The kind of a node's join: `all`, `any` or `count`."""
    join = graph.raws[node].get("join")
    if isinstance(join, dict):
        return "count" if join.get("count") is not None else "any"
    return "any" if join == "any" else "all"
