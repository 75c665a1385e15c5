"""Finds what a CEL tree reads, calls and may cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from chalicelib.domain.cel_ast import Call, Comprehension, Const, Group, Ident, Select, Tree
from chalicelib.domain.cel_functions import FUNCTIONS

#: Variables of SPEC 4.
NAMES = frozenset({"output", "ctx", "input", "run", "error", "item", "index", "iteration", "vars"})
#: The one variable of an expression inside a pipeline, and unknown to all others.
ROW = "row"
#: Names of CEL's types, usable as values.
_TYPES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"})
_WELL_KNOWN = "google.protobuf."
_CONVERSIONS = frozenset({"int", "uint", "double", "string", "bytes", "bool", "timestamp", "duration", "type", "dyn"})
_GLOBALS = _CONVERSIONS | {"size", "matches"}
_OPERATORS = frozenset(
    {"_&&_", "_||_", "_?_:_", "!_", "-_", "_+_", "_-_", "_*_", "_/_", "_%_", "_==_", "_!=_", "_<_", "_<=_"}
    | {"_>_", "_>=_", "@in", "_[_]", "@not_strictly_false"}
)
_DATES = frozenset(
    {"getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds"}
    | {"getMinutes", "getMonth", "getSeconds"}
)
#: String functions whose results are no longer than their input; `replace` and `join` can multiply it.
_STRINGS = frozenset(
    {"charAt", "indexOf", "lastIndexOf", "lowerAscii", "upperAscii", "split", "substring", "trim"}
    | {"contains", "startsWith", "endsWith", "matches"}
)
_COPYING = frozenset({"lowerAscii", "upperAscii", "substring", "trim", "string", "bytes"})
_SCANNING = frozenset({"@in", "_==_", "_!=_"})
_METHODS = _DATES | _STRINGS | {"size"}


@dataclass(slots=True)
class Findings:
    """What one expression reads and calls; `problems` are (code, sentence) pairs."""

    paths: set[tuple[str, ...]] = field(default_factory=set)
    problems: list[tuple[str, str]] = field(default_factory=list)
    #: Deepest nesting of comprehensions, and how many `+` the author wrote.
    depth: int = 0
    additions: int = 0
    #: Bytes of the longest string literal.
    longest_literal: int = 0
    #: What happens in every iteration: lists that grow item by item, text that is copied, text that is split.
    grows_list: bool = False
    copies_text: bool = False
    splits_text: bool = False
    #: Paths that every iteration scans from end to end, and those that it appends.
    scanned: set[tuple[str, ...]] = field(default_factory=set)
    appended: set[tuple[str, ...]] = field(default_factory=set)


def analyse(tree: Tree) -> Findings:
    """Walk the tree once."""
    findings = Findings()
    _Walk(findings).visit(tree, frozenset(), 0)
    return findings


def plain_read(tree: Tree) -> tuple[str, ...] | None:
    """The path, if the whole expression is one read such as `ctx.a.output["x-y"]`, which needs no evaluator."""
    match tree:
        case Ident(name=name):
            return (name.removeprefix("."),) if name.removeprefix(".") in NAMES | {ROW} else None
        case (
            Select(operand=operand, field=key, test=False) | Call(function="_[_]", args=(operand, Const(text=str(key))))
        ):
            base = plain_read(operand)
            return None if base is None else (*base, key)
    return None


class _Walk:
    def __init__(self, findings: Findings) -> None:
        self.found = findings

    def visit(self, tree: Tree, local: frozenset[str], depth: int) -> None:
        chain = _chain(tree, local)
        if chain is not None:
            self._read(chain)
            return
        match tree:
            case Const():
                self.found.longest_literal = max(self.found.longest_literal, tree.size)
            case Select():
                self.visit(tree.operand, local, depth)
            case Group():
                self._group(tree, local, depth)
            case Call(function="get", target=None, args=(operand, Const(text=str()) as key, default)):
                self._get(tree, _chain(Call("get", None, (operand, key, Const(None))), local), default, local, depth)
            case Call():
                self._call(tree, local, depth)
            case Comprehension():
                self._comprehension(tree, local, depth)

    def _problem(self, code: str, message: str) -> None:
        if (code, message) not in self.found.problems:
            self.found.problems.append((code, message))

    def _read(self, path: tuple[str, ...]) -> None:
        name = path[0]
        if name in NAMES or name == ROW:
            if name == "ctx" and len(path) == 1:
                self._problem("cel_dynamic_ctx", 'Name the node that is read, as ctx.node_id or ctx["node-id"].')
            self.found.paths.add(path)
        elif name not in _TYPES and not ".".join(path).startswith(_WELL_KNOWN):
            self._problem("cel_unknown_name", f"Nothing is called {name!r}; known are {', '.join(sorted(NAMES))}.")

    def _group(self, tree: Group, local: frozenset[str], depth: int) -> None:
        if tree.message and not tree.message.startswith(_WELL_KNOWN):
            self._problem("cel_unknown_name", f"There is no message type {tree.message!r}; write a map instead.")
        for child in tree.children:
            self.visit(child, local, depth)

    def _call(self, tree: Call, local: frozenset[str], depth: int) -> None:
        self._check_function(tree)
        self._weigh(tree, local, depth)
        for child in (*([] if tree.target is None else [tree.target]), *tree.args):
            self.visit(child, local, depth)

    def _get(self, tree: Call, chain: tuple[str, ...] | None, default: Tree, local: frozenset[str], depth: int) -> None:
        if chain is None:
            self._call(tree, local, depth)
        else:
            self._read(chain)
            self.visit(default, local, depth)

    def _weigh(self, tree: Call, local: frozenset[str], depth: int) -> None:
        found = self.found
        accumulates = bool(tree.args) and isinstance(tree.args[0], Ident) and tree.args[0].name.startswith("@")
        if tree.function == "_+_":
            found.grows_list = found.grows_list or (accumulates and isinstance(tree.args[1], Group))
            found.additions += not accumulates
        if not depth:
            return
        found.copies_text = found.copies_text or tree.function in _COPYING
        found.splits_text = found.splits_text or tree.function == "split"
        paths = {path for path in (_chain(arg, local) for arg in tree.args) if path}
        if tree.function == "_+_":
            found.appended |= paths
        elif tree.function in _SCANNING:
            found.scanned |= paths

    def _check_function(self, tree: Call) -> None:
        name = tree.function
        if tree.target is not None:
            if name not in _METHODS:
                self._problem("cel_unknown_function", f"There is no method {name!r}.")
        elif name in FUNCTIONS:
            counts = FUNCTIONS[name]
            if len(tree.args) not in counts:
                wanted = " or ".join(map(str, counts))
                self._problem("cel_unknown_function", f"{name} takes {wanted} arguments, not {len(tree.args)}.")
        elif name not in _GLOBALS and name not in _OPERATORS:
            self._problem("cel_unknown_function", f"There is no function {name!r}.")

    def _comprehension(self, tree: Comprehension, local: frozenset[str], depth: int) -> None:
        self.visit(tree.source, local, depth)
        self.visit(tree.start, local, depth)
        inner = local | {*tree.variables, tree.accumulator}
        self.found.depth = max(self.found.depth, depth + 1)
        for part in tree.body:
            self.visit(part, inner, depth + 1)


def _chain(tree: Tree, local: frozenset[str]) -> tuple[str, ...] | None:
    """The path of a read such as `ctx["a"].output.x` or `get(output, "a.b", 0)`, or None if it is no plain read."""
    match tree:
        case Ident(name=name):
            return None if name in local else (name.removeprefix("."),)
        case Select(operand=operand, field=key):
            return _extend(operand, (key,), local)
        case Call(function="_[_]", args=(operand, Const(text=str(key)))):
            return _extend(operand, (key,), local)
        case Call(function="get", target=None, args=(operand, Const(text=str(dotted)), Const())):
            return _extend(operand, _until_number(dotted), local)
    return None


def _extend(operand: Tree, keys: tuple[str, ...], local: frozenset[str]) -> tuple[str, ...] | None:
    base = _chain(operand, local)
    return None if base is None else (*base, *keys)


def _until_number(dotted: str) -> tuple[str, ...]:
    """The keys of a `get` path up to the first that could be a list index, whose siblings must stay."""
    keys: list[str] = []
    for key in dotted.split("."):
        if key.isdigit():
            break
        keys.append(key)
    return tuple(keys)
