"""JSONPath conditions (RFC 9535): a query, an operator, and a value that one result must satisfy."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.domain import jsonpath_query, text_patterns
from chalicelib.domain.cel_functions import identity
from chalicelib.domain.errors import EvaluationError, Problem
from chalicelib.domain.ir import Condition, Expression
from chalicelib.domain.problem_list import shorten

Json = Any
Check = Callable[[Json, Json], bool]

#: What JSONPath and schema conditions see (SPEC 4).
VISIBLE = ("output", "ctx", "vars", "input", "error", "item", "index", "iteration")


def _ordered(compare: Check) -> Check:
    """`compare` for two numbers or two strings; anything else is in no order."""

    def check(found: Json, value: Json) -> bool:
        kinds = {_order_kind(found), _order_kind(value)}
        return len(kinds) == 1 and None not in kinds and compare(found, value)

    return check


def _order_kind(value: Json) -> str | None:
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else None


def _equal(found: Json, value: Json) -> bool:
    return identity(found) == identity(value)


def _contains(found: Json, value: Json) -> bool:
    if isinstance(found, list):
        return any(_equal(item, value) for item in found)
    return isinstance(value, str) and isinstance(found, dict | str) and value in found


_UNARY = ("exists", "not_exists")
_OPERATORS: dict[str, Check] = {
    "==": _equal,
    "!=": lambda found, value: not _equal(found, value),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "in": lambda found, value: any(_equal(found, item) for item in value),
    "contains": _contains,
    "matches": lambda found, value: isinstance(found, str) and text_patterns.search(value, found),
}


def holds(spec: dict[str, Json], values: Mapping[str, Json]) -> bool:
    """Whether one result of the query satisfies the operator. Raises EvaluationError."""
    data = {name: values[name] for name in VISIBLE if name in values}
    found = jsonpath_query.find(spec["query"], data)
    if spec["operator"] in _UNARY:
        there = next(found, _NOTHING) is not _NOTHING
        return there if spec["operator"] == "exists" else not there
    check = _OPERATORS[spec["operator"]]
    try:
        return any(check(value, spec["value"]) for value in found)
    except RecursionError as error:
        raise EvaluationError("The values nest too deeply to be compared; name a narrower path.") from error


_NOTHING = object()


def compile_condition(raw: dict[str, Json], path: str) -> tuple[Condition | None, list[Problem]]:
    """The compiled condition and every problem of query, operator and value."""
    problems: list[Problem] = []
    _check_operator(raw, path, problems)
    reads = _check_query(raw["query"], f"{path}/query", problems)
    if problems or reads is None:
        return None, problems
    spec: dict[str, Json] = {key: raw[key] for key in ("type", "query", "operator", "value") if key in raw}
    return Condition("jsonpath", spec, reads), []


def _check_operator(raw: dict[str, Json], path: str, problems: list[Problem]) -> None:
    name = raw["operator"]
    if not isinstance(name, str) or (name not in _UNARY and name not in _OPERATORS):
        text = f"The operator is {shorten(name)!r}; use one of {' '.join((*_UNARY, *_OPERATORS))}."
        problems.append(Problem("bad_operator", f"{path}/operator", text))
        return
    if name in _UNARY:
        if "value" in raw:
            problems.append(Problem("bad_value", f"{path}/value", f"The operator {name} takes no `value`; remove it."))
        return
    if "value" not in raw:
        problems.append(Problem("missing_key", path, f"The operator {name} needs the key 'value'."))
        return
    refused = _value_problem(name, raw["value"])
    if refused:
        problems.append(Problem("bad_value", f"{path}/value", refused))


def _value_problem(name: str, value: Json) -> str | None:
    if name == "in" and not isinstance(value, list):
        return "The operator in needs a list as `value`."
    if name in {"<", "<=", ">", ">="} and (isinstance(value, bool) or not isinstance(value, int | float | str)):
        return f"The operator {name} needs a number or a string as `value`."
    if name == "matches":
        if not isinstance(value, str):
            return "The operator matches needs a regular expression as `value`."
        return text_patterns.problem(value)
    return None


def _check_query(query: Json, at: str, problems: list[Problem]) -> Expression | None:
    if not isinstance(query, str):
        problems.append(Problem("jsonpath_syntax", at, "`query` is a JSONPath in a string, such as $.output.items[0]."))
        return None
    try:
        paths = jsonpath_query.paths(query)
    except jsonpath_query.QueryError as error:
        problems.append(Problem("jsonpath_syntax", at, str(error)))
        return None
    for path in sorted(paths):
        if not path or path[0] not in VISIBLE:
            text = f"The query starts with {'$' if not path else path[0]!r}; start with one of {', '.join(VISIBLE)}."
            problems.append(Problem("jsonpath_unknown_name", at, text))
        elif path == ("ctx",):
            problems.append(Problem("jsonpath_dynamic_ctx", at, "Name the node that is read, as $.ctx.node_id."))
    names = tuple(sorted({path[0] for path in paths if path}))
    nodes = tuple(sorted({path[1] for path in paths if len(path) > 1 and path[0] == "ctx"}))
    return Expression("", names, nodes, tuple(sorted(paths)))
