"""The table_join step: two tables joined on equal columns, as SQL joins them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from chalicelib.domain.pipeline_steps import JoinStep
from chalicelib.domain.pipeline_tables import Budget, Row, Table, columns, failed, key, need_columns

Json = Any
#: Put behind the name of a right column whose name the left table has too.
SUFFIX = "_right"


def join_tables(step: JoinStep, left: Table, right: Table, path: str, budget: Budget) -> Table:
    """The joined rows: left rows in order, each with its right rows in order, then (outer) right rows without a match.

    Null keys match nothing. A column that is equal on both sides by the same name is there once.
    """
    lefts, rights = [pair.left for pair in step.on], [pair.right for pair in step.on]
    need_columns(left, lefts, f"{path}/on")
    need_columns(right, rights, f"{path}/on")
    names = _Names(step, left, right, path)
    matches: defaultdict[tuple[Json, ...], list[int]] = defaultdict(list)
    for number, row in enumerate(right):
        if (found := _keys(row, rights)) is not None:
            matches[found].append(number)
    meter, used, how = budget.meter(path), bytearray(len(right)), step.how or "inner"
    joined: Table = []
    for row in left:
        found = _keys(row, lefts)
        numbers = [] if found is None else matches.get(found, [])
        joined.extend(meter.add(names.both(row, right[number])) for number in numbers)
        for number in numbers:
            used[number] = 1
        if not numbers and how != "inner":
            joined.append(meter.add(names.both(row, None)))
    if how == "outer":
        joined.extend(meter.add(names.both(None, row)) for number, row in enumerate(right) if not used[number])
    return joined


def _keys(row: Row, names: Sequence[str]) -> tuple[Json, ...] | None:
    values = [row.get(name) for name in names]
    return None if any(value is None for value in values) else tuple(key(value) for value in values)


class _Names:
    """Which column of which side goes where in a joined row."""

    def __init__(self, step: JoinStep, left: Table, right: Table, path: str) -> None:
        #: Columns that both sides share: taken from whichever side there is.
        self._shared = [pair.left for pair in step.on if pair.left == pair.right]
        self._left = columns(left) or [pair.left for pair in step.on]
        taken = dict.fromkeys(self._left)
        self._right: dict[str, str] = {}
        for name in columns(right):
            if name in self._shared:
                continue
            shown = name + (step.suffix or SUFFIX) if name in taken else name
            if shown in taken:
                text = f'both sides have a column "{shown[:60]}"; choose another suffix, or select first'
                raise failed(f"{path}/with", text)
            taken[shown] = None
            self._right[name] = shown

    def both(self, left: Row | None, right: Row | None) -> Row:
        """One joined row; the columns of a missing side are null."""
        row = {name: (left or {}).get(name) for name in self._left}
        if left is None and right is not None:
            row.update({name: right.get(name) for name in self._shared})
        row.update({shown: (right or {}).get(name) for name, shown in self._right.items()})
        return row
