"""Runs JSONPath queries (RFC 9535) within a budget of steps, so that no query can take unbounded time."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from jsonpath import JSONPathEnvironment, JSONPathError, JSONPathMatch
from jsonpath.filter import FilterQuery
from jsonpath.function_extensions import ExpressionType, FilterFunction
from jsonpath.selectors import Filter, NameSelector

from chalicelib.domain import text_patterns
from chalicelib.domain.errors import EvaluationError

Json = Any
#: A part of a compiled query: the library tells filters, paths and selectors apart by class only.
Part = Any

#: Characters of a query.
MAX_QUERY = 4096
#: Values that one query may visit, also inside its filters: about two seconds.
MAX_STEPS = 100_000


class QueryError(ValueError):
    """The text is no JSONPath; the message says why."""


class _Work(threading.local):
    steps = 0


_work = _Work()


def _step() -> None:
    _work.steps += 1
    if _work.steps > MAX_STEPS:
        raise EvaluationError(f"The JSONPath query visits more than {MAX_STEPS} values; name a narrower path.")


class _Visited(JSONPathMatch):
    """A visited value; visiting another below it is a step."""

    def new_child(self, obj: object, key: int | str) -> JSONPathMatch:
        _step()
        return super().new_child(obj, key)


class _Counted:
    """A compiled query whose visits are counted, in its filters too."""

    def __init__(self, query: Part) -> None:
        self.query = query
        for segment in query.segments:
            for selector in segment.selectors:
                if isinstance(selector, Filter):
                    _count_inside(selector.expression)

    def finditer(self, data: Json, *, filter_context: Json = None) -> Iterable[JSONPathMatch]:
        _step()
        root = _Visited(filter_context=filter_context or {}, obj=data, parent=None, path="$", parts=(), root=data)
        found: Iterable[JSONPathMatch] = [root]
        for segment in self.query.segments:
            found = segment.resolve(found)
        return found

    def __getattr__(self, name: str) -> Part:
        return getattr(self.query, name)


def _count_inside(expression: Part) -> None:
    if isinstance(expression, FilterQuery):
        counted: Part = _Counted(expression.path)
        expression.path = counted
        return
    for child in expression.children():
        _count_inside(child)


class _Pattern(FilterFunction):
    """`match` and `search` by RE2; the library's own could backtrack without end."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]  # noqa: RUF012 - the library declares it so
    return_type = ExpressionType.LOGICAL

    def __init__(self, form: str) -> None:
        self.form = form

    def __call__(self, value: object, pattern: object) -> bool:
        _step()
        if not isinstance(value, str) or not isinstance(pattern, str):
            return False
        return text_patterns.search(self.form.replace("?", pattern), value)


def _environment() -> JSONPathEnvironment:
    env = JSONPathEnvironment(strict=True)
    env.function_extensions["match"] = _Pattern("^(?)$")
    env.function_extensions["search"] = _Pattern("?")
    return env


_ENVIRONMENT = _environment()


@lru_cache(maxsize=1024)
def _compiled(text: str) -> _Counted:
    if len(text) > MAX_QUERY:
        raise QueryError(f"The query has {len(text)} characters; use at most {MAX_QUERY}.")
    try:
        return _Counted(_ENVIRONMENT.compile(text))
    except RecursionError as error:
        raise QueryError("The query nests too deeply; use a simpler one.") from error
    except (JSONPathError, ValueError, IndexError, KeyError) as error:
        reason = (str(error).splitlines() or ["it cannot be read"])[0][:300]
        raise QueryError(f"The query is not a JSONPath of RFC 9535: {reason}.") from error


def find(text: str, data: Json) -> Iterator[Json]:
    """The values that the query finds, in order. Raises EvaluationError past the budget or the nesting limit."""
    _work.steps = 0
    try:
        for match in _compiled(text).finditer(data):
            yield match.obj
    except (JSONPathError, QueryError, RecursionError) as error:
        raise EvaluationError(f"The JSONPath query failed: {str(error).splitlines()[0]}.") from error


def paths(text: str) -> set[tuple[str, ...]]:
    """The literal beginnings of the query and of those from the root in its filters. Raises QueryError."""
    found: set[tuple[str, ...]] = set()
    pending: list[tuple[Part, bool]] = [(_compiled(text), True)]
    while pending:
        query, from_root = pending.pop()
        if from_root:
            found.add(_beginning(query))
        for segment in query.segments:
            for selector in segment.selectors:
                if isinstance(selector, Filter):
                    pending += _inner(selector.expression)
    return found


def _inner(expression: Part) -> list[tuple[Part, bool]]:
    if isinstance(expression, FilterQuery):
        return [(expression.path, not expression.volatile)]
    return [pair for child in expression.children() for pair in _inner(child)]


def _beginning(query: Part) -> tuple[str, ...]:
    names: list[str] = []
    for segment in query.segments:
        selectors = segment.selectors
        literal = len(selectors) == 1 and isinstance(selectors[0], NameSelector)
        if not literal or type(segment).__name__ != "JSONPathChildSegment":
            break
        names.append(selectors[0].name)
    return tuple(names)
