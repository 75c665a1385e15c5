"""Says which operation of a patch has brought about each compile problem of the patched document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from chalicelib.domain.errors import Problem
from chalicelib.domain.patch_operations import Applied, edge_key


def blamed(problems: Iterable[Problem], applied: Applied) -> tuple[Problem, ...]:
    """The problems, each with the operation that last touched its node or edge in the message, where there is one."""
    return tuple(_blamed(problem, applied) for problem in problems)


def _blamed(problem: Problem, applied: Applied) -> Problem:
    number = _operation(problem.path.split("/")[1:], applied)
    if number is None:
        return problem
    return replace(problem, message=f"{problem.message} See /operations/{number}.")


def _operation(segments: list[str], applied: Applied) -> int | None:
    """The operation that last touched what the first two segments name."""
    if len(segments) < 2 or segments[0] not in ("nodes", "edges") or not segments[1].isdigit():
        return None
    items = applied.document.get(segments[0])
    if not isinstance(items, list) or int(segments[1]) >= len(items):
        return None
    item = items[int(segments[1])]
    if not isinstance(item, dict):
        return None
    if segments[0] == "edges":
        return applied.edges.get(edge_key(item))
    return applied.nodes.get(str(item.get("id")))
