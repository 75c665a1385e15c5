"""Edges that a patch adds out of a node that has settled: evaluated at once against what it settled with (SPEC 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.domain.commit import Draft
from chalicelib.domain.failing import raise_vetoes
from chalicelib.domain.ids import Token
from chalicelib.domain.ir import Condition, Plan
from chalicelib.domain.outcome import holds_or_note

Json = Any
#: What each way of settling takes, of edges without a condition.
_TAKES = {"COMPLETED": ("success", "always"), "FAILED": ("failure", "always")}


def conditions_of(plan: Plan, status: str, keys: Sequence[str]) -> list[Condition]:
    """The conditions that decide these edges; [] where the status alone does."""
    taken = [plan.edges[key] for key in keys if _may_take(plan, status, key)]
    found = [edge.condition for edge in taken if edge.condition is not None]
    loop = plan.nodes[taken[0].source].loop if taken else None
    if loop is not None and status == "COMPLETED":
        found.append(loop.condition)
    return found


def late_edges(
    plan: Plan, token: Token, status: str, keys: Sequence[str], values: Mapping[str, Json], draft: Draft
) -> dict[str, int]:
    """Which of these new edges are taken (1) or not (0). Conditions that fail are noted in `draft`."""
    found = dict.fromkeys(keys, 0)
    node = plan.nodes[token.node]
    # A loop whose condition still held when it ended has left by its timeout path alone.
    open_keys = [key for key in keys if _may_take(plan, status, key)]
    ended = node.loop is not None and status == "COMPLETED" and open_keys
    if ended and node.loop and holds_or_note(node.loop.condition, values, draft, token, "loop"):
        return found
    for key in open_keys:
        condition = plan.edges[key].condition
        if condition is None or holds_or_note(condition, values, draft, token, f"edge {key}"):
            found[key] = 1
    raise_vetoes(plan, found)
    return found


def _may_take(plan: Plan, status: str, key: str) -> bool:
    edge = plan.edges[key]
    if edge.kind != "plain" or edge.on not in _TAKES.get(status, ()):
        return False
    loop = plan.nodes[edge.source].loop
    return loop is None or status != "COMPLETED" or not loop.has_break
