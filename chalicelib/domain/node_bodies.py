"""What stands inside a node: its bodies, which are run for it, and the functions that it names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.node_types import BODY_TYPES, UNDO_TYPES

Json = Any
#: Keys of a map that calls a child run for each item, in place of a body.
_CALL = ("workflow", "input")


@dataclass(frozen=True, slots=True)
class Body:
    """One node body. `path` leads to it from the node; `name` is its field in ir.Node."""

    name: str
    part: dict[str, Json]
    path: tuple[str, ...]
    #: Where its config stands in the node.
    config_path: tuple[str, ...]
    #: False for one that stands for a map's `workflow` key: the map's own config is what is checked.
    written: bool = True

    @property
    def reads_all(self) -> bool:
        """Whether its templates may read any node: before a rollback anything may have run."""
        return self.name == "compensate"

    @property
    def types(self) -> frozenset[str]:
        """The types that it may have."""
        return UNDO_TYPES if self.name == "compensate" else BODY_TYPES


def bodies_of(raw: dict[str, Json]) -> Iterator[Body]:
    """The bodies of a node as it stands in the document. What is no object is left to the schema."""
    undo = raw.get("compensate")
    if isinstance(undo, dict):
        yield Body("compensate", undo, ("compensate",), ("compensate", "config"))
    config = raw.get("config")
    if raw.get("type") != "map" or not isinstance(config, dict):
        return
    if isinstance(config.get("body"), dict):
        yield Body("body", config["body"], ("config", "body"), ("config", "body", "config"))
    elif isinstance(config.get("workflow"), str):
        part = {"type": "workflow", "config": {name: config[name] for name in _CALL if name in config}}
        yield Body("body", part, ("config",), ("config",), written=False)


def own_config(raw: dict[str, Json]) -> Json:
    """The part of a node's config that is resolved when the node begins: a map's body is resolved for each item."""
    config = raw.get("config")
    if raw.get("type") != "map" or not isinstance(config, dict):
        return config
    return {key: value for key, value in config.items() if key not in ("body", *_CALL)}


def handlers_of(part: dict[str, Json]) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """(function's name, its path in the config) of all that a node, or a body, names itself."""
    config = part.get("config")
    if not isinstance(config, dict):
        return
    if part.get("type") == "function" and isinstance(config.get("handler"), str):
        yield config["handler"], ("handler",)
    allow = config.get("allow") if part.get("type") == "agent" else None
    names = allow.get("functions") if isinstance(allow, dict) else None
    for place, name in enumerate(names if isinstance(names, list) else ()):
        if isinstance(name, str):
            yield name, ("allow", "functions", place)
