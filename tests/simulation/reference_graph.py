"""Turns a workflow document into the plain graph that the reference interpreter walks.

The document is taken to be valid; nothing is checked here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: The loops around an execution, from the outside in: ((loop node, iteration), …).
Scope = tuple[tuple[str, int], ...]

_ALIASES = {"hitl": "human", "conditional": "branch", "parallel": "pass"}


@dataclass(eq=False)
class Edge:
    """One edge. `roles` says which block governs it; a plain edge has none."""

    source: str
    target: str
    on: str
    condition: Any = None
    roles: set[str] = field(default_factory=set)
    #: A veto stands beside a failure edge that leaves a loop: where that edge is taken, the loop node is skipped.
    veto: bool = False
    beside: list[Edge] = field(default_factory=list)
    shared: int | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies it."""
        return (self.source, self.target, self.on)


def in_common(a: tuple[Any, ...], b: tuple[Any, ...]) -> int:
    """How many leading items are the same."""
    at = 0
    while at < min(len(a), len(b)) and a[at] == b[at]:
        at += 1
    return at


class Graph:
    """Nodes by id, their edges, and which loops are around each node."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        for node in document["nodes"]:
            self.nodes[node["id"]] = {**node, "type": _ALIASES.get(node["type"], node["type"])}
        self.edges: dict[tuple[str, str, str], Edge] = {}
        for spec in document.get("edges", []):
            self._edge(spec["from"], spec["to"], spec.get("on", "success"), spec.get("condition"))
        for source, target, role in self._block_edges():
            self._edge(source, target, "success", None).roles.add(role)
        self.out: dict[str, list[Edge]] = {name: [] for name in self.nodes}
        self.into: dict[str, list[Edge]] = {name: [] for name in self.nodes}
        for edge in self.edges.values():
            self.out[edge.source].append(edge)
            self.into[edge.target].append(edge)
        self.entries = [name for name in self.nodes if not self.into[name]]
        #: Where a completed node has no way on.
        self.terminals = [name for name in self.nodes if all(edge.on == "failure" for edge in self.out[name])]
        self.loops = self._loops()
        self.vetoes: dict[str, list[Edge]] = {name: [] for name in self.nodes}
        for edge in self.edges.values():
            self._add_vetoes(edge)

    def _edge(self, source: str, target: str, on: str, condition: Any) -> Edge:
        return self.edges.setdefault((source, target, on), Edge(source, target, on, condition))

    def _block_edges(self) -> Any:
        """(source, target, role) for each target that a branch or loop block names."""
        for name, node in self.nodes.items():
            branch, loop = node.get("branch", {}), node.get("loop", {})
            for at, rule in enumerate(branch.get("rules", [])):
                yield from ((name, target, f"rule {at}") for target in rule["next_nodes"])
            yield from ((name, target, "default") for target in branch.get("default", []))
            yield from ((name, target, "chosen") for target in branch.get("available_next_nodes", []))
            yield from ((name, target, "break") for target in loop.get("break_path", []))
            yield from ((name, target, "timeout") for target in loop.get("timeout_path", []))

    def _loops(self) -> dict[str, tuple[str, ...]]:
        """For each node the loops whose body holds it, the largest body first."""
        bodies = {}
        for name, node in self.nodes.items():
            if "loop" in node:
                bodies[name] = self._reach(node["loop"]["loop_back_to"], self.out) & self._reach(name, self.into)
        by_size = sorted(bodies, key=lambda name: -len(bodies[name]))
        return {name: tuple(loop for loop in by_size if name in bodies[loop]) for name in self.nodes}

    def _reach(self, start: str, links: dict[str, list[Edge]]) -> set[str]:
        """A node and all that is forward (`links` is `out`) or backward (`into`) of it."""
        seen, todo = {start}, [start]
        while todo:
            fresh = {end for edge in links[todo.pop()] for end in (edge.source, edge.target)} - seen
            seen |= fresh
            todo += fresh
        return seen

    def before(self, name: str) -> set[str]:
        """The node, and all that leads to it."""
        return self._reach(name, self.into)

    def beside(self, name: str) -> set[str]:
        """The nodes that may be at work together with this one."""
        return set(self.nodes) - self.before(name) - self._reach(name, self.out)

    def _add_vetoes(self, edge: Edge) -> None:
        for loop in self.left_by(edge):
            if loop != edge.source and edge.on == "failure":
                veto = Edge(edge.source, loop, f"failure to {edge.target}", veto=True)
                self.vetoes[loop].append(veto)
                edge.beside.append(veto)

    def shared(self, edge: Edge) -> int:
        """How many loops both ends of an edge are in."""
        if edge.shared is None:
            edge.shared = self.loops_in_common(edge.source, edge.target)
        return edge.shared

    def loops_in_common(self, a: str, b: str) -> int:
        """How many loops, from the outside in, are around both nodes."""
        return in_common(self.loops[a], self.loops[b])

    def left_by(self, edge: Edge) -> tuple[str, ...]:
        """The loops that an edge leaves, the outermost first."""
        return self.loops[edge.source][self.shared(edge) :]

    def target_scope(self, edge: Edge, scope: Scope) -> Scope:
        """Where an edge arrives when its source ran in `scope`."""
        return self.first_scope(edge.target, scope[: self.shared(edge)])

    def first_scope(self, name: str, outer: Scope) -> Scope:
        """`outer`, and the first iteration of each loop around the node that is not in it yet."""
        return outer + tuple((loop, 1) for loop in self.loops[name][len(outer) :])

    def losers(self, join: str) -> list[str]:
        """Nodes whose every longest way forward enters this join."""
        found: set[str] = set()
        while True:
            more = {n for n in self.nodes if self.out[n] and n not in found and self._only_into(n, found | {join})}
            more.discard(join)
            if not more:
                return [name for name in self.nodes if name in found]
            found |= more

    def _only_into(self, name: str, targets: set[str]) -> bool:
        return all(edge.target in targets for edge in self.out[name])
