"""Values that patch operations carry: copied, bounded in depth, compared as JSON."""

from __future__ import annotations

import json
from typing import Any

from chalicelib.domain.json_form import MAX_DEPTH
from chalicelib.domain.patch_pointer import PointerError

Json = Any


def own_copy(path: list[str], value: Json) -> Json:
    """A copy of what is to stand at `path`: later operations may change it. Raises PointerError."""
    level, depth = [value], len(path)
    while level:
        if depth > MAX_DEPTH:
            raise PointerError("too_deep", f"Objects and arrays would be nested more than {MAX_DEPTH} deep.")
        level = [item for one in level if isinstance(one, dict | list) for item in _items(one)]
        depth += 1
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except ValueError:
        raise PointerError("not_json", "The value holds NaN or Infinity, which JSON does not have.") from None


def _items(value: Json) -> list[Json]:
    return list(value.values()) if isinstance(value, dict) else list(value)


def json_equal(one: Json, other: Json) -> bool:
    """Equality of JSON values: numbers by value, booleans only with booleans. Both are of bounded depth."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(json_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(json_equal, one, other))
    return bool(one == other)
