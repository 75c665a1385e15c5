"""Parses CEL at compile time: what an expression reads, or every reason why it is refused."""

from __future__ import annotations

from functools import lru_cache

from chalicelib.domain import cel_cost, cel_runtime
from chalicelib.domain.cel_analysis import NAMES, ROW
from chalicelib.domain.errors import InvalidDocument, Problem
from chalicelib.domain.ir import Expression


@lru_cache(maxsize=4096)
def parse(source: str) -> Expression:
    """The expression with the names, nodes and paths it reads.

    Raises InvalidDocument with every problem, each at path "" (callers put their own before it). The codes are
    cel_syntax cel_too_long cel_too_deep cel_comprehension_depth cel_unknown_name cel_unknown_function cel_dynamic_ctx.
    """
    return _known(_expression(source), NAMES)


@lru_cache(maxsize=4096)
def parse_row(source: str) -> Expression:
    """An expression of a pipeline step, whose one variable is `row`. Raises InvalidDocument as `parse` does."""
    return _known(_expression(source), frozenset({ROW}))


@lru_cache(maxsize=4096)
def row_weight(source: str) -> int:
    """How many plain evaluations one of this expression counts as: lists written in it are gone over for every row."""
    ready = cel_runtime.program(source)
    iterations: int = ready.literal_items**ready.findings.depth
    return 1 + min(cel_cost.MAX_ITERATIONS, iterations) // 10


def _expression(source: str) -> Expression:
    try:
        paths = cel_runtime.program(source).paths
    except cel_runtime.CompileError as error:
        problems = tuple(Problem(code, "", text) for code, text in error.problems)
        raise InvalidDocument(problems[0].message, problems) from error
    return Expression(
        source,
        names=tuple(sorted({path[0] for path in paths})),
        nodes=tuple(sorted({path[1] for path in paths if path[0] == "ctx"})),
        paths=paths,
    )


def _known(expression: Expression, names: frozenset[str]) -> Expression:
    problems = tuple(
        Problem("cel_unknown_name", "", f"Nothing is called {name!r}; known are {', '.join(sorted(names))}.")
        for name in expression.names
        if name not in names
    )
    if problems:
        raise InvalidDocument(problems[0].message, problems)
    return expression
