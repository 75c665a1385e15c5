"""Bounds what the nodes of a run may add to it by their own patches: how many nodes, and how deep (SPEC 17)."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.domain.errors import Problem
from chalicelib.domain.limits import Limits
from chalicelib.domain.patch_rules import Proposal

#: Meta fields: nodes added by nodes so far; per such node how many authors stand between it and a person.
COUNT, DEPTH = "agent_nodes", "depth:"


def count_agents(
    proposal: Proposal, limits: Limits, meta: Mapping[str, str], author: str | None
) -> tuple[dict[str, str], list[Problem]]:
    """(meta fields to set, problems) of a patch that node `author` asks for; nothing where no node does."""
    added = proposal.diff.added
    if author is None or not added:
        return {}, []
    problems: list[Problem] = []
    count = int(meta.get(COUNT) or 0) + len(added)
    if count > limits.agent_nodes:
        text = f"Nodes of this run would have added {count} nodes to it, at most {limits.agent_nodes} are allowed."
        problems.append(Problem("limit_exceeded", "/operations", text))
    depth = int(meta.get(DEPTH + author) or 0) + 1
    if depth > limits.patch_depth:
        text = (
            f'Node "{author}" was itself added by nodes, {depth - 1} deep; at most {limits.patch_depth} such steps are '
            "allowed. Let a node nearer the beginning add these."
        )
        problems.append(Problem("limit_exceeded", "/operations", text))
    return {COUNT: str(count), **{DEPTH + name: str(depth) for name in added}}, problems
