"""Reads a request body as strict JSON: UTF-8, finite numbers, no key twice, bounded depth."""

from __future__ import annotations

import json
import math
from typing import Any

from chalicelib.api.problems import Malformed
from chalicelib.domain.errors import InvalidInput, Problem

Json = Any
#: Objects and arrays inside one another; a document may have half as many.
MAX_DEPTH = 128
#: Digits of a whole number; more would not even fit a double.
MAX_DIGITS = 300


def read_json(raw: bytes) -> Json:
    """The value. Raises Malformed for what is not JSON, InvalidInput for what is too deep or no Unicode."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: byte {error.start} cannot be read.") from None
    try:
        value = json.loads(
            text, parse_constant=_constant, parse_float=_number, parse_int=_integer, object_pairs_hook=_object
        )
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None
    if _deeper(value, MAX_DEPTH):
        raise _too_deep()
    if "\\u" in text:
        _check_unicode(value)
    return value


def _constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON number")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is beyond the numbers that can be kept")
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has {len(text)} digits, at most {MAX_DIGITS} can be kept")
    return int(text)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value: dict[str, Json] = {}
    for name, item in pairs:
        if name in value:
            raise ValueError(f"the key {name[:80]!a} stands twice in one object")
        value[name] = item
    return value


def _deeper(value: Json, limit: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        if not level:
            return False
        inner = (child for item in level for child in (item.values() if isinstance(item, dict) else item))
        level = [child for child in inner if isinstance(child, dict | list)]
    return bool(level)


def _check_unicode(value: Json) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        text = "A text holds half of a surrogate pair, which UTF-8 cannot carry; write the character whole."
        raise InvalidInput("A text in the body is no Unicode.", (Problem("bad_text", "", text),)) from None


def _too_deep() -> InvalidInput:
    text = f"Objects and arrays are nested more than {MAX_DEPTH} deep; flatten them."
    return InvalidInput("The body is nested too deep.", (Problem("too_deep", "", text),))
