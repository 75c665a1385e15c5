"""Checks the steps of a pipeline against their models, and that every table they read is there by then."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from chalicelib.domain.errors import Problem
from chalicelib.domain.pipeline_parts import Aggregate, Comparison, JoinPair, SelectColumn, SortKey
from chalicelib.domain.pipeline_steps import ARTIFACT, STEPS, HttpStep, Step
from chalicelib.domain.pipeline_tables import MAX_STEPS
from chalicelib.domain.problem_list import pointer, shorten
from chalicelib.domain.refusals import code_of, holds, sentence
from chalicelib.domain.schema import Part

Json = Any
Loc = tuple[int | str, ...]
_ADAPTERS = {name: TypeAdapter(model) for name, model in STEPS.items()}
#: Key of a step -> the model of what stands there.
PARTS: dict[str, type[Part]] = {
    "where": Comparison,
    "by": SortKey,
    "columns": SelectColumn,
    "on": JoinPair,
    "aggregates": Aggregate,
}
#: Keys that take no template: they are the pipeline's own structure.
_FIXED = ("step", "as")


def check_pipeline(
    steps: Json, path: str, *, tables: Collection[str] | None, current: bool, templated: bool
) -> tuple[list[Step], list[Problem]]:
    """The steps as models (those that are right), and every problem, at JSON Pointers under `path`.

    `tables` are the names that the data brings, None where that is not known yet; `current`: whether it brings a table
    for the first step. With `templated`, values with `${` are left to the check of the run.
    """
    if not isinstance(steps, list) or not steps:
        text = "A pipeline is a list of steps, each an object with a step; write it out."
        return [], [Problem("wrong_type", path, text)]
    if len(steps) > MAX_STEPS:
        return [], [Problem("limit_exceeded", path, f"There are {len(steps)} steps, at most {MAX_STEPS} are allowed.")]
    found: list[Step] = []
    problems: list[Problem] = []
    known = None if tables is None else set(tables)
    for number, raw in enumerate(steps):
        at = path + pointer(number)
        step, refused = _step(raw, at, templated)
        problems += refused
        if isinstance(raw, dict):
            problems += _readings(raw, at, known, first=number == 0 and not current)
            name = raw.get("as")
            if known is not None and isinstance(name, str):
                if name in known:
                    text = f'There is a table "{shorten(name)}" already; choose another name.'
                    problems.append(Problem("bad_value", f"{at}/as", text))
                known.add(name)
        if step is not None:
            found.append(step)
    return found, problems


def data_tables(data: Json) -> tuple[set[str] | None, bool]:
    """(names of the tables that `data` brings, whether it brings the first step's table); None: not known yet."""
    if isinstance(data, dict):
        return set(data), False
    return (None if isinstance(data, str) and "${" in data else set()), data is not None


def _readings(raw: dict[str, Json], at: str, known: set[str] | None, *, first: bool) -> Iterator[Problem]:
    name = raw.get("step")
    if first and raw.get("from") is None and isinstance(name, str) and name in STEPS and name != "http_request":
        text = "The first step has no table to work on; add from here, or data beside the pipeline."
        yield Problem("missing_key", f"{at}/from", text)
    for key in ("from", "with"):
        name = raw.get(key)
        if known is None or not isinstance(name, str) or not name or "${" in name or name.startswith(ARTIFACT):
            continue
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            text = (
                f'No step before this one names its table "{shorten(name)}" with as; known here: {shorten(names, 300)}.'
            )
            yield Problem("unknown_table", f"{at}/{key}", text)


def _step(raw: Json, at: str, templated: bool) -> tuple[Step | None, list[Problem]]:
    if not isinstance(raw, dict):
        return None, [Problem("wrong_type", at, "A step is an object with the key step; correct it.")]
    name = raw.get("step")
    if not isinstance(name, str) or name not in STEPS:
        text = f"Each step names one of {', '.join(STEPS)} as its step; correct it."
        return None, [Problem("bad_value" if "step" in raw else "missing_key", f"{at}/step", text)]
    try:
        step = cast(Step, _ADAPTERS[name].validate_python(raw))
    except ValidationError as refused:
        errors = refused.errors(include_url=False)
        return None, [
            problem
            for error in errors
            if not (templated and _late(error["input"], error["loc"]))
            for problem in [_problem(error["type"], error["msg"], error["loc"], raw, at, name)]
        ]
    return step, _pointer_problem(step, at)


def _late(value: Json, loc: Loc) -> bool:
    """Whether the refused value is a template, to be checked when it has been filled."""
    return isinstance(value, str) and "${" in value and loc[0] not in _FIXED


def _pointer_problem(step: Step, at: str) -> list[Problem]:
    rows = step.rows if isinstance(step, HttpStep) else None
    if not rows or rows.startswith("/") or "${" in rows:
        return []
    text = "rows is a JSON Pointer to the list in the response body, such as /data/items; correct it."
    return [Problem("bad_value", f"{at}/rows", text)]


def _problem(kind: str, text: str, loc: Loc, raw: Json, at: str, name: str) -> Problem:
    code = code_of(kind)
    named = [str(part) for part in loc if not str(part).startswith("<")]
    key = shorten(named[-1] if named else name)
    where = at + pointer(*_located(raw, loc, missing=code == "missing_key"))
    known = _keys(name if len(loc) == 1 else str(loc[0])) if code == "unknown_key" else ()
    return Problem(code, where, sentence(code, text, key, known))


def _keys(name: str) -> list[str]:
    """The keys of a step, or of the objects that one of its keys takes."""
    return [field.alias or key for key, field in (STEPS | PARTS)[name].model_fields.items()]


def _located(value: Json, loc: Loc, *, missing: bool) -> Loc:
    """The part of a pydantic location that the step has: union tags and indexes of wrapped values are left out."""
    found: list[int | str] = []
    for step in loc:
        if holds(value, step):
            value = value[step]
        elif not (missing and step == loc[-1]):
            continue
        found.append(step)
    return tuple(found)
