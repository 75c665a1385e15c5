"""Splits a templated string into literal text and the CEL between `${` and `}`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPEN = re.compile(r"\$?\$\{")
#: What can change the nesting inside a slot: braces, comments, and the quotes that begin a CEL string.
_INSIDE = re.compile(r"//[^\n\r]*|\b(?:[bB]?[rR]|[rR][bB])(?:\"\"\"|'''|\"|')|\"\"\"|'''|[\"'{}]")


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text, its `$${` already turned into `${`."""

    value: str


@dataclass(frozen=True, slots=True)
class Code:
    """The CEL between `${` and `}`."""

    source: str


class Unterminated(ValueError):
    """A `${` without its `}`; `position` is where it stands, in characters."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def split(text: str) -> list[Text | Code]:
    """The parts of `text` in order; neighbouring text is one part. Raises Unterminated."""
    parts: list[Text | Code] = []
    literal: list[str] = []
    at = 0
    while found := _OPEN.search(text, at):
        literal.append(text[at : found.start()])
        if found.group() == "$${":
            literal.append("${")
            at = found.end()
            continue
        end = _end(text, found.end(), found.start())
        if "".join(literal):
            parts.append(Text("".join(literal)))
        literal = []
        parts.append(Code(text[found.end() : end]))
        at = end + 1
    literal.append(text[at:])
    if "".join(literal):
        parts.append(Text("".join(literal)))
    return parts


def _end(text: str, start: int, opened: int) -> int:
    """Where the `}` of the slot that starts at `start` stands."""
    depth = 0
    at = start
    while found := _INSIDE.search(text, at):
        at = found.end()
        mark = found.group()
        if mark == "{":
            depth += 1
        elif mark == "}":
            if depth == 0:
                return found.start()
            depth -= 1
        elif not mark.startswith("//"):
            at = _string_end(text, at, mark, opened)
    raise Unterminated(opened)


def _string_end(text: str, start: int, opening: str, opened: int) -> int:
    """Where the CEL string that `opening` began is over; raw ones know no escapes."""
    quote = opening.lstrip("bBrR")
    raw = "r" in opening.lower()
    at = start
    while at < len(text):
        if text.startswith(quote, at):
            return at + len(quote)
        at += 2 if text[at] == "\\" and not raw else 1
    raise Unterminated(opened)
