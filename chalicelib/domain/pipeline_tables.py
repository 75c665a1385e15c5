"""Tables of a pipeline: bounded lists of rows, one order over all JSON values, and errors that say where."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.domain.problem_list import shorten

Json = Any
Row = dict[str, Json]
Table = list[Row]

#: Steps of one pipeline: enough for any report, and few enough to read.
MAX_STEPS = 50
#: Rows of one table: a coordinator works other runs too, and has seconds.
MAX_ROWS = 50_000
#: Cells (row times column) that all steps of a pipeline make together: about 200 MB of Python objects.
MAX_CELLS = 1_000_000
#: Bytes of one table as JSON: a tenth of the largest artifact, and what fits a small Lambda several times over.
MAX_BYTES = 10 * 1024 * 1024
#: Bytes of one row: what an expression makes of it is at most a few times as much.
MAX_ROW_BYTES = 256 * 1024
#: Evaluations of CEL in one pipeline, about two seconds of work.
MAX_EVALUATIONS = 100_000
#: Values that all steps of a pipeline look at (rows times the columns that a step names), about two seconds of work:
#: steps that give few rows make few cells, and may look at many.
MAX_LOOKS = 5_000_000
#: Bytes of a row by which an evaluation counts once more: reading it takes as long as the rest.
WEIGHED_BYTES = 512
ERROR = "PipelineError"


def failed(path: str, found: str, retryable: bool = False) -> TaskError:
    """The error of a step: `path` is its JSON Pointer, `found` says what was found and the way out."""
    return TaskError(ERROR, f"{path}: {found}", retryable)


@dataclass(slots=True)
class Budget:
    """What the steps of one pipeline may still make."""

    cells: int = MAX_CELLS
    evaluations: int = MAX_EVALUATIONS
    looks: int = MAX_LOOKS
    #: Nested value by identity -> (the value, its bytes): one that stands in many rows is measured once.
    _sizes: dict[int, tuple[Json, int]] = field(default_factory=dict)

    def evaluate(self, row: Row, weight: int, path: str) -> None:
        """Count one evaluation of an expression of this weight, more of a large row. Raises TaskError."""
        self.evaluations -= weight + self.row_bytes(row) // WEIGHED_BYTES
        if self.evaluations < 0:
            text = f"takes more than {MAX_EVALUATIONS} evaluations of CEL, large rows counted several times"
            raise failed(path, f"{text}; compare columns, filter first, or select fewer columns")

    def look(self, values: int, path: str) -> None:
        """Count values that are looked at. Raises TaskError."""
        self.looks -= values
        if self.looks < 0:
            raise failed(path, f"the steps look at more than {MAX_LOOKS} values; filter first, or name fewer columns")

    def row_bytes(self, row: Row) -> int:
        """Bytes of a row as JSON, nearly."""
        return sum(len(name) + 6 + self.size(value) for name, value in row.items())

    def meter(self, path: str) -> Meter:
        """Counts the rows of one table as they are made."""
        return Meter(self, path)

    def size(self, value: Json) -> int:
        """Bytes of a value as JSON, nearly: an upper bound for text."""
        if isinstance(value, str):
            return 2 + (len(value) if value.isascii() else 4 * len(value))
        if not isinstance(value, dict | list):
            return 24
        known = self._sizes.get(id(value))
        if known is None:
            known = self._sizes[id(value)] = (
                value,
                len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")),
            )
        return known[1]


@dataclass(slots=True)
class Meter:
    """Adds up one table, so that it is refused before it is too large, not after."""

    budget: Budget
    path: str
    rows: int = 0
    bytes: int = 0

    def add(self, row: Row) -> Row:
        """Count a row and hand it on. Raises TaskError."""
        self.rows += 1
        self.budget.cells -= max(1, len(row))
        if self.rows > MAX_ROWS:
            raise failed(self.path, f"gives more than {MAX_ROWS} rows; filter or group before this step")
        if self.budget.cells < 0:
            raise failed(self.path, f"the steps make more than {MAX_CELLS} cells; select fewer columns first")
        size = self.budget.row_bytes(row)
        if size > MAX_ROW_BYTES:
            raise failed(
                self.path, f"row {self.rows - 1} has more than {MAX_ROW_BYTES} bytes; select fewer columns first"
            )
        self.bytes += size
        if self.bytes > MAX_BYTES:
            raise failed(self.path, f"gives more than {MAX_BYTES} bytes; select fewer columns, or filter first")
        return row


def as_table(value: Json, path: str, budget: Budget) -> Table:
    """`value` as a table. Raises TaskError naming the first row that is none."""
    if not isinstance(value, list):
        raise failed(path, f"found {described(value)}; a table is a list of objects")
    meter = budget.meter(path)
    for number, row in enumerate(value):
        if not isinstance(row, dict):
            raise failed(path, f"row {number} is {described(row)}; each row is an object of columns and values")
        meter.add(row)
    return value


def need_columns(table: Table, names: Iterable[str], path: str) -> None:
    """Raises TaskError for a column that no row of a table that has rows holds: most likely it is misspelt."""
    missing = dict.fromkeys(names)
    if not table:
        return
    for row in table:
        for name in [name for name in missing if name in row]:
            del missing[name]
        if not missing:
            return
    known = columns(table)
    shown = ", ".join(shorten(name) for name in known[:20]) + (", …" if len(known) > 20 else "")
    raise failed(path, f'no row has a column "{shorten(next(iter(missing)))}"; there are {shown or "none"}')


def columns(table: Table) -> list[str]:
    """The names of all columns, in order of first appearance."""
    found: dict[str, None] = {}
    for row in table:
        found.update(dict.fromkeys(row))
    return list(found)


def key(value: Json) -> tuple[int, Json]:
    """A hashable form of a value: equal for values that are equal as JSON, ordered within and across types: booleans,
    numbers, texts, lists and objects, null last."""
    if value is None:
        return (9, 0)
    if isinstance(value, bool):
        return (0, value)
    if isinstance(value, int | float):
        return (1, value)
    if isinstance(value, str):
        return (2, value)
    return (3, json.dumps(value, sort_keys=True))


def is_number(value: Json) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def described(value: Json) -> str:
    """What a value is, in words."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return f'the text "{shorten(value)}"'
    names: dict[type, str] = {dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value), "a number")
