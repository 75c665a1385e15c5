"""Applies RFC 6902 operations to a workflow document, with node ids and edge names as path segments (SPEC 11)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.errors import Problem
from chalicelib.domain.patch_pointer import PointerError, child, descend, index_of, parse_pointer, resolve_ids
from chalicelib.domain.patch_shape import check_shape, refused
from chalicelib.domain.patch_values import json_equal, own_copy
from chalicelib.domain.problem_list import pointer

Json = Any


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
    `max_bytes` bounds the document; what is moved and copied may come to four times that.
    """
    check_shape(operations)
    patch = _Patch(document, 4 * max_bytes)
    for number, operation in enumerate(operations):
        patch.apply(number, operation)
    patch.drop_edges()
    applied = patch.applied
    if not applied.document.get("edges", True) and "edges" not in document:
        del applied.document["edges"]
    return applied


class _Patch:
    """A document being patched, operation by operation."""

    def __init__(self, document: dict[str, Json], budget: int) -> None:
        copy = json.loads(json.dumps(document))
        copy["edges"] = copy.get("edges") or []
        self.applied = Applied(copy)
        self._budget = budget
        #: Nodes removed -> by which operation; their edges go as soon as an operation may look at edges.
        self._gone: dict[str, int] = {}

    def apply(self, number: int, operation: dict[str, Json]) -> None:
        """Apply one operation. Raises InvalidInput."""
        member = "path"
        places = [operation["path"], *([operation["from"]] if operation["op"] in ("move", "copy") else [])]
        if not all(place.startswith("/nodes") for place in places):
            self.drop_edges()
        try:
            if operation["op"] in ("move", "copy"):
                member = "from"
                self._relocate(number, operation)
                return
            path = self._path(operation["path"])
            act: Callable[[int, list[str], Json], None] = getattr(self, f"_{operation['op']}")
            act(number, path, operation.get("value"))
        except PointerError as error:
            at = pointer("operations", number, error.member or member)
            raise refused(Problem(error.code, at, error.message)) from None

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
                self._spend(value)
                self._touch(number, source)
                self._take(source)
                # Ids are resolved on the document without the value; indexes count on it, as RFC 6902 says.
                self._add(number, self._path(operation["path"]), value)
                return
            self._spend(value)
            self._add(number, target, value)
        except PointerError as error:
            error.member = "path"
            raise

    def _spend(self, value: Json) -> None:
        self._budget -= len(json.dumps(value))
        if self._budget < 0:
            raise PointerError("limit_exceeded", "The copies of this patch are larger than documents may be.")

    def _add(self, number: int, path: list[str], value: Json) -> None:
        value = own_copy(path, value)
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
        value = own_copy(path, value)
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
        name = value.get("id") if isinstance(value, dict) else None
        if len(path) == 2 and path[0] == "nodes" and isinstance(name, str):
            self._gone[name] = number

    def _test(self, number: int, path: list[str], value: Json) -> None:
        found = descend(self.applied.document, path)
        if not json_equal(found, value):
            raise PointerError("test_failed", "The value here is not the one that the operation tests for.")

    def _root(self, value: Json) -> None:
        if not isinstance(value, dict):
            raise PointerError("wrong_type", "A workflow document is an object.")
        self.applied.document = value
        value["edges"] = value.get("edges") or []

    def _take(self, path: list[str]) -> None:
        parent = descend(self.applied.document, path[:-1])
        del parent[path[-1] if isinstance(parent, dict) else int(path[-1])]

    def drop_edges(self) -> None:
        """Remove the edges of removed nodes."""
        edges = self.applied.document.get("edges")
        if not self._gone or not isinstance(edges, list):
            return
        kept: list[Json] = []
        for edge in edges:
            ends = (edge.get("from"), edge.get("to")) if isinstance(edge, dict) else ()
            number = next((self._gone[end] for end in ends if isinstance(end, str) and end in self._gone), None)
            if number is None:
                kept.append(edge)
            else:
                self.applied.edges[edge_key(edge)] = number
        self.applied.document["edges"] = kept
        self._gone.clear()

    def _touch(self, number: int, path: list[str]) -> None:
        """Remember which node or edge the operation is about."""
        if len(path) < 2 or path[0] not in ("nodes", "edges"):
            return
        item = descend(self.applied.document, path[:2])
        if isinstance(item, dict) and path[0] == "nodes" and isinstance(item.get("id"), str):
            self.applied.nodes[item["id"]] = number
        elif isinstance(item, dict) and path[0] == "edges":
            self.applied.edges[edge_key(item)] = number


def edge_key(edge: dict[str, Json]) -> str:
    """The key of an edge as a document writes it: `from:to:on`."""
    return f"{edge.get('from')}:{edge.get('to')}:{edge.get('on') or 'success'}"
