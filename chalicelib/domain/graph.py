"""The graph of a workflow document, read as far as it makes sense, with adjacency and order.

It is read leniently: what the schema refuses is left out here, so that every rule can still report what it sees.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from chalicelib.domain.ir import EdgeKind, On
from chalicelib.domain.problem_list import ProblemList, pointer, shorten

Json = Any


@dataclass(slots=True)
class Link:
    """One edge. `path` is where it stands in the document; `condition` is raw, or None."""

    key: str
    source: int
    target: int
    on: On
    kind: EdgeKind
    path: str
    condition: Json = None


@dataclass(slots=True)
class Graph:
    """Nodes by position (document order, duplicates left out) and the links between them."""

    ids: list[str] = field(default_factory=list)
    raws: list[dict[str, Json]] = field(default_factory=list)
    #: Index of each node in the document's `nodes`.
    where: list[int] = field(default_factory=list)
    at: dict[str, int] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    ins: list[list[Link]] = field(default_factory=list)
    outs: list[list[Link]] = field(default_factory=list)
    #: Loop node -> node it goes back to.
    back: dict[int, int] = field(default_factory=dict)
    #: Positions so that every link leads forward; shorter than `ids` if there is a cycle.
    order: list[int] = field(default_factory=list)

    def path(self, node: int, *rest: str | int) -> str:
        """The JSON Pointer of a node, or of something in it."""
        return pointer("nodes", self.where[node], *rest)


def read_graph(document: dict[str, Json], problems: ProblemList) -> Graph:
    """The graph of a document. Adds problems for duplicate ids and edges, dangling and self edges."""
    graph = Graph()
    _read_nodes(document, graph, problems)
    edges = document.get("edges")
    for index, edge in enumerate(edges if isinstance(edges, list) else ()):
        if isinstance(edge, dict):
            _read_edge(edge, index, graph, problems)
    for node in range(len(graph.ids)):
        for kind, target, path in _block_targets(graph, node):
            _read_block_edge(graph, node, kind, target, path, problems)
        _read_back_edge(graph, node, problems)
    for link in graph.links.values():
        graph.outs[link.source].append(link)
        graph.ins[link.target].append(link)
    graph.order = _sort(graph)
    return graph


def _read_nodes(document: dict[str, Json], graph: Graph, problems: ProblemList) -> None:
    nodes = document.get("nodes")
    for index, raw in enumerate(nodes if isinstance(nodes, list) else ()):
        name = raw.get("id") if isinstance(raw, dict) else None
        if not isinstance(name, str):
            continue
        if name in graph.at:
            text = f'Another node has the id "{shorten(name)}" (node {graph.where[graph.at[name]]}); rename this one.'
            problems.add("duplicate_id", pointer("nodes", index, "id"), text)
            continue
        graph.at[name] = len(graph.ids)
        graph.ids.append(name)
        graph.raws.append(raw)
        graph.where.append(index)
    graph.ins = [[] for _ in graph.ids]
    graph.outs = [[] for _ in graph.ids]


def _read_edge(edge: dict[str, Json], index: int, graph: Graph, problems: ProblemList) -> None:
    source, target, on = edge.get("from"), edge.get("to"), edge.get("on") or "success"
    known = True
    for side, name in (("from", source), ("to", target)):
        if isinstance(name, str) and name not in graph.at:
            text = f'There is no node "{shorten(name)}"; add it, or name another.'
            problems.add("unknown_target", pointer("edges", index, side), text)
        known = known and isinstance(name, str) and name in graph.at
    if not known or on not in ("success", "failure", "always"):
        return
    key, path = f"{source}:{target}:{on}", f"/edges/{index}"
    if source == target:
        text = f'The edge leads from "{source}" to itself; to repeat a node give it a loop block.'
        problems.add("self_edge", path, text)
    elif key in graph.links:
        text = f'There is an edge {key} already; remove this one, or join their conditions with "||".'
        problems.add("duplicate_edge", path, text)
    else:
        places = graph.at[cast(str, source)], graph.at[cast(str, target)]
        graph.links[key] = Link(key, *places, cast(On, on), "plain", path, edge.get("condition"))


def _block_targets(graph: Graph, node: int) -> Iterator[tuple[EdgeKind, Json, str]]:
    """Every id that the node's branch and loop blocks name as an edge: (kind, id, JSON Pointer)."""
    branch, loop = graph.raws[node].get("branch"), graph.raws[node].get("loop")
    lists: list[tuple[EdgeKind, Json, tuple[str | int, ...]]] = []
    if isinstance(branch, dict):
        rules = branch.get("rules")
        for number, rule in enumerate(rules if isinstance(rules, list) else ()):
            if isinstance(rule, dict):
                lists.append(("branch", rule.get("next_nodes"), ("branch", "rules", number, "next_nodes")))
        lists.append(("branch", branch.get("default"), ("branch", "default")))
        lists.append(("branch", branch.get("available_next_nodes"), ("branch", "available_next_nodes")))
    if isinstance(loop, dict):
        lists.append(("break", loop.get("break_path"), ("loop", "break_path")))
        lists.append(("timeout", loop.get("timeout_path"), ("loop", "timeout_path")))
    for kind, names, steps in lists:
        for number, name in enumerate(names if isinstance(names, list) else ()):
            yield kind, name, graph.path(node, *steps, number)


def _read_block_edge(graph: Graph, node: int, kind: EdgeKind, name: Json, path: str, problems: ProblemList) -> None:
    if not isinstance(name, str):
        return
    if name not in graph.at:
        problems.add("unknown_target", path, f'There is no node "{shorten(name)}"; add it, or name another.')
        return
    if graph.at[name] == node:
        text = f'"{name}" leads to itself here; to repeat a node use loop_back_to.'
        problems.add("self_edge", path, text)
        return
    key = f"{graph.ids[node]}:{name}:success"
    link = graph.links.setdefault(key, Link(key, node, graph.at[name], "success", kind, path))
    if link.condition is not None:
        text = f"The {kind} block of the source already decides the edge {key}; remove this condition."
        problems.add("condition_on_governed_edge", link.path + "/condition", text)
    if link.kind == "plain":
        link.kind = kind


def _read_back_edge(graph: Graph, node: int, problems: ProblemList) -> None:
    loop = graph.raws[node].get("loop")
    name = loop.get("loop_back_to") if isinstance(loop, dict) else None
    if not isinstance(name, str):
        return
    if name in graph.at:
        graph.back[node] = graph.at[name]
    else:
        text = f'There is no node "{shorten(name)}"; add it, or name another.'
        problems.add("unknown_target", graph.path(node, "loop", "loop_back_to"), text)


def _sort(graph: Graph) -> list[int]:
    """Kahn's order; nodes on a cycle, and those behind one, are missing."""
    waiting = [len(links) for links in graph.ins]
    ready = deque(node for node, count in enumerate(waiting) if not count)
    order: list[int] = []
    while ready:
        node = ready.popleft()
        order.append(node)
        for link in graph.outs[node]:
            waiting[link.target] -= 1
            if not waiting[link.target]:
                ready.append(link.target)
    return order
