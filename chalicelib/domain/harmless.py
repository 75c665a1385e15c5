"""Failures that cannot matter any more: every way forward ends in a join that has already fired (HAZARDS 20)."""

from __future__ import annotations

from collections.abc import Collection

from chalicelib.domain.ir import Plan

#: Joins looked at for one failure; past that a failure counts as one that matters.
MAX_JOINS = 64


def joins_ahead(plan: Plan, node_id: str) -> tuple[str, ...]:
    """`any` and `count` joins reachable from the node, or () where there are none, or too many to look at."""
    seen, stack, found = {node_id}, [node_id], []
    while stack:
        for key in plan.nodes[stack.pop()].out_edges:
            target = plan.nodes[plan.edges[key].target]
            if target.id in seen:
                continue
            seen.add(target.id)
            stack.append(target.id)
            if target.join.need:
                found.append(target.id)
    return tuple(found) if len(found) <= MAX_JOINS else ()


def is_harmless(plan: Plan, node_id: str, fired: Collection[str]) -> bool:
    """True if all paths from the node, back-edges aside, enter a join in `fired`."""
    if not fired:
        return False
    seen, stack = {node_id}, [node_id]
    while stack:
        edges = plan.nodes[stack.pop()].out_edges
        if not edges:
            return False
        for key in edges:
            target = plan.edges[key].target
            if target not in fired and target not in seen:
                seen.add(target)
                stack.append(target)
    return True
