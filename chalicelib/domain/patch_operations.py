"""Applies RFC 6902 operations to a workflow document, with node ids and edge names as path segments (SPEC 11)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.errors import InvalidInput, Problem
from chalicelib.domain.json_form import MAX_DEPTH
from chalicelib.domain.patch_pointer import PointerError, child, descend, index_of, parse_pointer, resolve_ids
from chalicelib.domain.problem_list import pointer

Json = Any
#: Operations of one patch.
MAX_OPERATIONS = 1_000
#: Problems of one answer about the shape of operations.
_MOST_PROBLEMS = 50
_OPS = ("add", "remove", "replace", "move", "copy", "test")


@dataclass(slots=True)
class Applied:
    """The document after a patch, and which operation touched what: for saying where a broken rule comes from."""

    document: dict[str, Json]
    #: Node id -> the last operation that touched it; edge "from:to:on" likewise.
    nodes: dict[str, int] = field(default_factory=dict)
    edges: dict[str, int] = field(default_factory=dict)


def apply_operations(document: dict[str, Json], operations: Json, max_bytes: int) -> Applied:
    """The patched copy of `document`, which is left as it is. Removing a node also removes its entries in `edges`.

    Raises InvalidInput with the operation's pointer: for malformed operations all of them, else the first that fails.
    `max_bytes` bounds the document; copies may come to four times that.
    """
    _check_shape(operations)
    patch = _Patch(document, 4 * max_bytes)
    for number, operation in enumerate(operations):
        patch.apply(number, operation)
    return patch.applied


def _check_shape(operations: Json) -> None:
    if not isinstance(operations, list):
        raise _refused(Problem("wrong_type", "/operations", "Send a list of JSON Patch operations."))
    if len(operations) > MAX_OPERATIONS:
        text = f"There are {len(operations)} operations, at most {MAX_OPERATIONS} are allowed; send several patches."
        raise _refused(Problem("limit_exceeded", "/operations", text))
    problems = [problem for number, item in enumerate(operations) for problem in _shape_problems(number, item)]
    if problems:
        raise _refused(*problems[:_MOST_PROBLEMS])


def _shape_problems(number: int, operation: Json) -> list[Problem]:
    if not isinstance(operation, dict):
        return [Problem("wrong_type", pointer("operations", number), "An operation is an object with op and path.")]
    problems: list[Problem] = []
    op = operation.get("op")
    if op not in _OPS or not isinstance(op, str):
        problems.append(Problem("unknown_op", pointer("operations", number, "op"), f"op is one of {', '.join(_OPS)}."))
    for name in ("path", "from") if op in ("move", "copy") else ("path",):
        if not isinstance(operation.get(name), str):
            text = f"{name} must be a JSON Pointer, such as /nodes/fetch/config/url."
            problems.append(Problem("bad_pointer", pointer("operations", number, name), text))
    if op in ("add", "replace", "test") and "value" not in operation:
        problems.append(Problem("missing", pointer("operations", number, "value"), f"{op} needs a value."))
    return problems


def _refused(*problems: Problem) -> InvalidInput:
    return InvalidInput(f"The patch cannot be applied: {problems[0].message}", problems)


class _Patch:
    """A document being patched, operation by operation."""

    def __init__(self, document: dict[str, Json], budget: int) -> None:
        copy = json.loads(json.dumps(document))
        copy["edges"] = copy.get("edges") or []
        self.applied = Applied(copy)
        self._budget = budget

    def apply(self, number: int, operation: dict[str, Json]) -> None:
        """Apply one operation. Raises InvalidInput."""
        member = "path"
        try:
            if operation["op"] in ("move", "copy"):
                member = "from"
                self._relocate(number, operation)
                return
            path = self._path(operation["path"])
            act: Callable[[int, list[str], Json], None] = getattr(self, f"_{operation['op']}")
            act(number, path, operation.get("value"))
        except PointerError as error:
            at = getattr(error, "member", member)
            raise _refused(Problem(error.code, pointer("operations", number, at), error.message)) from None

    def _path(self, text: str) -> list[str]:
        return resolve_ids(self.applied.document, parse_pointer(text))

    def _relocate(self, number: int, operation: dict[str, Json]) -> None:
        """`move` and `copy`: problems before the value is found belong to `from`, later ones to `path`."""
        source = self._path(operation["from"])
        value = descend(self.applied.document, source)
        try:
            target = self._path(operation["path"])
            if operation["op"] == "move":
                if target[: len(source)] == source and len(target) > len(source):
                    raise PointerError("move_into_itself", "A value cannot be moved into itself.")
                if target == source:
                    return
                self._touch(number, source)
                self._take(source)
                # Ids are resolved on the document without the value; indexes count on it, as RFC 6902 says.
                self._add(number, self._path(operation["path"]), value)
                return
            self._add(number, target, self._copied(value))
        except PointerError as error:
            error.member = "path"  # type: ignore[attr-defined]
            raise

    def _copied(self, value: Json) -> Json:
        text = json.dumps(value)
        self._budget -= len(text)
        if self._budget < 0:
            raise PointerError("limit_exceeded", "The copies of this patch are larger than documents may be.")
        return json.loads(text)

    def _add(self, number: int, path: list[str], value: Json) -> None:
        _check_depth(path, value)
        if not path:
            self._root(value)
            return
        parent = descend(self.applied.document, path[:-1])
        if isinstance(parent, dict):
            parent[path[-1]] = value
        elif isinstance(parent, list):
            place = index_of(path[-1], len(parent), end=True)
            parent.insert(place, value)
            path = [*path[:-1], str(place)]
        else:
            raise PointerError("path_not_found", "Only objects and arrays take new members.")
        self._touch(number, path)

    def _replace(self, number: int, path: list[str], value: Json) -> None:
        _check_depth(path, value)
        if not path:
            self._root(value)
            return
        parent = descend(self.applied.document, path[:-1])
        child(parent, path[-1])
        self._touch(number, path)
        parent[path[-1] if isinstance(parent, dict) else int(path[-1])] = value
        self._touch(number, path)

    def _remove(self, number: int, path: list[str], _: Json) -> None:
        value = descend(self.applied.document, path)
        if not path:
            raise PointerError("path_not_found", "The document itself cannot be removed.")
        self._touch(number, path)
        self._take(path)
        if len(path) == 2 and path[0] == "nodes" and isinstance(value, dict):
            self._drop_edges(number, value.get("id"))

    def _test(self, number: int, path: list[str], value: Json) -> None:
        found = descend(self.applied.document, path)
        if not _equal(found, value):
            raise PointerError("test_failed", "The value here is not the one that the operation tests for.")

    def _root(self, value: Json) -> None:
        if not isinstance(value, dict):
            raise PointerError("wrong_type", "A workflow document is an object.")
        self.applied.document = value
        value["edges"] = value.get("edges") or []

    def _take(self, path: list[str]) -> None:
        parent = descend(self.applied.document, path[:-1])
        del parent[path[-1] if isinstance(parent, dict) else int(path[-1])]

    def _drop_edges(self, number: int, node: Json) -> None:
        edges = self.applied.document.get("edges")
        if not isinstance(edges, list):
            return
        gone = [edge for edge in edges if isinstance(edge, dict) and node in (edge.get("from"), edge.get("to"))]
        self.applied.edges.update({_edge_key(edge): number for edge in gone})
        self.applied.document["edges"] = [edge for edge in edges if not any(edge is other for other in gone)]

    def _touch(self, number: int, path: list[str]) -> None:
        """Remember which node or edge the operation is about."""
        if len(path) < 2 or path[0] not in ("nodes", "edges"):
            return
        item = descend(self.applied.document, path[:2])
        if isinstance(item, dict) and path[0] == "nodes" and isinstance(item.get("id"), str):
            self.applied.nodes[item["id"]] = number
        elif isinstance(item, dict) and path[0] == "edges":
            self.applied.edges[_edge_key(item)] = number


def _edge_key(edge: dict[str, Json]) -> str:
    return f"{edge.get('from')}:{edge.get('to')}:{edge.get('on') or 'success'}"


def _check_depth(path: list[str], value: Json) -> None:
    level, depth = [value], len(path)
    while level:
        if depth > MAX_DEPTH:
            raise PointerError("too_deep", f"Objects and arrays would be nested more than {MAX_DEPTH} deep.")
        level = [item for one in level if isinstance(one, dict | list) for item in _items(one)]
        depth += 1


def _items(value: Json) -> list[Json]:
    return list(value.values()) if isinstance(value, dict) else list(value)


def _equal(one: Json, other: Json) -> bool:
    """Equality of JSON values: numbers by value, booleans only with booleans. Both are of bounded depth."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
