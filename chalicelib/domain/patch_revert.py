"""Works out the operations that take a patch back: the present graph without its effect, by id (HAZARDS 30)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chalicelib.domain.errors import Conflict, Problem
from chalicelib.domain.json_form import canonical
from chalicelib.domain.problem_list import pointer

Json = Any
_ABSENT: Json = object()
_PARTS = ("nodes", "edges")


def revert_operations(
    before: dict[str, Json], after: dict[str, Json], now: dict[str, Json], number: int
) -> list[dict[str, Json]]:
    """Operations on `now` that undo what led from `before` to `after`, patch `number`.

    Raises Conflict naming every part that a later patch has changed as well.
    """
    problems: list[Problem] = []
    operations: list[dict[str, Json]] = []
    for path, one, other, present in _differences(before, after, now):
        if _same(present, one):
            continue
        if not _same(present, other):
            text = f"{path} was changed again after patch {number}; take the later patch back first, or change it anew."
            problems.append(Problem("changed_since", path, text))
            continue
        operations += _undo(path, one, other)
    problems += _left_hanging(before, after, now, number)
    if problems:
        raise Conflict(f"Patch {number} cannot be taken back: a later patch rests on it.", tuple(problems))
    return sorted(operations, key=_order)


def _differences(before: Json, after: Json, now: Json) -> Iterator[tuple[str, Json, Json, Json]]:
    """(pointer, value before, value after, value now) of every part that the patch changed."""
    for part in _PARTS:
        old, new, present = (_by_name(document, part) for document in (before, after, now))
        for name in dict.fromkeys((*old, *new)):
            one, other = old.get(name, _ABSENT), new.get(name, _ABSENT)
            if not _same(one, other):
                yield pointer(part, name), one, other, present.get(name, _ABSENT)
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if name not in _PARTS and not _same(one, other):
            yield pointer(name), one, other, now.get(name, _ABSENT)


def _by_name(document: dict[str, Json], part: str) -> dict[str, Json]:
    items = document.get(part) or []
    if part == "nodes":
        return {node["id"]: node for node in items}
    return {_edge_name(edge): edge for edge in items}


def _edge_name(edge: dict[str, Json]) -> str:
    return f"{edge['from']}:{edge['to']}:{edge.get('on') or 'success'}"


def _undo(path: str, one: Json, other: Json) -> list[dict[str, Json]]:
    """From `other` back to `one` at this path."""
    if other is _ABSENT:
        head = path.split("/")[1]
        return [{"op": "add", "path": f"/{head}/-" if head in _PARTS else path, "value": one}]
    if one is _ABSENT:
        return [{"op": "remove", "path": path}]
    return [{"op": "replace", "path": path, "value": one}]


def _order(operation: dict[str, Json]) -> int:
    """Edges go before their nodes do, and come back after them."""
    edge = operation["path"].startswith("/edges/")
    return {"remove": 0 if edge else 1, "replace": 2, "add": 4 if edge else 3}[operation["op"]]


def _left_hanging(before: Json, after: Json, now: Json, number: int) -> Iterator[Problem]:
    """Edges that later patches led to or from nodes which this patch added."""
    added = _by_name(after, "nodes").keys() - _by_name(before, "nodes").keys()
    known = _by_name(after, "edges")
    for name, edge in _by_name(now, "edges").items():
        ends = added & {edge["from"], edge["to"]}
        if ends and name not in known:
            text = f'The edge {name} came after patch {number} and rests on its node "{min(ends)}"; remove it first.'
            yield Problem("changed_since", pointer("edges", name), text)


def _same(one: Json, other: Json) -> bool:
    if one is _ABSENT or other is _ABSENT:
        return one is other
    return canonical(one) == canonical(other)
