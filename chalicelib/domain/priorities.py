"""Which of the runs that wait for a place begins first: the one of the highest priority, -100 to 100."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.errors import Problem

Json = Any
LOWEST, HIGHEST = -100, 100


def priority_problems(value: Json) -> list[Problem]:
    """What is wrong with a value that is given as `priority`."""
    if type(value) is int and LOWEST <= value <= HIGHEST:
        return []
    text = f"Send a whole number from {LOWEST} to {HIGHEST}; the highest begins first."
    return [Problem("bad_number", "/priority", text)]
