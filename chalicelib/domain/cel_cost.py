"""Refuses evaluations whose iterations would take too much time or memory; the runtime cannot be interrupted.

What the runtime builds stays in memory until the evaluation is over, and `map` and `filter` copy their result for
every item, so both are bounded before it starts, from the sizes of the values that the expression reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.domain.cel_analysis import Findings
from chalicelib.domain.cel_values import Intake
from chalicelib.domain.errors import EvaluationError

Json = Any

#: Iterations of all comprehensions of one evaluation: the runtime's own limit.
MAX_ITERATIONS = 10_000
#: Values that an expression with a comprehension may read.
MAX_VALUES = 100_000
#: Items of a list that `map` or `filter` goes over: 4,000 take 0.3 s and 260 MB.
MAX_GROWN = 4_000
#: Characters that all iterations together may scan, and build, and split.
MAX_SCANNED_TEXT = 1_000_000_000
MAX_BUILT_TEXT = 50_000_000
MAX_SPLIT_TEXT = 8_000_000
#: Items of lists that all iterations together may compare, and append.
MAX_SCANNED_ITEMS = 50_000_000
MAX_APPENDED_ITEMS = 8_000_000


def check(found: Findings, intake: Intake, literal_items: int, values: Mapping[str, Json]) -> None:
    """Raise EvaluationError if an expression that iterates could do too much on these values.

    `literal_items` is the most items that a list written in the expression can have.
    """
    if intake.values > MAX_VALUES:
        text = f"An expression that iterates may read at most {MAX_VALUES} values, not {intake.values}"
        raise EvaluationError(f"{text}; name a narrower path.")
    if found.grows_list and intake.longest_list > MAX_GROWN:
        text = f"map and filter go over at most {MAX_GROWN} items, and a list has {intake.longest_list}"
        raise EvaluationError(f"{text}; use exists, all, get or the list functions, or a pipeline.")
    factor = (found.additions + 1) ** found.depth
    items = max(intake.longest_list, literal_items) ** found.depth
    iterations = min(MAX_ITERATIONS, items * factor)
    text_length = max(intake.longest_text, found.longest_literal) * factor
    if text_length * iterations > _text_limit(found):
        raise EvaluationError("The strings are too long to be read or joined in every iteration; name shorter ones.")
    scanned = _longest(found.scanned, values) * iterations > MAX_SCANNED_ITEMS
    if scanned or _longest(found.appended, values) * factor * iterations > MAX_APPENDED_ITEMS:
        raise EvaluationError("A list is too long to be compared or appended in every iteration; name a shorter one.")


def _text_limit(found: Findings) -> int:
    if found.splits_text:
        return MAX_SPLIT_TEXT
    return MAX_BUILT_TEXT if found.additions or found.copies_text else MAX_SCANNED_TEXT


def _longest(paths: Iterable[tuple[str, ...]], values: Mapping[str, Json]) -> int:
    """The length of the longest list or map at one of `paths`."""
    return max((_length(path, values) for path in paths), default=0)


def _length(path: tuple[str, ...], values: Mapping[str, Json]) -> int:
    value: Json = values
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return len(value) if isinstance(value, list | dict) else 0
