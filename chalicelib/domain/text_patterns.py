"""Matches regular expressions in time that grows with the text alone (RE2, through CEL's `matches`)."""

from __future__ import annotations

from chalicelib.domain.cel_runtime import program, run
from chalicelib.domain.errors import EvaluationError

#: Characters of a pattern.
MAX_PATTERN = 1000


def search(pattern: str, text: str) -> bool:
    """Whether `pattern` matches somewhere in `text`. Raises EvaluationError for a pattern that RE2 refuses."""
    if len(pattern) > MAX_PATTERN:
        raise EvaluationError(f"The regular expression has more than {MAX_PATTERN} characters; use a shorter one.")
    return bool(run(program("input.matches(item)"), {"input": text, "item": pattern}))


def problem(pattern: str) -> str | None:
    """Why RE2 refuses `pattern`, or None."""
    try:
        search(pattern, "")
    except EvaluationError as error:
        return f"{error.detail} Back references and look-around are not supported."
    return None
