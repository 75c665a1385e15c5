"""What pydantic models refuse, in the words of compile problems."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

Json = Any
#: Codes that the models' own validators raise.
_CUSTOM = frozenset({"bad_id", "bad_name", "bad_value", "wrong_type"})
_CODES = {"extra_forbidden": "unknown_key", "missing": "missing_key"}
#: Beginnings of the error types of values that have the right type.
_VALUES = ("literal_error", "too_", "string_too_", "greater_than", "less_than")


def code_of(kind: str) -> str:
    """The problem code of a pydantic error type."""
    if kind in _CUSTOM:
        return kind
    return _CODES.get(kind) or ("bad_value" if kind.startswith(_VALUES) else "wrong_type")


def sentence(code: str, text: str, key: str, known: Sequence[str]) -> str:
    """What is wrong at `key` and how to mend it. `text` is pydantic's; `known` are the keys that may stand there."""
    if code == "missing_key":
        return f'"{key}" is missing here; add it.'
    if code != "unknown_key":
        return f"{text.removeprefix('Value error, ')} (at {key}); correct it."
    near = difflib.get_close_matches(key, known, 1)
    hint = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(known) or 'none'}."
    return f'"{key}" is not a known key; rename or remove it: {hint}'


def holds(value: Json, step: int | str) -> bool:
    """Whether a step of a pydantic location leads further into the value: union tags and marks of keys do not."""
    if isinstance(value, dict):
        return isinstance(step, str) and step in value
    return isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value)
