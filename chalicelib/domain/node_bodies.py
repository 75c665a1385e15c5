"""The node bodies inside a node: what undoes it on a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True)
class Body:
    """One node body. `path` leads to it from the node; `name` is its field in ir.Node."""

    name: str
    part: dict[str, Json]
    path: tuple[str, ...]


def bodies_of(raw: dict[str, Json]) -> Iterator[Body]:
    """The bodies of a node as it stands in the document. What is no object is left to the schema."""
    undo = raw.get("compensate")
    if isinstance(undo, dict):
        yield Body("compensate", undo, ("compensate",))
