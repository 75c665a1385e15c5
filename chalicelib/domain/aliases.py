"""Replaces the accepted aliases of a workflow document by the names of the contract."""

from __future__ import annotations

from typing import Any

Json = Any

#: Older names of node types.
TYPE_ALIASES = {"hitl": "human", "conditional": "branch", "parallel": "pass"}


def normalise(document: Json) -> None:
    """Replace aliases in place. Anything malformed is left for the schema to name."""
    nodes = document.get("nodes") if isinstance(document, dict) else None
    for node in nodes if isinstance(nodes, list) else ():
        if not isinstance(node, dict):
            continue
        kind = node.get("type")
        if isinstance(kind, str) and kind in TYPE_ALIASES:
            node["type"] = TYPE_ALIASES[kind]
        if isinstance(node.get("branch"), dict):
            _normalise_branch(node["branch"])


def _normalise_branch(branch: dict[str, Json]) -> None:
    if branch.get("type") == "conditional":
        del branch["type"]
    if branch.get("mode") == "agent_driven" and "type" not in branch:
        branch["type"] = branch.pop("mode")
