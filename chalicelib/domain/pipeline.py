"""Runs a pipeline: table steps over rows, one after the other, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.domain.pipeline_check import check_pipeline, data_tables
from chalicelib.domain.pipeline_groups import group_rows
from chalicelib.domain.pipeline_joins import join_tables
from chalicelib.domain.pipeline_rows import filter_rows, select_columns, sort_rows, top_rows
from chalicelib.domain.pipeline_steps import (
    ARTIFACT,
    FilterStep,
    GroupStep,
    HttpStep,
    JoinStep,
    SelectStep,
    SortStep,
    Step,
    TopStep,
    looks,
)
from chalicelib.domain.pipeline_tables import Budget, Table, as_table, described, failed
from chalicelib.domain.problem_list import shorten
from chalicelib.domain.schema import Part

Json = Any
#: Config of an http node -> `{status, headers, body}`. Raises TaskError.
Http = Callable[[dict[str, Json]], Json]
#: Artifact id -> its JSON value. Raises any error where it cannot be had.
Fetch = Callable[[str], Json]
PATH = "/pipeline"
#: Steps of one table -> what they do.
_WORK: dict[type[Part], Callable[[Any, Table, str, Budget], Table]] = {
    FilterStep: filter_rows,
    SortStep: sort_rows,
    SelectStep: select_columns,
    GroupStep: group_rows,
    TopStep: top_rows,
}


def run_pipeline(steps: Json, data: Json = None, *, http: Http | None, fetch: Fetch) -> Table:
    """The table that the last step gives.

    `data` is a list of rows or an artifact id for the first step, or an object of such tables by name.
    Raises TaskError: `PipelineError`, not retryable, whose message begins with the step's JSON Pointer
    (`/pipeline/3/by: …`); and what `http` and `fetch` raise, with the pointer put before a TaskError's message.
    """
    tables, current = data_tables(data)
    found, problems = check_pipeline(steps, PATH, tables=tables, current=current, templated=False)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise failed(problems[0].path, problems[0].message + more)
    try:
        return _Run(http, fetch, data).all(found)
    except RecursionError:
        raise failed(PATH, "a value is nested too deep; flatten it") from None


class _Run:
    """One pipeline at work: its named tables and what it may still make."""

    def __init__(self, http: Http | None, fetch: Fetch, data: Json) -> None:
        self._http, self._fetch = http, fetch
        self._budget = Budget()
        self._named: dict[str, Json] = dict(data) if isinstance(data, dict) else {}
        #: Names and artifacts that are checked tables by now.
        self._checked: dict[str, Table] = {}
        self._current: Json = None if isinstance(data, dict) else data
        self._is_checked = False

    def all(self, steps: list[Step]) -> Table:
        table: Table = []
        for number, step in enumerate(steps):
            table = self._step(step, f"{PATH}/{number}")
            self._current, self._is_checked = table, True
            if step.named is not None:
                self._named[step.named] = self._checked[step.named] = table
        return table

    def _step(self, step: Step, path: str) -> Table:
        if isinstance(step, HttpStep):
            return self._request(step, path)
        table = self._table(step.source, f"{path}/from")
        other = self._table(step.other, f"{path}/with") if isinstance(step, JoinStep) else []
        self._budget.look((len(table) + len(other)) * looks(step), path)
        if isinstance(step, JoinStep):
            return join_tables(step, table, other, path, self._budget)
        return _WORK[type(step)](step, table, path, self._budget)

    def _table(self, source: Json, path: str) -> Table:
        if source is None:
            if self._is_checked:
                return self._current  # type: ignore[no-any-return]
            source = self._current
        if isinstance(source, str) and not source.startswith(ARTIFACT):
            return self._by_name(source, path)
        return self._read(source, path)

    def _by_name(self, name: str, path: str) -> Table:
        if name not in self._named:
            raise failed(path, f'there is no table "{shorten(name)}"; name an earlier one with as')
        if name not in self._checked:
            self._checked[name] = self._read(self._named[name], path)
        return self._checked[name]

    def _read(self, source: Json, path: str) -> Table:
        if not isinstance(source, str) or not source.startswith(ARTIFACT):
            return as_table(source, path, self._budget)
        if source not in self._checked:
            self._checked[source] = as_table(self._fetch(source), path, self._budget)
        return self._checked[source]

    def _request(self, step: HttpStep, path: str) -> Table:
        if self._http is None:
            raise failed(path, "http_request cannot be used here; fetch with an http node")
        config = step.model_dump(exclude_none=True, exclude={"step", "rows", "named"})
        try:
            body = self._http(config)["body"]
        except TaskError as error:
            raise TaskError(error.type, f"{path}: {error.message}", error.retryable) from error
        return as_table(_at(body, step.rows or "", f"{path}/rows"), f"{path}/rows", self._budget)


def _at(body: Json, rows: str, path: str) -> Json:
    """The value at the JSON Pointer `rows` of a response body. Raises TaskError saying how far it led."""
    here = body
    for segment in rows.split("/")[1:]:
        name = segment.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict) and name in here:
            here = here[name]
        elif isinstance(here, list) and name.isdecimal() and name.isascii() and len(name) < 8 and int(name) < len(here):
            here = here[int(name)]
        else:
            raise failed(path, f'the response has no "{shorten(name)}" there; found {_with_keys(here)}')
    if not isinstance(here, list):
        raise failed(path, f"found {_with_keys(here)}; point rows at the list of objects, such as /items")
    return here


def _with_keys(value: Json) -> str:
    if isinstance(value, dict):
        return f"an object with {shorten(', '.join(map(str, list(value)[:20])), 300) or 'no keys'}"
    return described(value)
