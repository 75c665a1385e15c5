"""Checks that a patch is a list of well-formed RFC 6902 operations."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.errors import InvalidInput, Problem
from chalicelib.domain.problem_list import pointer

Json = Any
#: Operations of one patch.
MAX_OPERATIONS = 1_000
#: Problems of one answer.
_MOST_PROBLEMS = 50
_OPS = ("add", "remove", "replace", "move", "copy", "test")


def check_shape(operations: Json) -> None:
    """Raises InvalidInput with every malformed operation."""
    if not isinstance(operations, list):
        raise refused(Problem("wrong_type", "/operations", "Send a list of JSON Patch operations."))
    if len(operations) > MAX_OPERATIONS:
        text = f"There are {len(operations)} operations, at most {MAX_OPERATIONS} are allowed; send several patches."
        raise refused(Problem("limit_exceeded", "/operations", text))
    problems = [problem for number, item in enumerate(operations) for problem in _problems(number, item)]
    if problems:
        raise refused(*problems[:_MOST_PROBLEMS])


def kept(operations: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """Well-formed operations without members that mean nothing, as history keeps them."""
    return [{name: operation[name] for name in _members(operation) if name in operation} for operation in operations]


def _members(operation: dict[str, Json]) -> tuple[str, ...]:
    return ("op", "from", "path") if operation["op"] in ("move", "copy") else ("op", "path", "value")


def refused(*problems: Problem) -> InvalidInput:
    """The error of operations that cannot be applied."""
    return InvalidInput(f"The patch cannot be applied: {problems[0].message}", problems)


def _problems(number: int, operation: Json) -> list[Problem]:
    if not isinstance(operation, dict):
        return [Problem("wrong_type", pointer("operations", number), "An operation is an object with op and path.")]
    problems: list[Problem] = []
    op = operation.get("op")
    if not isinstance(op, str) or op not in _OPS:
        problems.append(Problem("unknown_op", pointer("operations", number, "op"), f"op is one of {', '.join(_OPS)}."))
    for name in ("path", "from") if op in ("move", "copy") else ("path",):
        if not isinstance(operation.get(name), str):
            text = f"{name} must be a JSON Pointer, such as /nodes/fetch/config/url."
            problems.append(Problem("bad_pointer", pointer("operations", number, name), text))
    if op in ("add", "replace", "test") and "value" not in operation:
        problems.append(Problem("missing", pointer("operations", number, "value"), f"{op} needs a value."))
    return problems
