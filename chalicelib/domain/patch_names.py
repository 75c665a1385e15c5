"""Finds removed nodes that blocks of other nodes still name in a patched document (SPEC 11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.domain.errors import Problem
from chalicelib.domain.patch_operations import Applied
from chalicelib.domain.problem_list import ProblemList, pointer

Json = Any


def still_named(document: dict[str, Json], before: Mapping[str, Json], applied: Applied) -> list[Problem]:
    """Removed nodes that a branch or loop block of another node still names (SPEC 11)."""
    nodes = [node for node in document.get("nodes") or () if isinstance(node, dict)]
    gone = set(before) - {node["id"] for node in nodes if isinstance(node.get("id"), str)}
    found = ProblemList()
    for node in nodes if gone else ():
        for block, name in _named(node):
            if name in gone:
                path = pointer("operations", applied.nodes[name], "path") if name in applied.nodes else "/operations"
                text = f'The {block} block of node "{node.get("id")}" still names "{name}"; change that block as well.'
                found.add("still_named", path, text)
    return found.listed()


def _named(node: dict[str, Json]) -> Iterator[tuple[str, str]]:
    """(block, node id) for every text in the lists of the node's blocks that name nodes."""
    branch, loop = node.get("branch"), node.get("loop")
    lists: list[tuple[str, Json]] = []
    if isinstance(branch, dict):
        rules = branch.get("rules")
        each = rules if isinstance(rules, list) else ()
        lists += [("branch", rule.get("next_nodes")) for rule in each if isinstance(rule, dict)]
        lists += [("branch", branch.get("default")), ("branch", branch.get("available_next_nodes"))]
    if isinstance(loop, dict):
        lists += [("loop", loop.get(part)) for part in ("break_path", "timeout_path")]
        lists.append(("loop", [loop.get("loop_back_to")]))
    for block, names in lists:
        yield from ((block, name) for name in (names if isinstance(names, list) else ()) if isinstance(name, str))
