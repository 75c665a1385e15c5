"""Reads workflow documents and inputs from files: JSON, or YAML read as YAML 1.2 reads it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

import yaml

from infra.cli.errors import CliError

Json = Any

#: Bytes of a file that is read; a document may have 1 MiB, an artifact is not read from here.
MAX_BYTES = 16 << 20
#: Values of a YAML file with its aliases written out: a small file cannot stand for a huge document.
MAX_VALUES = 1_000_000
MAX_DEPTH = 200
SUFFIXES = (".json", ".yaml", ".yml")


def read_document(path: str) -> Json:
    """The value in a JSON or YAML file; `-` is standard input. Raises CliError naming the file and the place."""
    text = _text(path)
    try:
        return parse(text, yaml_too=not path.endswith(".json"))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise CliError(f"{path} is neither JSON nor YAML: {_told(error)}") from None


def read_input(given: str | None) -> Json:
    """A run's input: JSON text, or `@file`. None gives {}. Raises CliError."""
    return {} if given is None else read_json_option("--input", given)


def read_json_option(option: str, given: str | None) -> Json:
    """An option's value: JSON text, or `@file`. None gives None. Raises CliError naming the option."""
    if given is None:
        return None
    if given.startswith("@"):
        return read_document(given[1:])
    try:
        return parse(given, yaml_too=False)
    except (ValueError, RecursionError) as error:
        raise CliError(f"{option} is not JSON: {_told(error)}. Write it as '{{\"key\": 1}}', or @file.") from None


def parse(text: str, *, yaml_too: bool) -> Json:
    """The value of JSON text, or of YAML where `yaml_too`. Raises ValueError, RecursionError or yaml.YAMLError."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError:
        if not yaml_too:
            raise
    value = yaml.load(text, Loader=_Loader)  # noqa: S506 - it builds JSON values only
    _count(value)
    return value


def _text(path: str) -> str:
    try:
        data = sys.stdin.buffer.read(MAX_BYTES + 1) if path == "-" else _head(Path(path))
        if len(data) > MAX_BYTES:
            raise CliError(f"{path} has more than {MAX_BYTES:,} bytes.")
        return data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise CliError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _told(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it nests too deeply"
    return " ".join(str(error).split())


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads what YAML 1.2 calls the core schema: `on` and `no` are strings, dates too; keys are unique strings."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[str, Json]:
        """A mapping, as JSON has it."""
        self.flatten_mapping(node)
        pairs = [
            (self.construct_object(key, deep=True), self.construct_object(value, True)) for key, value in node.value
        ]
        if not all(isinstance(key, str) for key, _ in pairs):
            raise yaml.constructor.ConstructorError(None, None, "keys must be strings", node.start_mark)
        try:
            return _unique(pairs)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


def _resolve() -> None:
    for tag, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("null", r"~|null|Null|NULL|", "~nN\0"),
        ("int", r"[-+]?[0-9]+", "-+0123456789"),
        ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
        ("merge", r"<<", "<"),
    ):
        letters = [letter if letter != "\0" else "" for letter in first]
        _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), letters)
    _Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
    _Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(loader.construct_scalar(node)))
    for tag in ("binary", "timestamp", "omap", "pairs", "set"):
        _Loader.add_constructor(f"tag:yaml.org,2002:{tag}", yaml.SafeLoader.construct_undefined)


_resolve()


def _count(value: Json) -> None:
    """Raise ValueError for a value too large or too deep once its aliases are written out, or that holds itself."""
    stack, seen = [(value, 0)], 0
    while stack:
        current, depth = stack.pop()
        seen += 1
        if seen > MAX_VALUES or depth > MAX_DEPTH:
            raise ValueError("its aliases make it too large or too deep")
        children = current.values() if isinstance(current, dict) else current if isinstance(current, list) else ()
        stack.extend((child, depth + 1) for child in children)
