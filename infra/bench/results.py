"""What a benchmark found, as values: rows with their spread, their mark, and whether it was met."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True)
class Row:
    """One number: the median of several runs with the lowest and the highest, or one exact count."""

    what: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    #: The most (or, with `at_least`, the least) that the design allows; None where it sets no bound.
    mark: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the mark is kept; None without one."""
        if self.mark is None:
            return None
        return self.value >= self.mark if self.at_least else self.value <= self.mark

    def as_json(self) -> dict[str, Json]:
        """For programs."""
        return {**asdict(self), "met": self.met}


@dataclass(slots=True)
class Section:
    """The rows of one benchmark. `note` says in a sentence how they were got."""

    name: str
    note: str
    rows: list[Row] = field(default_factory=list)

    def count(self, what: str, value: float, unit: str, mark: float | None = None) -> None:
        """Add an exact number."""
        self.rows.append(Row(what, round(value, 3), unit, mark=mark))

    def times(
        self, what: str, found: Sequence[float], unit: str, mark: float | None = None, *, at_least: bool = False
    ) -> None:
        """Add measurements by median, lowest and highest. `found` holds at least one."""
        middle, low, high = statistics.median(found), min(found), max(found)
        self.rows.append(Row(what, _short(middle), unit, _short(low), _short(high), mark, at_least))

    def as_json(self) -> dict[str, Json]:
        """For programs."""
        return {"name": self.name, "note": self.note, "rows": [row.as_json() for row in self.rows]}


def percentile(found: Sequence[float], part: float) -> float:
    """The smallest value that `part` (0..1) of them do not exceed. `found` holds at least one."""
    ordered = sorted(found)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _short(value: float) -> float:
    """Four digits are more than a shared machine can tell."""
    return float(f"{value:.4g}")
