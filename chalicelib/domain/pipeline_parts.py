"""The parts that pipeline steps are made of, as pydantic models: columns, comparisons, sort keys and aggregates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from chalicelib.domain.cel_syntax import parse_row
from chalicelib.domain.errors import InvalidDocument
from chalicelib.domain.schema import Part

Json = Any

#: Columns and sort keys that one step may name: a row of more is no table to work with by hand.
MAX_NAMED = 100
#: Values that one `in` or `not_in` compares with.
MAX_LISTED = 1_000


def _cel(source: str) -> str:
    if "${" in source:
        # A template: what it gives is checked when the pipeline runs.
        return source
    try:
        parse_row(source)
    except InvalidDocument as refused:
        raise PydanticCustomError("bad_value", "{why}", {"why": refused.detail}) from None
    return source


def _table(value: Json) -> Json:
    if isinstance(value, list) or (isinstance(value, str) and value):
        return value
    raise PydanticCustomError("wrong_type", "A table is the name of an earlier one, an artifact id, or a list of rows")


def _columns(value: Json) -> Json:
    """One column, or a list of them, as a list of objects."""
    items = value if isinstance(value, list) else [value]
    return [{"column": item} if isinstance(item, str) else item for item in items]


def _pairs(value: Json) -> Json:
    """Columns to join on as a list of {left, right}."""
    items = value if isinstance(value, list) else [value]
    return [{"left": item, "right": item} if isinstance(item, str) else item for item in items]


def _names(value: Json) -> Json:
    return value if isinstance(value, list) else [value]


def _one_source(value: SelectColumn) -> SelectColumn:
    if (value.column is None) == (value.cel is None):
        raise PydanticCustomError("bad_value", "A selected column says exactly one of column and cel")
    if value.cel is not None and value.named is None:
        raise PydanticCustomError("bad_value", "A computed column needs a name; add as")
    return value


def _fitting(value: Comparison) -> Comparison:
    given = "value" in value.model_fields_set
    if value.op in ("is_null", "not_null"):
        if given:
            raise PydanticCustomError("bad_value", "{op} takes no value; remove it", {"op": value.op})
    elif not given:
        raise PydanticCustomError("bad_value", "{op} needs a value; add it", {"op": value.op})
    elif value.op in ("in", "not_in") and not _listed(value.value):
        raise PydanticCustomError("bad_value", "{op} takes a list of at most 1000 values", {"op": value.op})
    return value


def _listed(value: Json) -> bool:
    return (isinstance(value, list) and len(value) <= MAX_LISTED) or (isinstance(value, str) and "${" in value)


def _counted(value: Aggregate) -> Aggregate:
    if value.column is None and value.op != "count":
        raise PydanticCustomError("bad_value", "{op} needs a column; only count does without", {"op": value.op})
    return value


def _conditions(value: Json) -> Json:
    return value if isinstance(value, str) else _names(value)


def _kind(value: Json) -> str:
    return "<text>" if isinstance(value, str) else "<list>"


Column = Annotated[str, Field(min_length=1, max_length=256)]
Cel = Annotated[str, AfterValidator(_cel)]
Table = Annotated[Any, BeforeValidator(_table), WithJsonSchema({"type": ["string", "array"]})]
MaybeTable = Annotated[
    Any,
    BeforeValidator(lambda value: None if value is None else _table(value)),
    WithJsonSchema({"type": ["string", "array"]}),
]


class Comparison(Part):
    """One comparison of a column with a value."""

    column: Column
    op: Literal["==", "!=", "<", "<=", ">", ">=", "in", "not_in", "contains", "is_null", "not_null"]
    value: Any = None


class SortKey(Part):
    """One key of an order. Nulls and missing values come last unless `nulls` says first."""

    column: Column
    desc: bool | None = None
    nulls: Literal["first", "last"] | None = None


class SelectColumn(Part):
    """One column of a selection: taken over, renamed, or computed."""

    column: Column | None = None
    cel: Cel | None = None
    named: Column | None = Field(None, alias="as")


class JoinPair(Part):
    """Columns that must be equal."""

    left: Column
    right: Column


class Aggregate(Part):
    """One aggregate of a group."""

    op: Literal["sum", "avg", "min", "max", "count", "first", "last", "collect"]
    column: Column | None = None


_ONE_OR_MORE = WithJsonSchema({"type": ["string", "object", "array"]})
SortKeys = Annotated[list[SortKey], Field(min_length=1, max_length=MAX_NAMED), BeforeValidator(_columns), _ONE_OR_MORE]
Selected = Annotated[
    list[Annotated[SelectColumn, AfterValidator(_one_source)]],
    Field(min_length=1, max_length=MAX_NAMED),
    BeforeValidator(_columns),
    _ONE_OR_MORE,
]
Pairs = Annotated[list[JoinPair], Field(min_length=1, max_length=MAX_NAMED), BeforeValidator(_pairs), _ONE_OR_MORE]
Columns = Annotated[list[Column], Field(max_length=MAX_NAMED), BeforeValidator(_names), _ONE_OR_MORE]
Comparisons = Annotated[
    list[Annotated[Comparison, AfterValidator(_fitting)]], Field(min_length=1, max_length=MAX_NAMED)
]
Aggregates = Annotated[
    dict[Column, Annotated[Aggregate, AfterValidator(_counted)]], Field(min_length=1, max_length=MAX_NAMED)
]
Where = Annotated[
    Annotated[Cel, Tag("<text>")] | Annotated[Comparisons, Tag("<list>")],
    Discriminator(_kind),
    BeforeValidator(_conditions),
    _ONE_OR_MORE,
]
