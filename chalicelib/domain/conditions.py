"""Compiles and evaluates the conditions of SPEC 4: CEL, JSONPath and JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.domain import cel_runtime
from chalicelib.domain.cel_syntax import parse
from chalicelib.domain.errors import EvaluationError, InvalidDocument, Problem
from chalicelib.domain.ir import Condition, Expression
from chalicelib.domain.problem_list import pointer, shorten

Json = Any
_Compiled = tuple[Condition | None, list[Problem]]

_KEYS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    # type: (required keys, allowed keys), beside `type`
    "cel": (frozenset({"expression"}), frozenset({"expression"})),
    "jsonpath": (frozenset({"query", "operator"}), frozenset({"query", "operator", "value"})),
    "schema": (frozenset({"schema"}), frozenset({"schema", "invert", "path"})),
}


def evaluator() -> str:
    """Name and version of the expression evaluator, recorded in plans."""
    return cel_runtime.evaluator()


def compile_condition(raw: Json, path: str) -> _Compiled:
    """The condition that `raw` (CEL as a string, or a condition object) stands for, and every problem, under `path`."""
    if isinstance(raw, str):
        return _cel({"type": "cel", "expression": raw}, path, path)
    if not isinstance(raw, dict):
        text = 'A condition is a CEL string or an object such as {"type": "cel", "expression": "output.ok"}.'
        return None, [Problem("bad_condition", path, text)]
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        text = f"The condition type is {shorten(kind)!r}; use one of {', '.join(_KEYS)}."
        return None, [Problem("bad_condition", f"{path}/type", text)]
    problems = _key_problems(raw, kind, path)
    if any(problem.code == "missing_key" for problem in problems):
        return None, problems
    condition, more = _COMPILERS[kind](raw, path)
    problems += more
    return (None if problems else condition), problems


def _key_problems(raw: dict[str, Json], kind: str, path: str) -> list[Problem]:
    required, allowed = _KEYS[kind]
    problems = [
        Problem("missing_key", path, f"A {kind} condition needs the key {key!r}.")
        for key in sorted(required)
        if key not in raw
    ]
    for key in raw:
        if key != "type" and key not in allowed:
            text = f"A {kind} condition has no key {shorten(key)!r}; it takes {', '.join(sorted(allowed))}."
            problems.append(Problem("unknown_key", path + pointer(key), text))
    return problems


def _cel(raw: dict[str, Json], path: str, at: str) -> _Compiled:
    source = raw["expression"]
    if not isinstance(source, str):
        return None, [Problem("bad_condition", at, "`expression` is CEL in a string.")]
    try:
        expression = parse(source)
    except InvalidDocument as error:
        return None, [Problem(problem.code, at, problem.message) for problem in error.problems]
    return Condition("cel", {"type": "cel", "expression": source}, expression), []


def _cel_object(raw: dict[str, Json], path: str) -> _Compiled:
    return _cel(raw, path, f"{path}/expression")


# JSONPath and JSON Schema are loaded when a document first uses them: together they double the time of a cold start.


def _jsonpath(raw: dict[str, Json], path: str) -> _Compiled:
    from chalicelib.domain import jsonpath_conditions  # noqa: PLC0415

    return jsonpath_conditions.compile_condition(raw, path)


def _schema(raw: dict[str, Json], path: str) -> _Compiled:
    from chalicelib.domain import schema_conditions  # noqa: PLC0415

    return schema_conditions.compile_condition(raw, path)


_COMPILERS: dict[str, Callable[[dict[str, Json], str], _Compiled]] = {
    "cel": _cel_object,
    "jsonpath": _jsonpath,
    "schema": _schema,
}


def evaluate(expression: Expression, values: Mapping[str, Json]) -> Json:
    """The value of a compiled expression as plain JSON.

    `values` holds the variables by name; missing ones are null, `ctx` an empty map. Raises EvaluationError.
    """
    try:
        ready = cel_runtime.program(expression.source)
    except cel_runtime.CompileError as error:
        raise EvaluationError(error.problems[0][1]) from error
    return cel_runtime.run(ready, values)


def holds(condition: Condition, values: Mapping[str, Json]) -> bool:
    """Whether the condition is true of `values`. Raises EvaluationError, also when CEL gives no bool."""
    if condition.kind == "jsonpath":
        from chalicelib.domain import jsonpath_conditions  # noqa: PLC0415

        return jsonpath_conditions.holds(condition.spec, values)
    if condition.kind == "schema":
        from chalicelib.domain import schema_conditions  # noqa: PLC0415

        return schema_conditions.holds(condition.spec, values)
    value = evaluate(condition.expression, values)
    if not isinstance(value, bool):
        raise EvaluationError(f"The condition gave {_described(value)}, not true or false; compare it with something.")
    return value


def _described(value: Json) -> str:
    names: dict[type, str] = {dict: "a map", list: "a list", str: "a string", type(None): "null"}
    return names.get(type(value), "a number")
