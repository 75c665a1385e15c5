"""Loads the Lua scripts: includes put in, key and argument names bound, so that nobody counts slots."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from chalicelib.adapters.redis.keys import run_key

_FOLDER = Path(__file__).parent / "lua"
_KEYS = re.compile(r"^-- KEYS +(.+)$", re.M)
_ARGV = re.compile(r"^-- (?:ARGV|    ) +(\w+)(?:  .*)?$", re.M)
_COMMENT = re.compile(r"^ *--.*\n", re.M)
_ANSWERS = re.compile(r"^-- Answers$", re.M)


@dataclass(frozen=True, slots=True)
class Script:
    """One operation of the store, ready to send."""

    name: str
    source: str
    sha: str
    keys: tuple[str, ...]
    args: tuple[str, ...]

    def words(self, run_id: str, arguments: Mapping[str, str | int]) -> list[Any]:
        """numkeys, keys, arguments: what follows EVALSHA's sha. Raises KeyError for a wrong argument name."""
        if set(arguments) != set(self.args):
            raise KeyError(f"{self.name}.lua takes {self.args}, not {tuple(arguments)}")
        keys = [run_key(run_id, name) for name in self.keys]
        return [len(keys), *keys, *(arguments[name] for name in self.args)]


@cache
def load(name: str) -> Script:
    """The script of lua/<name>.lua with its header read, its includes in place, and lines of comment left out."""
    text = (_FOLDER / f"{name}.lua").read_text()
    shebang, _, rest = text.partition("\n")
    header = rest[: _ANSWERS.search(rest).start()]  # type: ignore[union-attr]  # every script has the line
    keys = tuple(_KEYS.findall(header)[0].split())
    args = tuple(_ARGV.findall(header))
    bound_keys = ", ".join(f"{key} = KEYS[{i}]" for i, key in enumerate(keys, 1))
    bound_args = ", ".join(f"{arg} = ARGV[{i}]" for i, arg in enumerate(args, 1))
    source = f"{shebang}\nlocal KEYS, ARGV = {{{bound_keys}}}, {{{bound_args}}}\n"
    source += re.sub(r"^--include (\w+)$", lambda found: _include(found[1]), rest, flags=re.M)
    source = _COMMENT.sub("", source)
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), keys, args)


def _include(name: str) -> str:
    return (_FOLDER / "includes" / f"{name}.lua").read_text()
