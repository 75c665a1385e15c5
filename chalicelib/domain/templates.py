"""Finds `${ CEL }` slots in JSON values when a document is compiled, and fills them once at run time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.domain.cel_syntax import parse
from chalicelib.domain.conditions import evaluate
from chalicelib.domain.errors import EvaluationError, InvalidDocument, Problem, TemplateError
from chalicelib.domain.ir import Expression, Slot, Template
from chalicelib.domain.problem_list import pointer, shorten
from chalicelib.domain.template_text import Code, Text, Unterminated, split

Json = Any
_Path = tuple[str | int, ...]

#: Objects and arrays inside one another in a templated value.
MAX_DEPTH = 100
_SECRET = re.compile(r"\s*secret\s*\.")
_SECRET_NAME = re.compile(r"secret\.[A-Za-z_][A-Za-z0-9_-]*")


def compile_template(value: Json, path: str, *, allow_secrets: bool = False) -> tuple[Template, list[Problem]]:
    """The template in `value`, and every problem of its slots at JSON Pointers under `path`.

    With `allow_secrets`, `${secret.NAME}` alone in a string stays as it is, for the worker to resolve.
    """
    problems: list[Problem] = []
    slots: list[Slot] = []
    for at, text in _strings(value, (), path, problems):
        if "${" in text:
            slot = _slot(text, at, path + pointer(*at), allow_secrets, problems)
            if slot is not None:
                slots.append(slot)
    expressions = [part for slot in slots for part in slot.parts if isinstance(part, Expression)]
    names = tuple(sorted({name for expression in expressions for name in expression.names}))
    nodes = tuple(sorted({node for expression in expressions for node in expression.nodes}))
    return Template(value, tuple(slots), names, nodes), problems


def _strings(value: Json, at: _Path, path: str, problems: list[Problem]) -> Iterator[tuple[_Path, str]]:
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, dict | list):
        if len(at) >= MAX_DEPTH:
            problems.append(Problem("too_deep", path, f"The value nests more than {MAX_DEPTH} deep; flatten it."))
            return
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(item, (*at, key), path, problems)


def _slot(text: str, at: _Path, path: str, allow_secrets: bool, problems: list[Problem]) -> Slot | None:
    try:
        parts = split(text)
    except Unterminated as error:
        message = f"The ${{ at character {error.position} has no }}; close it, or write $${{ for a literal ${{."
        problems.append(Problem("template_unterminated", path, message))
        return None
    compiled: list[str | Expression] = []
    for part in parts:
        if isinstance(part, Text):
            compiled.append(part.value)
        elif _SECRET.match(part.source):
            compiled.append(f"${{{part.source}}}")
            problem = _secret_problem(part.source.strip(), len(parts) == 1, allow_secrets)
            if problem:
                problems.append(Problem(problem[0], path, problem[1]))
        else:
            compiled += _expression(part, path, problems)
    return Slot(at, tuple(compiled))


def _secret_problem(source: str, alone: bool, allowed: bool) -> tuple[str, str] | None:
    if not allowed:
        return "secret_not_allowed", "Secrets are read only in the config of function, http and agent nodes."
    if not alone:
        return "secret_not_alone", f"Let ${{{shorten(source)}}} stand alone in its string."
    if not _SECRET_NAME.fullmatch(source):
        return (
            "secret_name",
            "Write a secret as ${secret.NAME}, of letters, digits, _ and -, not starting with a digit.",
        )
    return None


def _expression(part: Code, path: str, problems: list[Problem]) -> list[Expression]:
    try:
        return [parse(part.source)]
    except InvalidDocument as error:
        for problem in error.problems:
            message = f"{problem.message} (in ${{{shorten(part.source)}}})"
            problems.append(Problem(problem.code, path, message))
        return []


def render(template: Template, values: Mapping[str, Json], path: str = "") -> Json:
    """A copy of the template's value with its slots filled; what they give is never evaluated again.

    Raises TemplateError whose `problems[0]` names the JSON Pointer (under `path`) and the expression.
    """
    filled = {slot.path: _fill(slot, values, path) for slot in template.slots}
    return _build(template.value, (), filled)


def data_spans(template: Template, at: _Path, values: Mapping[str, Json]) -> list[list[int]]:
    """[start, end] of each part of the text at `at` that an expression gives, in characters of the rendered text.

    Raises TemplateError.
    """
    spans: list[list[int]] = []
    for slot in template.slots:
        if slot.path == at:
            here = 0
            for part in slot.parts:
                text = part if isinstance(part, str) else _as_text(_value(part, slot, values, "/config"))
                if not isinstance(part, str):
                    spans.append([here, here + len(text)])
                here += len(text)
    return spans


def _build(value: Json, at: _Path, filled: dict[_Path, Json]) -> Json:
    if isinstance(value, dict):
        return {key: _build(item, (*at, key), filled) for key, item in value.items()}
    if isinstance(value, list):
        return [_build(item, (*at, index), filled) for index, item in enumerate(value)]
    return filled.get(at, value) if isinstance(value, str) else value


def _fill(slot: Slot, values: Mapping[str, Json], path: str) -> Json:
    if len(slot.parts) == 1 and isinstance(slot.parts[0], Expression):
        return _value(slot.parts[0], slot, values, path)
    return "".join(part if isinstance(part, str) else _as_text(_value(part, slot, values, path)) for part in slot.parts)


def _value(expression: Expression, slot: Slot, values: Mapping[str, Json], path: str) -> Json:
    try:
        return evaluate(expression, values)
    except EvaluationError as error:
        at = path + pointer(*slot.path)
        message = f"The template ${{{shorten(expression.source.strip(), 200)}}} failed: {error.detail}"
        raise TemplateError(
            f"{message} (at {at or 'the value itself'})", (Problem("template", at, message),)
        ) from error


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
