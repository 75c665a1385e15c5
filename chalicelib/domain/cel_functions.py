"""The list functions and `get` that SPEC 4 adds to CEL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from functools import partial
from operator import itemgetter
from typing import Any

Json = Any
Rows = list[Json]

#: Rows that all list functions of one evaluation may read together: about a second's work.
MAX_ROWS = 1_000_000
#: Not a CEL value: returning it ends the whole evaluation, where an error could be absorbed by `||` or `exists`.
_ABORT = ()


class _Work(threading.local):
    """What the evaluation under way in this thread has spent, and what its functions returned."""

    rows = 0

    def __init__(self) -> None:
        self.results: list[Json] = []


work = _Work()


class FunctionError(ValueError):
    """A list function was given what it cannot use."""


def _reject(what: str, value: Json) -> FunctionError:
    kind = {dict: "a map", list: "a list", str: "a string", bool: "a bool", type(None): "null"}
    return FunctionError(f"{what}, not {kind.get(type(value), 'a number')}")


def _field(row: Json, key: str) -> Json:
    if row is not None and not isinstance(row, dict):
        raise _reject(f"rows read by {key!r} must be maps", row)
    return None if row is None else row.get(key)


def _numbers(name: str, rows: Rows, key: str | None) -> list[int | float]:
    found = [row if key is None else _field(row, key) for row in rows]
    for value in found:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise _reject(f"{name} needs numbers", value)
    return [value for value in found if value is not None]


def _in_int64(total: int | float) -> int | float:
    if isinstance(total, int) and not -(2**63) <= total < 2**63:
        raise FunctionError("integer overflow in sum")
    return total


def _sum(rows: Rows, key: str | None = None) -> Json:
    return _in_int64(sum(_numbers("sum", rows, key)))


def _avg(rows: Rows, key: str | None = None) -> Json:
    numbers = _numbers("avg", rows, key)
    return float(sum(numbers) / len(numbers)) if numbers else None


def _extreme(pick: Callable[..., Json], name: str, rows: Rows, key: str | None = None) -> Json:
    values = [value for value in (row if key is None else _field(row, key) for row in rows) if value is not None]
    if values and all(isinstance(value, str) for value in values):
        return pick(values)
    return pick(_numbers(name, values, None), default=None)


def _count(rows: Rows) -> Json:
    return len(rows)


def identity(value: Json) -> Hashable:
    """A hashable stand-in, equal for values that CEL calls equal: `1` and `1.0` are one, `1` and `true` are not."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return ("list", *map(identity, value))
    if isinstance(value, dict):
        return ("map", frozenset((identity(key), identity(item)) for key, item in value.items()))
    if isinstance(value, bytearray):
        return ("bytes", bytes(value))
    return value if isinstance(value, Hashable) else repr(value)


def _distinct(rows: Rows, key: str | None = None) -> Json:
    seen: dict[Hashable, Json] = {}
    for row in rows:
        value = row if key is None else _field(row, key)
        seen.setdefault(identity(value), value)
    return list(seen.values())


def _sort_by(rows: Rows, key: str, direction: str = "asc") -> Json:
    """Rows in order of `key`, equal ones as they came; rows without it come last in either direction."""
    if direction not in {"asc", "desc"}:
        raise FunctionError('sort_by takes "asc" or "desc" as its direction')
    present = [row for row in rows if _field(row, key) is not None]
    absent = [row for row in rows if _field(row, key) is None]
    kinds = {str if isinstance(row[key], str) else float for row in present}
    for row in present:
        if isinstance(row[key], dict | list | bool | bytearray) or len(kinds) > 1:
            raise FunctionError(f"{key!r} must hold only numbers or only strings to sort by it")
    return sorted(present, key=itemgetter(key), reverse=direction == "desc") + absent


def _group_by(rows: Rows, key: str) -> Json:
    groups: dict[str, Rows] = {}
    for row in rows:
        value = _field(row, key)
        if isinstance(value, dict | list | bytearray):
            raise _reject(f"group_by needs a string, number, bool or null under {key!r}", value)
        groups.setdefault(_group_name(value), []).append(row)
    return groups


def _group_name(value: Json) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _top(rows: Rows, count: int, key: str) -> Json:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise _reject("top needs a count of 0 or more", count)
    return _sort_by(rows, key, "desc")[:count]


def _get(value: Json, path: str, default: Json) -> Json:
    for key in path.split("."):
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and len(key) < 10:
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = None
    return default if value is None else value


def _checked(name: str, function: Callable[..., Json], *args: Json) -> Json:
    first, *rest = args
    if name != "get" and not isinstance(first, list):
        raise _reject(f"{name} needs a list", first)
    keys = rest[1:] if name == "top" else rest[:1] if name == "get" else rest
    for key in keys:
        if not isinstance(key, str):
            raise _reject(f"{name} needs a string as its key", key)
    work.rows += len(first) if isinstance(first, list | dict) else 1
    if work.rows > MAX_ROWS:
        return _ABORT
    try:
        result = function(*args)
    except RecursionError as deep:
        raise FunctionError(f"{name} was given a value that nests too deeply") from deep
    if isinstance(result, str) and "\0" in result:
        raise FunctionError(f"{name} cannot return a string that holds U+0000")
    return result


def _called(name: str, function: Callable[..., Json], *args: Json) -> Json:
    """Call a function for the runtime, keeping count, and emptying the argument that its binding never frees."""
    result: Json = None
    try:
        result = _checked(name, function, *args)
        work.results.append(result)
        return result
    finally:
        if isinstance(args[0], list | dict) and result is not args[0]:
            args[0].clear()


_IMPLEMENTATIONS: dict[str, tuple[tuple[int, ...], Callable[..., Json]]] = {
    "get": ((3,), _get),
    "sum": ((1, 2), _sum),
    "avg": ((1, 2), _avg),
    "min": ((1, 2), partial(_extreme, min, "min")),
    "max": ((1, 2), partial(_extreme, max, "max")),
    "count": ((1,), _count),
    "distinct": ((1, 2), _distinct),
    "sort_by": ((2, 3), _sort_by),
    "group_by": ((2,), _group_by),
    "top": ((3,), _top),
}

#: Function name → argument count → implementation.
FUNCTIONS: dict[str, dict[int, Callable[..., Json]]] = {
    name: {count: partial(_called, name, function) for count in counts}
    for name, (counts, function) in _IMPLEMENTATIONS.items()
}
