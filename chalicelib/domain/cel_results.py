"""Turns what CEL gives into JSON, and reads plain paths without it."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.domain.cel_binding import type_name
from chalicelib.domain.cel_values import MAX_DEPTH, as_double
from chalicelib.domain.errors import EvaluationError

Json = Any
#: A Python value that the CEL binding made.
Result = Any


def plain(value: Result) -> Json:
    """A CEL result as JSON: timestamps and durations as CEL writes them, bytes in base64, types by name.

    Raises EvaluationError for NaN, infinities, and what JSON cannot express.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise EvaluationError(f"the result holds {value}, which JSON cannot express")
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        # The runtime's maps come in an order that differs between processes.
        named = {_result_key(key): item for key, item in value.items()}
        return {key: plain(named[key]) for key in sorted(named)}
    return _scalar(value)


def read(path: tuple[str, ...], values: Mapping[str, Json]) -> Json:
    """A copy of what `path` names, as CEL would give it but with U+0000 and the order of keys kept.

    Raises EvaluationError where a key is missing or its parent is no map.
    """
    value: Json = values.get(path[0])
    for position, key in enumerate(path[1:], 1):
        if not isinstance(value, dict) or key not in value:
            kind = "has no key" if isinstance(value, dict) else f"is {_kind(value)}, so it has no key"
            raise EvaluationError(f"{'.'.join(path[:position])} {kind} {key!r}")
        value = value[key]
    return _copy(value, 0)


def _kind(value: Json) -> str:
    return "null" if value is None else "a list" if isinstance(value, list) else f"a {type(value).__name__}"


def _copy(value: Json, depth: int) -> Json:
    if depth > MAX_DEPTH:
        raise EvaluationError(f"the value nests more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        return {key: _copy(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item, depth + 1) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return as_double(value)
    return plain(value)


def _result_key(key: Result) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


def _scalar(value: Result) -> Json:
    if isinstance(value, bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        text = value.astimezone(UTC).isoformat()
        return text.replace("+00:00", "Z")
    if isinstance(value, timedelta):
        micros = value // timedelta(microseconds=1)
        sign = "-" if micros < 0 else ""
        seconds, rest = divmod(abs(micros), 1_000_000)
        return f"{sign}{seconds}.{rest:06}".rstrip("0").rstrip(".") + "s" if rest else f"{sign}{seconds}s"
    name = type_name(value)
    if name is None:
        raise EvaluationError(f"the result is a {type(value).__name__}, which JSON cannot express")
    return name
