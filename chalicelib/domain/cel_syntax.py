"""Parses CEL at compile time: what an expression reads, or every reason why it is refused."""

from __future__ import annotations

from functools import lru_cache

from chalicelib.domain import cel_runtime
from chalicelib.domain.errors import InvalidDocument, Problem
from chalicelib.domain.ir import Expression


@lru_cache(maxsize=4096)
def parse(source: str) -> Expression:
    """The expression with the names, nodes and paths it reads.

    Raises InvalidDocument with every problem, each at path "" (callers put their own before it). The codes are
    cel_syntax cel_too_long cel_too_deep cel_comprehension_depth cel_unknown_name cel_unknown_function cel_dynamic_ctx.
    """
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
