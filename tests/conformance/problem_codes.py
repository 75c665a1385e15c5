"""Finds every code of a compile problem in the source of the compiler and of all that it imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

DOMAIN = Path(__file__).parents[2] / "chalicelib" / "domain"
#: Calls whose first argument is a code.
_CALLS = frozenset({"Problem", "add", "_problem", "PydanticCustomError"})
_CODE = re.compile(r"[a-z]+(_[a-z]+)*")
#: A pair (code, sentence), as expressions and templates report theirs.
_PAIR = re.compile(r"(cel|secret|template|jsonpath)_[a-z_]+")


def codes_of_the_compiler() -> set[str]:
    """All codes, warnings included, and those of templates at run time."""
    found: set[str] = set()
    seen, pending = {"compiler"}, ["compiler"]
    while pending:
        for node in ast.walk(ast.parse((DOMAIN / f"{pending.pop()}.py").read_text(encoding="utf-8"))):
            found.update(_codes(node))
            if isinstance(node, ast.ImportFrom):
                new = _imported(node) - seen
                seen |= new
                pending += sorted(new)
    return found


def _imported(node: ast.ImportFrom) -> set[str]:
    """Modules of the domain that an import names."""
    module = node.module or ""
    names = {alias.name for alias in node.names} if module == "chalicelib.domain" else {module.rpartition(".")[2]}
    return {name for name in names if module.startswith("chalicelib.domain") and (DOMAIN / f"{name}.py").exists()}


def _codes(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _CALLS and len(node.args) > 1:
            yield from _text(node.args[0], _CODE)
        if name == "listed" and node.args:
            yield from _text(node.args[0], _CODE)
    elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
        yield from _text(node.elts[0], _PAIR)
    elif isinstance(node, ast.FunctionDef) and node.name == "_code":
        for part in ast.walk(node):
            if isinstance(part, ast.Return) and part.value is not None:
                yield from _text(part.value, _CODE)
    elif isinstance(node, ast.FunctionDef) and node.name == "listed":
        for default in node.args.defaults:
            yield from _text(default, _CODE)


def _text(node: ast.expr, pattern: re.Pattern[str]) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and pattern.fullmatch(node.value):
        yield node.value
