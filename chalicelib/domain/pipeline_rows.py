"""Pipeline steps that look at one row at a time, or order them: filter, select, sort and top_k."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any

from chalicelib.domain.cel_syntax import parse_row, row_weight
from chalicelib.domain.conditions import evaluate
from chalicelib.domain.errors import EvaluationError, InvalidDocument
from chalicelib.domain.ir import Expression
from chalicelib.domain.pipeline_parts import Comparison, SelectColumn, SortKey
from chalicelib.domain.pipeline_steps import FilterStep, SelectStep, SortStep, TopStep
from chalicelib.domain.pipeline_tables import Budget, Row, Table, described, failed, key, need_columns

Json = Any
#: Bytes of a row that `contains` goes through while another comparison looks at one value.
SEARCHED_BYTES = 32


def filter_rows(step: FilterStep, table: Table, path: str, budget: Budget) -> Table:
    """The rows for which `where` holds. A comparison with null never holds, but for == and != with null itself."""
    at = f"{path}/where"
    meter = budget.meter(path)
    if isinstance(step.where, str):
        expression = _parsed(step.where, at)
        return [meter.add(row) for number, row in enumerate(table) if _is_true(expression, row, number, at, budget)]
    need_columns(table, [comparison.column for comparison in step.where], at)
    searches = sum(comparison.op == "contains" for comparison in step.where)
    if searches:
        budget.look(searches * sum(budget.row_bytes(row) for row in table) // SEARCHED_BYTES, at)
    tests = [(comparison.column, _test(comparison)) for comparison in step.where]
    return [meter.add(row) for row in table if all(test(row.get(column)) for column, test in tests)]


def select_columns(step: SelectStep, table: Table, path: str, budget: Budget) -> Table:
    """The chosen columns of every row, in the order chosen; a value that a row lacks is null."""
    at = f"{path}/columns"
    names = [column.named or column.column or "" for column in step.columns]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise failed(f"{at}/{number}", f'there are two columns "{name[:60]}"; give one another name with as')
    need_columns(table, [column.column for column in step.columns if column.column is not None], at)
    makers = [_maker(column, f"{at}/{number}", budget) for number, column in enumerate(step.columns)]
    meter = budget.meter(path)
    return [
        meter.add({name: make(row, number) for name, make in zip(names, makers, strict=True)})
        for number, row in enumerate(table)
    ]


def sort_rows(step: SortStep, table: Table, path: str, budget: Budget) -> Table:
    """All rows in order; the sort is stable."""
    need_columns(table, [key.column for key in step.by], f"{path}/by")
    meter = budget.meter(path)
    return [meter.add(row) for row in _ordered(table, step.by, descending=False)]


def top_rows(step: TopStep, table: Table, path: str, budget: Budget) -> Table:
    """The first k rows in order. Of rows with equal keys those that come first are kept."""
    need_columns(table, [key.column for key in step.by], f"{path}/by")
    meter = budget.meter(path)
    if len(step.by) == 1 and _one_number_column(table, step.by[0].column) and not step.by[0].nulls:
        return [meter.add(row) for row in _heap(table, step.by[0], step.k)]
    return [meter.add(row) for row in _ordered(table, step.by, descending=True)[: step.k]]


def _heap(table: Table, by: SortKey, k: int) -> Table:
    """`heapq` keeps the order of equal rows as a stable sort does."""
    take = heapq.nsmallest if by.desc is False else heapq.nlargest
    return take(k, table, key=lambda row: row[by.column])


def _one_number_column(table: Table, column: str) -> bool:
    return all(type(row.get(column)) in (int, float) for row in table)


def _ordered(table: Table, by: Sequence[SortKey], *, descending: bool) -> Table:
    """Sorted by the last key first: every pass is stable. Nulls come last in both directions unless asked first."""
    rows = list(table)
    for sort_key in reversed(by):
        column, desc = sort_key.column, descending if sort_key.desc is None else sort_key.desc
        nulls = [row for row in rows if row.get(column) is None]
        rest = [row for row in rows if row.get(column) is not None]
        # `reverse` keeps equal rows in their order.
        rest.sort(key=lambda row: key(row[column]), reverse=desc)
        rows = nulls + rest if sort_key.nulls == "first" else rest + nulls
    return rows


def _maker(column: SelectColumn, path: str, budget: Budget) -> Callable[[Row, int], Json]:
    if column.cel is None:
        return lambda row, _: row.get(column.column or "")
    expression = _parsed(column.cel, f"{path}/cel")
    return lambda row, number: _value(expression, row, number, f"{path}/cel", budget)


def _parsed(source: str, path: str) -> Expression:
    try:
        return parse_row(source)
    except InvalidDocument as error:
        raise failed(path, error.detail) from error


def _value(expression: Expression, row: Row, number: int, path: str, budget: Budget) -> Json:
    budget.evaluate(row, row_weight(expression.source), path)
    try:
        return evaluate(expression, {"row": row})
    except EvaluationError as error:
        raise failed(
            path, f"row {number}: {error.detail}; read columns that may lack with get(row, name, default)"
        ) from (error)


def _is_true(expression: Expression, row: Row, number: int, path: str, budget: Budget) -> bool:
    value = _value(expression, row, number, path, budget)
    if not isinstance(value, bool):
        raise failed(path, f"row {number}: the condition gave {described(value)}; compare it with something")
    return value


_ORDERS: dict[str, Callable[[Json, Json], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _test(comparison: Comparison) -> Callable[[Json], bool]:
    op, value = comparison.op, comparison.value
    wanted = key(value)
    if op in ("is_null", "not_null"):
        return lambda found: (found is None) == (op == "is_null")
    if op in ("==", "!="):
        return _equal(op, value)
    if op in ("in", "not_in"):
        listed = {key(item) for item in value}
        return lambda found: found is not None and (key(found) in listed) == (op == "in")
    if op == "contains":
        return lambda found: _contains(found, value, wanted)
    order = _ORDERS[op]
    return lambda found: found is not None and key(found)[0] == wanted[0] and order(key(found), wanted)


def _equal(op: str, value: Json) -> Callable[[Json], bool]:
    wanted = key(value)
    if op == "==":
        return lambda found: key(found) == wanted
    return lambda found: key(found) != wanted and (found is not None or value is None)


def _contains(found: Json, value: Json, wanted: tuple[int, Json]) -> bool:
    if isinstance(found, str):
        return isinstance(value, str) and value in found
    return isinstance(found, list) and any(key(item) == wanted for item in found)
