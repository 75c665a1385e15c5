"""Checks that a value is JSON of bounded depth and size, and copies it."""

from __future__ import annotations

import json
import math
from typing import Any

from chalicelib.domain.problem_list import ProblemList, pointer

Json = Any

#: Objects and arrays inside one another in a document.
MAX_DEPTH = 64

_Trail = tuple[Any, "str | int"] | None


def canonical(value: Json) -> str:
    """JSON text with sorted keys and no spaces: equal values of equal types give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def mentions(value: Json, text: str) -> bool:
    """Whether any string in `value`, keys aside, holds `text`."""
    stack = [value]
    while stack:
        current = stack.pop()
        if isinstance(current, str):
            if text in current:
                return True
        elif isinstance(current, dict):
            stack.extend(current.values())
        elif isinstance(current, list):
            stack.extend(current)
    return False


def copy_json(value: Json, max_bytes: int, problems: ProblemList) -> Json:
    """A deep copy of `value`, or None with problems `not_json`, `too_deep` or `limit_exceeded`."""
    if not _is_json(value, problems):
        return None
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return json.loads(text) if fits(text, max_bytes, problems) else None


def fits(text: str, max_bytes: int, problems: ProblemList) -> bool:
    """Whether a document's compact JSON text is within `max_bytes` of UTF-8; else adds `limit_exceeded`."""
    size = len(text.encode())
    if size > max_bytes:
        note = f"The document has {size} bytes as compact JSON; at most {max_bytes} are allowed. Split the workflow."
        problems.add("limit_exceeded", "", note)
    return size <= max_bytes


def _is_json(value: Json, problems: ProblemList) -> bool:
    stack: list[tuple[Json, int, _Trail]] = [(value, 0, None)]
    before = len(problems)
    while stack:
        current, depth, trail = stack.pop()
        if not isinstance(current, (dict, list)):
            _check_scalar(current, trail, problems)
        elif depth >= MAX_DEPTH:
            note = f"Objects and arrays are nested more than {MAX_DEPTH} deep; flatten them."
            problems.add("too_deep", _path(trail), note)
        else:
            _push_children(current, depth + 1, trail, stack, problems)
    return len(problems) == before


def _push_children(
    current: Json, depth: int, trail: _Trail, stack: list[tuple[Json, int, _Trail]], problems: ProblemList
) -> None:
    if isinstance(current, list):
        pairs: Any = enumerate(current)
    else:
        pairs = current.items()
        for key in current:
            if not isinstance(key, str) or _bad_text(key):
                problems.add("not_json", _path(trail), f"The key {key!a} is not a Unicode string; rename it.")
                return
    for key, child in pairs:
        if type(child) is str and child.isascii():
            continue
        stack.append((child, depth, (trail, key)))


def _check_scalar(value: Json, trail: _Trail, problems: ProblemList) -> None:
    reason = None
    if isinstance(value, str):
        reason = "has half of a surrogate pair" if _bad_text(value) else None
    elif isinstance(value, float):
        reason = None if math.isfinite(value) else "is not a finite number"
    elif isinstance(value, int):
        # Python itself refuses to write longer ones as text.
        reason = "has more than 1,000 binary digits" if value.bit_length() > 1000 else None
    elif value is not None:
        reason = f"is a {type(value).__name__}"
    if reason:
        problems.add("not_json", _path(trail), f"This value {reason}, which JSON cannot carry; write it otherwise.")


def _bad_text(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text) if not text.isascii() else False


def _path(trail: _Trail) -> str:
    segments: list[str | int] = []
    while trail is not None:
        trail, key = trail
        segments.append(key)
    return pointer(*reversed(segments))
