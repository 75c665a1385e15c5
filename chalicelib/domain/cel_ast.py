"""Reads the syntax tree that Google's CEL parser made, from its protobuf bytes (cel.expr.ParsedExpr).

The evaluator's own tree is read, so what the compiler says about an expression is true of what runs: a second
parser would have to agree with the first on every escape and comment. The field numbers are those of
cel-spec's `syntax.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Const:
    """A literal; `text` is its value if it is a string, `size` its bytes if it is a string or bytes."""

    text: str | None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Ident:
    """A variable; a leading dot means the global one."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or with `test` `has(operand.field)`."""

    operand: Tree
    field: str
    test: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator; `target` is what a method is called on."""

    function: str
    target: Tree | None
    args: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A list, map or message literal; `message` is the message's name or empty."""

    children: tuple[Tree, ...]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Comprehension:
    """What `all exists exists_one map filter` become."""

    variables: tuple[str, ...]
    accumulator: str
    source: Tree
    start: Tree
    body: tuple[Tree, ...]


Tree = Const | Ident | Select | Call | Group | Comprehension

_Fields = dict[int, list[bytes]]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _entries(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The (field number, payload) pairs of one message; numbers have an empty payload, as none is needed here."""
    at = 0
    while at < len(data):
        key, at = data[at], at + 1  # every field number here is below 16: one byte
        wire = key & 7
        size = 0
        if wire == 0:
            _, at = _varint(data, at)
        elif wire == 2:
            size, at = _varint(data, at)
        else:
            at += 8 if wire == 1 else 4
        yield key >> 3, data[at : at + size]
        at += size


def _fields(data: bytes) -> _Fields:
    found: _Fields = {}
    for number, payload in _entries(data):
        found.setdefault(number, []).append(payload)
    return found


def _first(data: bytes, number: int) -> bytes:
    return next(payload for found, payload in _entries(data) if found == number)


def _text(fields: _Fields, number: int) -> str:
    return fields[number][0].decode() if number in fields else ""


def _tree(data: bytes) -> Tree:
    for number, payload in _entries(data):
        if number in _READERS:
            return _READERS[number](payload)
    return Const(None)


def _const(data: bytes) -> Tree:
    fields = _fields(data)
    size = max(len(fields[number][0]) if number in fields else 0 for number in (6, 7))
    return Const(_text(fields, 6) if 6 in fields else None, size)


def _ident(data: bytes) -> Tree:
    return Ident(_text(_fields(data), 1))


def _select(data: bytes) -> Tree:
    fields = _fields(data)
    return Select(_tree(fields[1][0]), _text(fields, 2), 3 in fields)


def _call(data: bytes) -> Tree:
    fields = _fields(data)
    target = _tree(fields[1][0]) if 1 in fields else None
    return Call(_text(fields, 2), target, tuple(map(_tree, fields.get(3, ()))))


def _list(data: bytes) -> Tree:
    return Group(tuple(map(_tree, _fields(data).get(1, ()))))


def _struct(data: bytes) -> Tree:
    fields = _fields(data)
    children = [
        _tree(payload) for entry in fields.get(2, ()) for number, payload in _entries(entry) if number in {3, 4}
    ]
    return Group(tuple(children), _text(fields, 1))


def _comprehension(data: bytes) -> Tree:
    fields = _fields(data)
    variables = tuple(_text(fields, number) for number in (1, 8) if number in fields)
    body = tuple(_tree(fields[number][0]) for number in (5, 6, 7) if number in fields)
    return Comprehension(variables, _text(fields, 3), _tree(fields[2][0]), _tree(fields[4][0]), body)


_READERS = {3: _const, 4: _ident, 5: _select, 6: _call, 7: _list, 8: _struct, 9: _comprehension}


def read(serialized: bytes) -> Tree:
    """The tree inside a serialized expression (an Any that holds a ParsedExpr)."""
    return _tree(_first(_first(serialized, 2), 2))
