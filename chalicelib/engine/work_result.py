"""Holds what a worker hands back to plain JSON that every other part can read."""

from __future__ import annotations

import json
import math
from typing import Any

from chalicelib.domain.errors import TaskError

Json = Any
#: Levels of lists and objects; deeper values break JSON readers on the way.
MAX_DEPTH = 100
#: Bits of an integer; beyond the range of a double nobody can read it.
MAX_INT_BITS = 1024


def as_json(value: object, path: str = "", depth: int = 0) -> Json:
    """A copy of `value` made of dict, list, str, int, float, bool and None; tuples become lists.

    Raises TaskError `TaskFailed`, not retryable, naming the JSON Pointer of the first thing that is no JSON.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int | float):
        return _number(value, path)
    if depth >= MAX_DEPTH:
        raise not_json(path, f"is nested more than {MAX_DEPTH} deep, or holds itself")
    if isinstance(value, list | tuple):
        return [as_json(item, f"{path}/{i}", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {_key(key, path): as_json(item, f"{path}/{_token(key)}", depth + 1) for key, item in value.items()}
    raise not_json(path, f"is a {type(value).__name__}: return text, numbers, booleans, null, lists and objects")


def canonical(value: Json) -> bytes:
    """The one JSON text of a value: sorted keys, no blanks, UTF-8. Raises TaskError when it is no JSON after all."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise not_json("", f"cannot be written as JSON ({type(error).__name__})") from error


def not_json(path: str, why: str) -> TaskError:
    """The error for a result that is no JSON; `path` is a JSON Pointer into the result."""
    place = f"the result at {path[:500]}" if path else "the result"
    return TaskError("TaskFailed", f"{place} {why}", retryable=False)


def _token(key: object) -> str:
    return str(key)[:80].encode("utf-8", "replace").decode().replace("~", "~0").replace("/", "~1")


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise not_json(path, f"has a key of type {type(key).__name__}: JSON keys are text")
    return _text(key, path)


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise not_json(path, "holds half of a surrogate pair, which is no character") from error
    return str.__str__(value)


def _number(value: float, path: str) -> float:
    if isinstance(value, int):
        if value.bit_length() > MAX_INT_BITS:
            raise not_json(path, f"is an integer of more than {MAX_INT_BITS} bits")
        return int(value)
    if not math.isfinite(value):
        raise not_json(path, f"is {value!r}, which JSON cannot say")
    return float(value)
