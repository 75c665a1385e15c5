"""Evaluates the small part of CEL, and the templates, that generated workflows use.

It is written apart from the product on purpose: a second opinion shares no code with the first. Every expression is
total: it gives a value or raises `CelError`.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

Env = dict[str, Any]
Code = Callable[[Env], Any]

_TOKEN = re.compile(
    r"\s*(?:(?P<int>\d+)|(?P<name>[A-Za-z_]\w*)|(?P<text>\"[^\"]*\"|'[^']*')|(?P<op>\|\||&&|[=!<>]=|[-+!<>?:.,()\[\]]))"
)
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_WORDS = {"true": True, "false": False, "null": None}


class CelError(Exception):
    """An expression has no value here: a missing field, a wrong type, or text that does not parse."""


def evaluate(source: str, env: Env) -> Any:
    """The value of a CEL expression; raises `CelError`."""
    return _compile(source)(env)


def render(value: Any, env: Env) -> Any:
    """A JSON value with its `${…}` templates filled in; raises `CelError`."""
    if isinstance(value, dict):
        return {key: render(item, env) for key, item in value.items()}
    if isinstance(value, list):
        return [render(item, env) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    parts = list(_pieces(value))
    if len(parts) == 1 and parts[0][0]:
        return evaluate(parts[0][1], env)
    return "".join(_as_text(evaluate(text, env)) if is_code else text for is_code, text in parts)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _pieces(text: str) -> Any:
    """(is_code, text) pairs. Generated expressions hold no braces, so the first `}` ends one."""
    at = 0
    for found in re.finditer(r"\$\$\{|\$\{([^}]*)\}", text):
        if found.start() > at:
            yield False, text[at : found.start()]
        yield (False, "${") if found.group() == "$${" else (True, found.group(1))
        at = found.end()
    if at < len(text):
        yield False, text[at:]


@lru_cache(maxsize=4096)
def _compile(source: str) -> Code:
    parser = _Parser(source)
    code = parser.ternary()
    if parser.peek() is not None:
        raise CelError(f"cannot read {source!r} from {parser.peek()!r} on")
    return code


def _tokens(source: str) -> list[tuple[str, str]]:
    found, at, source = [], 0, source.rstrip()
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise CelError(f"cannot read {source!r} at {at}")
        found.append((str(match.lastgroup), match.group(str(match.lastgroup))))
        at = match.end()
    return found


class _Parser:
    """Recursive descent; each method gives a function from the environment to a value."""

    def __init__(self, source: str) -> None:
        self.tokens = _tokens(source)
        self.at = 0

    def peek(self) -> str | None:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else None

    def take(self, *wanted: str) -> str | None:
        """The next operator if it is one of these."""
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "op" and self.peek() in wanted:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return None

    def need(self, wanted: str) -> None:
        if self.take(wanted) is None:
            raise CelError(f"{wanted!r} expected, not {self.peek()!r}")

    def ternary(self) -> Code:
        test = self.either()
        if not self.take("?"):
            return test
        yes = self.either()
        self.need(":")
        no = self.ternary()
        return lambda env: yes(env) if _bool(test(env)) else no(env)

    def either(self) -> Code:
        code = self.both()
        while self.take("||"):
            code = _decided_by(True, code, self.both())
        return code

    def both(self) -> Code:
        code = self.relation()
        while self.take("&&"):
            code = _decided_by(False, code, self.relation())
        return code

    def relation(self) -> Code:
        code = self.addition()
        while found := self.take("==", "!=", "<", "<=", ">", ">="):
            code = _relation(found, code, self.addition())
        return code

    def addition(self) -> Code:
        code = self.unary()
        while found := self.take("+", "-"):
            code = _sum(found, code, self.unary())
        return code

    def unary(self) -> Code:
        if self.take("!"):
            inner = self.unary()
            return lambda env: not _bool(inner(env))
        if self.take("-"):
            number = self.unary()
            return lambda env: -_int(number(env))
        return self.member()

    def member(self) -> Code:
        code = self.atom()
        while found := self.take(".", "["):
            if found == ".":
                code = _field(code, self.name())
            else:
                code = _index(code, self.ternary())
                self.need("]")
        return code

    def name(self) -> str:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")
        if kind != "name":
            raise CelError(f"a name expected, not {text!r}")
        self.at += 1
        return text

    def atom(self) -> Code:
        if self.take("("):
            inner = self.ternary()
            self.need(")")
            return inner
        if self.at >= len(self.tokens):
            raise CelError("the expression ends too early")
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind in ("int", "text"):
            value = int(text) if kind == "int" else text[1:-1]
            return lambda env: value
        if kind != "name":
            raise CelError(f"a value expected, not {text!r}")
        if text in _WORDS:
            return lambda env: _WORDS[text]
        return self.size() if text == "size" else _field(lambda env: env, text)

    def size(self) -> Code:
        self.need("(")
        inner = self.ternary()
        self.need(")")
        return lambda env: _size(inner(env))


def _decided_by(winner: bool, left: Code, right: Code) -> Code:
    """`||` and `&&`: either side alone can decide, even where the other one is an error."""

    def code(env: Env) -> bool:
        trouble = None
        for side in (left, right):
            try:
                if _bool(side(env)) is winner:
                    return winner
            except CelError as error:
                trouble = error
        if trouble is not None:
            raise trouble
        return not winner

    return code


def _relation(name: str, left: Code, right: Code) -> Code:
    def code(env: Env) -> bool:
        a, b = left(env), right(env)
        if name in ("==", "!="):
            return (type(a) is type(b) and a == b) is (name == "==")
        if type(a) is not type(b) or not isinstance(a, int | str):
            raise CelError(f"cannot order {a!r} and {b!r}")
        return bool(_ORDER[name](a, b))

    return code


def _sum(name: str, left: Code, right: Code) -> Code:
    def code(env: Env) -> Any:
        a, b = left(env), right(env)
        if name == "+" and isinstance(a, str) and isinstance(b, str):
            return a + b
        return _int(a) + (_int(b) if name == "+" else -_int(b))

    return code


def _field(code: Code, name: str) -> Code:
    return _index(code, lambda env: name)


def _index(code: Code, key: Code) -> Code:
    def read(env: Env) -> Any:
        whole, at = code(env), key(env)
        fits = isinstance(whole, dict) if isinstance(at, str) else isinstance(whole, list)
        try:
            if fits:
                return whole[at]
        except (KeyError, IndexError):
            pass
        raise CelError(f"nothing at {at!r}")

    return read


def _size(value: Any) -> int:
    if isinstance(value, str | list | dict):
        return len(value)
    raise CelError(f"{value!r} has no size")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise CelError(f"{value!r} is not a bool")


def _int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise CelError(f"{value!r} is not an int")
