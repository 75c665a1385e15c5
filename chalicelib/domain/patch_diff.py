"""Compares two plans by id: which nodes and edges a patch adds, removes and changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chalicelib.domain.ir import Plan

Json = Any


@dataclass(frozen=True, slots=True)
class Diff:
    """Node ids and edge keys, each in the order of its plan. Implied veto edges are among the edges."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    #: Nodes of both plans that are written differently.
    changed: tuple[str, ...]
    #: Nodes of both plans whose incoming edges, join or loops differ.
    rewired: tuple[str, ...]
    edges_added: tuple[str, ...]
    edges_removed: tuple[str, ...]
    #: Edges of both plans with another condition or block.
    edges_changed: tuple[str, ...]

    def view(self, plan: Plan, old: Plan) -> dict[str, list[str]]:
        """What the answer to a patch lists."""
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": list(self.changed),
            "edges_added": [key for key in self.edges_added if plan.edges[key].kind != "veto"],
            "edges_removed": [key for key in self.edges_removed if old.edges[key].kind != "veto"],
            "edges_changed": [key for key in self.edges_changed if plan.edges[key].kind != "veto"],
        }


def written(document: dict[str, Json]) -> dict[str, dict[str, Json]]:
    """The nodes of a document that compiles, by id."""
    return {node["id"]: node for node in document["nodes"]}


def diff_plans(old: Plan, new: Plan) -> Diff:
    """What leads from `old` to `new`."""
    before, after = written(old.document), written(new.document)
    both = [name for name in new.nodes if name in old.nodes]
    return Diff(
        added=tuple(name for name in new.nodes if name not in old.nodes),
        removed=tuple(name for name in old.nodes if name not in new.nodes),
        changed=tuple(name for name in both if before[name] != after[name]),
        rewired=tuple(name for name in both if _rewired(old, new, name)),
        edges_added=tuple(key for key in new.edges if key not in old.edges),
        edges_removed=tuple(key for key in old.edges if key not in new.edges),
        edges_changed=tuple(key for key, edge in new.edges.items() if key in old.edges and old.edges[key] != edge),
    )


def _rewired(old: Plan, new: Plan, name: str) -> bool:
    one, other = old.nodes[name], new.nodes[name]
    if (one.join.need, one.join.cancel_losers, one.loops) != (other.join.need, other.join.cancel_losers, other.loops):
        return True
    return one.in_edges != other.in_edges and set(one.in_edges) != set(other.in_edges)
