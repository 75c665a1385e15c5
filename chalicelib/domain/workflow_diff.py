"""Says what one workflow has that another has not, whatever order their nodes, edges and keys are written in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chalicelib.domain.ir import Plan
from chalicelib.domain.json_form import canonical
from chalicelib.domain.patch_diff import diff_plans, written
from chalicelib.domain.problem_list import pointer

Json = Any
_ABSENT: Json = object()
#: Parts of a document that are compared by id.
_LISTS = ("nodes", "edges")


def workflow_diff(old: Plan, new: Plan) -> dict[str, Json]:
    """What leads from `old` to `new`: `nodes`, `edges` and `document`.

    Nodes are compared by id and edges, those of blocks too, by `from:to:on`. A `changes` list has an entry per field:
    its JSON Pointer as patches take it, and its value before and after, of which one is absent where the field is new
    or gone. `moved` are nodes that other edges lead to.
    """
    diff = diff_plans(old, new)
    edges = diff.view(new, old)
    before, after = written(old.document), written(new.document)
    nodes = [(name, _changes(before[name], after[name], ("nodes", name))) for name in new.nodes if name in before]
    return {
        "nodes": {
            "added": list(diff.added),
            "removed": list(diff.removed),
            "changed": [{"id": name, "changes": changes} for name, changes in nodes if changes],
            "moved": list(_moved(old, new, diff.rewired)),
        },
        "edges": {
            "added": edges["edges_added"],
            "removed": edges["edges_removed"],
            "changed": [{"id": key, "changes": _edge_changes(old, new, key)} for key in edges["edges_changed"]],
        },
        "document": _changes(_head(old.document), _head(new.document), ()),
    }


def _head(document: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in document.items() if key not in _LISTS}


def _moved(old: Plan, new: Plan, rewired: tuple[str, ...]) -> Iterator[dict[str, Json]]:
    for name in rewired:
        before, after = _incoming(old, name), _incoming(new, name)
        if before != after:
            yield {"id": name, "before": before, "after": after}


def _incoming(plan: Plan, name: str) -> list[str]:
    return sorted(key for key in plan.nodes[name].in_edges if plan.edges[key].kind != "veto")


def _edge_changes(old: Plan, new: Plan, key: str) -> list[dict[str, Json]]:
    return _changes(_edge(old, key), _edge(new, key), ("edges", key))


def _edge(plan: Plan, key: str) -> dict[str, Json]:
    """An edge's fields: what decides it, and its own condition."""
    edge = plan.edges[key]
    condition = None if edge.condition is None else edge.condition.spec
    return {"kind": edge.kind, "condition": condition}


def _changes(before: dict[str, Json], after: dict[str, Json], path: tuple[str | int, ...]) -> list[dict[str, Json]]:
    """An entry for each field that differs. A key that is null at the top counts as absent: it means the same."""
    return list(_compare(_given(before), _given(after), path))


def _given(value: dict[str, Json]) -> dict[str, Json]:
    return {key: item for key, item in value.items() if item is not None}


def _compare(before: Json, after: Json, path: tuple[str | int, ...]) -> Iterator[dict[str, Json]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _compare(before.get(key, _ABSENT), after.get(key, _ABSENT), (*path, key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from _compare(*pair, (*path, index))
    elif _text(before) != _text(after):
        sides = {"before": before, "after": after}
        yield {"path": pointer(*path), **{side: value for side, value in sides.items() if value is not _ABSENT}}


def _text(value: Json) -> str:
    return "" if value is _ABSENT else canonical(value)
