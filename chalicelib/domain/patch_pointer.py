"""JSON Pointers of patch operations, whose segments below `/nodes` and `/edges` may be ids (SPEC 11)."""

from __future__ import annotations

import re
from typing import Any

from chalicelib.domain.problem_list import shorten

Json = Any
#: Segments of one pointer; a document is never deeper.
MAX_SEGMENTS = 130
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE = re.compile(r"~(?![01])")


class PointerError(Exception):
    """A pointer is malformed or names nothing. `code` and the message go into the problem.

    `member` is the operation's member at fault, where it is not the one being read.
    """

    member = ""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def parse_pointer(text: str) -> list[str]:
    """The segments of an RFC 6901 pointer. Raises PointerError."""
    if text and not text.startswith("/"):
        raise PointerError("bad_pointer", f'"{shorten(text)}" is not a JSON Pointer; it starts with "/".')
    if _BAD_ESCAPE.search(text):
        raise PointerError("bad_pointer", f'"{shorten(text)}" has a "~" that is neither "~0" nor "~1".')
    segments = [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]
    if len(segments) > MAX_SEGMENTS:
        raise PointerError("bad_pointer", f"The pointer has {len(segments)} segments, at most {MAX_SEGMENTS} are read.")
    return segments


def resolve_ids(document: Json, segments: list[str]) -> list[str]:
    """The segments with a node id or edge name replaced by its index now. Raises PointerError.

    An index, or `-`, stays as it is: neither is an id.
    """
    if len(segments) < 2 or not isinstance(document, dict) or segments[0] not in ("nodes", "edges"):
        return segments
    name, items = segments[1], document.get(segments[0])
    if name == "-" or _INDEX.fullmatch(name) or not isinstance(items, list):
        return segments
    found = _node_index(items, name) if segments[0] == "nodes" else _edge_index(items, name)
    return [segments[0], str(found), *segments[2:]]


def _node_index(nodes: list[Json], name: str) -> int:
    for index, node in enumerate(nodes):
        if isinstance(node, dict) and node.get("id") == name:
            return index
    text = f'There is no node "{shorten(name)}" at this point of the patch; a new one is added at /nodes/-.'
    raise PointerError("unknown_node", text)


def _edge_index(edges: list[Json], name: str) -> int:
    parts = name.split(":")
    if len(parts) not in (2, 3):
        raise PointerError(
            "bad_pointer", f'An edge is named "<from>:<to>" or "<from>:<to>:<on>", not "{shorten(name)}".'
        )
    ends: dict[str, int] = {}
    for index, edge in enumerate(edges):
        if isinstance(edge, dict) and edge.get("from") == parts[0] and edge.get("to") == parts[1]:
            ends.setdefault(str(edge.get("on") or "success"), index)
    wanted = parts[2] if len(parts) == 3 else "success"
    if wanted in ends:
        return ends[wanted]
    if len(parts) == 2 and len(ends) == 1:
        return next(iter(ends.values()))
    if len(parts) == 2 and ends:
        text = f'Several edges lead from "{parts[0]}" to "{parts[1]}"; name one, as in "{name}:failure".'
        raise PointerError("ambiguous_edge", text)
    text = f'There is no edge "{shorten(name)}" in edges at this point of the patch; a new one is added at /edges/-.'
    raise PointerError("unknown_edge", text)


def index_of(segment: str, length: int, *, end: bool) -> int:
    """An array index below `length`, or `length` itself (also as `-`) where `end` allows it. Raises PointerError."""
    if segment == "-" and end:
        return length
    if not _INDEX.fullmatch(segment):
        raise PointerError("bad_index", f'"{shorten(segment)}" is not an index of this array.')
    index = int(segment)
    if index > length or (index == length and not end):
        raise PointerError("path_not_found", f"The array has {length} items; there is none at {index}.")
    return index


def child(value: Json, segment: str) -> Json:
    """One step down. Raises PointerError where there is nothing."""
    if isinstance(value, dict):
        if segment not in value:
            raise PointerError("path_not_found", f'There is no member "{shorten(segment)}" here.')
        return value[segment]
    if isinstance(value, list):
        return value[index_of(segment, len(value), end=False)]
    raise PointerError("path_not_found", f'"{shorten(segment)}" names nothing: its parent is no object or array.')


def descend(value: Json, segments: list[str]) -> Json:
    """The value at the segments. Raises PointerError."""
    for segment in segments:
        value = child(value, segment)
    return value
