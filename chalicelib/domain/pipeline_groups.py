"""The table_group step: one row for each group, with aggregates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from chalicelib.domain.pipeline_parts import Aggregate
from chalicelib.domain.pipeline_steps import GroupStep
from chalicelib.domain.pipeline_tables import Budget, Row, Table, described, failed, is_number, key, need_columns

Json = Any


def group_rows(step: GroupStep, table: Table, path: str, budget: Budget) -> Table:
    """One row a group, in order of first appearance; null is a group too. No `by`: one row for the whole table."""
    need_columns(table, step.by, f"{path}/by")
    used = [aggregate.column for aggregate in step.aggregates.values() if aggregate.column is not None]
    need_columns(table, used, f"{path}/aggregates")
    for name in step.aggregates:
        if name in step.by:
            raise failed(f"{path}/aggregates", f'"{name[:60]}" is a column of by; give the aggregate another name')
    groups: dict[tuple[Json, ...], list[Row]] = {} if step.by else {(): []}
    for row in table:
        groups.setdefault(tuple(key(row.get(name)) for name in step.by), []).append(row)
    meter = budget.meter(path)
    return [meter.add(_row(step, rows, path)) for rows in groups.values()]


def _row(step: GroupStep, rows: list[Row], path: str) -> Row:
    row = {name: rows[0].get(name) for name in step.by}
    for name, aggregate in step.aggregates.items():
        row[name] = _aggregate(aggregate, rows, f"{path}/aggregates/{name.replace('~', '~0').replace('/', '~1')}")
    return row


def _aggregate(aggregate: Aggregate, rows: list[Row], path: str) -> Json:
    column = aggregate.column
    if column is None:
        return len(rows)
    values = [row.get(column) for row in rows]
    if aggregate.op in _OF_ALL:
        return _OF_ALL[aggregate.op](values)
    present = [value for value in values if value is not None]
    if aggregate.op == "count":
        return len(present)
    if not present:
        return None
    if aggregate.op in ("min", "max"):
        return (min if aggregate.op == "min" else max)(present, key=key)
    return _sum(aggregate.op, present, path)


def _sum(op: str, values: list[Json], path: str) -> Json:
    """Whole numbers add up exactly; with others among them the sum is rounded once."""
    for value in values:
        if not is_number(value):
            raise failed(path, f"found {described(value)}; {op} adds up numbers only: filter the others out")
    try:
        exact = all(isinstance(value, int) for value in values)
        total = sum(values) if exact else math.fsum(values)
        result = total if op == "sum" else total / len(values)
    except OverflowError:
        raise failed(path, f"the {op} is beyond the range of numbers; scale the values down") from None
    if isinstance(result, float) and not math.isfinite(result):
        raise failed(path, f"the {op} is no finite number; scale the values down")
    return result


_OF_ALL: dict[str, Callable[[list[Json]], Json]] = {
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "collect": list,
}
