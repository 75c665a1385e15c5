"""Carries JSON into CEL, only as far as an expression reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.errors import EvaluationError

Json = Any

#: Containers inside one another in a value that an expression reads.
MAX_DEPTH = 200
#: Values (list items and map entries) that one expression may read.
MAX_VALUES = 1_000_000


@dataclass(slots=True)
class PathTree:
    """The paths that an expression reads, as a tree. A node without branches is read whole."""

    branches: dict[str, PathTree] = field(default_factory=dict)


def path_tree(paths: tuple[tuple[str, ...], ...]) -> PathTree:
    """A tree of `paths`; a path that is the beginning of others stands for them."""
    root = PathTree()
    for path in sorted(paths, key=len, reverse=True):
        node = root
        for key in path:
            node = node.branches.setdefault(key, PathTree())
        node.branches.clear()
    return root


class Intake:
    """Copies values for one evaluation and measures them."""

    __slots__ = ("longest_list", "longest_text", "values")

    def __init__(self) -> None:
        self.values = 0
        #: Characters of the longest string, and entries of the longest list or map.
        self.longest_text = 0
        self.longest_list = 0

    def take(self, tree: PathTree, values: Mapping[str, Json]) -> dict[str, Json]:
        """The top-level names of `tree`, each with what is read of it; what is missing is null, `ctx` is a map.

        Raises EvaluationError for values that CEL cannot hold: U+0000 and lone surrogates in strings, numbers past
        a double's range, values that are no JSON, nest too deeply or are too many.
        """
        data: dict[str, Json] = {}
        for name, below in tree.branches.items():
            value = values.get(name)
            if value is None and name == "ctx":
                value = {}
            data[name] = self._part(value, below, 0)
        return data

    def _part(self, value: Json, tree: PathTree, depth: int) -> Json:
        if not tree.branches:
            return self._whole(value, depth)
        if isinstance(value, dict):
            found = {}
            for key, below in tree.branches.items():
                if key in value:
                    found[key] = self._part(value[key], below, depth + 1)
            return found
        # A field of a list is an error whatever the list holds, so its items stay behind.
        return [] if isinstance(value, list) else self._whole(value, depth)

    def _whole(self, value: Json, depth: int) -> Json:
        kind = type(value)
        if kind is str:
            return self._string(value)
        if kind is int:
            return value if -(2**63) <= value < 2**63 else as_double(value)
        if value is None or kind is bool or kind is float:
            return value
        if depth >= MAX_DEPTH:
            raise EvaluationError(f"the value nests more than {MAX_DEPTH} deep")
        if kind is dict:
            self._count(len(value))
            return {self._key(key): self._whole(item, depth + 1) for key, item in value.items()}
        if kind is list:
            self._count(len(value))
            return [self._whole(item, depth + 1) for item in value]
        raise EvaluationError(f"a {kind.__name__} is no JSON value")

    def _count(self, entries: int) -> None:
        self.values += entries
        self.longest_list = max(self.longest_list, entries)
        if self.values > MAX_VALUES:
            raise EvaluationError(f"an expression may read at most {MAX_VALUES} values; name a narrower path")

    def _key(self, key: Json) -> str:
        if not isinstance(key, str):
            raise EvaluationError(f"the object key {key!r} is no string")
        return self._string(key)

    def _string(self, text: str) -> str:
        self.longest_text = max(self.longest_text, len(text))
        if "\0" in text:
            raise EvaluationError("a string holds U+0000, which expressions cannot read")
        if not text.isascii() and not _encodable(text):
            raise EvaluationError("a string holds half of a surrogate pair, which is not valid Unicode")
        return text


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_double(value: int) -> float:
    """An integer past int64 as a double. Raises EvaluationError past its range."""
    try:
        return float(value)
    except OverflowError as error:
        raise EvaluationError("a number is past the range of a double") from error
