"""The steps of a pipeline as pydantic models: the config that each takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chalicelib.domain.node_config import HttpConfig
from chalicelib.domain.pipeline_parts import Aggregates, Columns, MaybeTable, Pairs, Selected, SortKeys, Table, Where
from chalicelib.domain.schema import Id, Part

#: Rows that `top_k` keeps at most: past this it is a sort.
MAX_K = 10_000
ARTIFACT = "artifact://sha256/"


class _Step(Part):
    named: Id | None = Field(None, alias="as")


class _TableStep(_Step):
    source: MaybeTable = Field(None, alias="from")


class HttpStep(HttpConfig):
    """Asks for a table; takes what an `http` node takes, but no secrets."""

    step: Literal["http_request"]
    rows: str | None = None
    named: Id | None = Field(None, alias="as")


class FilterStep(_TableStep):
    """Keeps the rows for which `where` holds."""

    step: Literal["table_filter"]
    where: Where


class SortStep(_TableStep):
    """Orders the rows; rows with equal keys keep their order."""

    step: Literal["table_sort"]
    by: SortKeys


class SelectStep(_TableStep):
    """Keeps, renames and computes columns."""

    step: Literal["table_select"]
    columns: Selected


class JoinStep(_TableStep):
    """Joins the table with another on equal columns."""

    step: Literal["table_join"]
    other: Table = Field(alias="with")
    on: Pairs
    how: Literal["inner", "left", "outer"] | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class GroupStep(_TableStep):
    """One row for each combination of the values of `by`, with aggregates."""

    step: Literal["table_group"]
    by: Columns
    aggregates: Aggregates


class TopStep(_TableStep):
    """The first `k` rows by `by`, greatest first unless a key says otherwise."""

    step: Literal["top_k"]
    k: Annotated[int, Field(ge=1, le=MAX_K)]
    by: SortKeys


Step = HttpStep | FilterStep | SortStep | SelectStep | JoinStep | GroupStep | TopStep
STEPS: dict[str, type[Part]] = {
    "http_request": HttpStep,
    "table_filter": FilterStep,
    "table_sort": SortStep,
    "table_select": SelectStep,
    "table_join": JoinStep,
    "table_group": GroupStep,
    "top_k": TopStep,
}


def looks(step: Step) -> int:
    """How many values of each row the step looks at, about; ordering looks at a key several times."""
    if isinstance(step, FilterStep):
        return 1 if isinstance(step.where, str) else len(step.where)
    if isinstance(step, SortStep | TopStep):
        return 4 * len(step.by)
    if isinstance(step, GroupStep):
        return len(step.by) + len(step.aggregates)
    if isinstance(step, JoinStep):
        return 1 + len(step.on)
    return len(step.columns) if isinstance(step, SelectStep) else 1
