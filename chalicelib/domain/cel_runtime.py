"""Compiles and runs CEL, bounded in size, depth and work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from chalicelib.domain import cel_ast, cel_cost
from chalicelib.domain.cel_analysis import Findings, analyse, plain_read
from chalicelib.domain.cel_binding import Handle, environment, installed_version, is_error, release
from chalicelib.domain.cel_functions import FUNCTIONS, MAX_ROWS, work
from chalicelib.domain.cel_results import plain, read
from chalicelib.domain.cel_values import Intake, PathTree, path_tree
from chalicelib.domain.errors import EvaluationError

Json = Any

#: Bytes of an expression in UTF-8, its nesting, and comprehensions inside one another (SPEC 4).
MAX_BYTES = 4096
MAX_NESTING = 32
MAX_COMPREHENSIONS = 2

_CODE = re.compile(r"^[A-Z_]+: ")
_TRAILER = re.compile(r"\s*\[[A-Z_]+\]$")
_ENVIRONMENT = environment(FUNCTIONS)


class CompileError(Exception):
    """The source is no expression; `problems` are (code, sentence) pairs."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__(problems)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Program:
    """An expression that is ready to run."""

    compiled: Handle
    findings: Findings
    paths: tuple[tuple[str, ...], ...]
    tree: PathTree
    #: Set if the expression is one plain read: no evaluator is needed.
    direct: tuple[str, ...] | None
    #: Most items a list written in the expression can have.
    literal_items: int


def evaluator() -> str:
    """Name and version of the evaluator, as plans record it."""
    return f"cel-expr-python {installed_version()}"


@lru_cache(maxsize=4096)
def program(source: str) -> Program:
    """Compile `source`, or take it from the cache. Raises CompileError with every problem found."""
    _check_text(source)
    try:
        compiled = _ENVIRONMENT.compile(source, disable_check=True)
    except (RuntimeError, ValueError) as error:
        raise CompileError(_refusal(str(error))) from error
    tree = cel_ast.read(compiled.serialize())
    findings = analyse(tree)
    if findings.depth > MAX_COMPREHENSIONS:
        text = f"Comprehensions nest {findings.depth} deep; nest at most {MAX_COMPREHENSIONS}."
        findings.problems.append(("cel_comprehension_depth", text))
    if findings.problems:
        raise CompileError(*findings.problems)
    paths = _shortest(findings.paths)
    return Program(compiled, findings, paths, path_tree(paths), plain_read(tree), source.count(",") + 1)


def _check_text(source: str) -> None:
    try:
        size = len(source.encode())
    except UnicodeEncodeError as error:
        raise CompileError(("cel_syntax", "The expression holds half of a surrogate pair; write the character.")) from (
            error
        )
    if size > MAX_BYTES:
        raise CompileError(("cel_too_long", f"The expression has {size} bytes; use at most {MAX_BYTES}."))
    if not source.strip():
        raise CompileError(("cel_syntax", "The expression is empty; write one, or leave the condition out."))


def _refusal(message: str) -> tuple[str, str]:
    if "recursion" in message:
        text = f"The expression nests more than {MAX_NESTING} deep, or chains more than {MAX_NESTING} terms."
        return "cel_too_deep", f"{text} Split it, or move a part into an earlier node."
    first = _TRAILER.sub("", _CODE.sub("", message)).splitlines()[0]
    return "cel_syntax", f"The expression is not valid CEL: {first.removeprefix('ERROR: <input>:')[:500]}"


def _shortest(paths: set[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """The paths that are not below another one, sorted."""
    return tuple(sorted(path for path in paths if not any(path[:n] in paths for n in range(1, len(path)))))


def run(ready: Program, values: Mapping[str, Json]) -> Json:
    """Evaluate on `values` and return plain JSON. Raises EvaluationError."""
    if ready.direct is not None:
        return read(ready.direct, values)
    intake = Intake()
    data = intake.take(ready.tree, values)
    if ready.findings.depth:
        cel_cost.check(ready.findings, intake, ready.literal_items, values)
    work.rows = 0
    try:
        result = ready.compiled.eval(data=data)
        value = result.plain_value()
        # An error comes back as its message.
        failed = isinstance(value, str) and is_error(result)
    except (RuntimeError, ValueError, TypeError, MemoryError, SystemError) as error:
        raise EvaluationError(_reason(str(error))) from error
    finally:
        if work.results:
            release(work.results)
    if failed:
        raise EvaluationError(_reason(str(value)))
    return plain(value)


def _reason(message: str) -> str:
    """The runtime's message without its status code."""
    if work.rows > MAX_ROWS:
        return f"List functions may read at most {MAX_ROWS} rows in one evaluation."
    if "Iteration budget" in message:
        return f"The comprehensions take more than {cel_cost.MAX_ITERATIONS} iterations."
    return _TRAILER.sub("", _CODE.sub("", message)) or "The evaluator failed without a message."
