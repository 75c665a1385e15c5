"""Child runs in the reference: what a call reaches, and what its child's end means to the node that calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.reference_graph import Scope
from tests.simulation.reference_state import Behave, Outcome, Result, Unit

Json = Any
#: The calls by which a run came about: the id of the run that a client started, then a call for each level.
Path = tuple[Any, ...]
#: A node's attempt in its scope, or that of an item of a map.
Call = tuple[str, Scope, int]
#: Errors that come again however often a child is called anew.
FINAL = ("TemplateError", "LoopLimit", "PatchRefused", "BudgetExceeded", "LimitExceeded", "Cancelled")
#: Levels of child runs below one that says nothing else.
DEPTH = 10


@dataclass
class Calls:
    """What one run may call."""

    #: The document that a reference names; None where nothing is saved under it.
    find: Callable[[str], Json | None]
    #: The workers of a run of a document that came about in this way.
    workers: Callable[[Json, Path], Behave]
    path: Path = ()
    left: int = DEPTH
    #: The calls that were made, and their inputs.
    made: dict[Call, Json] = field(default_factory=dict)

    def outcome(self, unit: Unit, caller: Json, given: Json, run: Callable[..., Result]) -> Outcome:
        """How the call ends: a child is another run, with whatever came of it. `given` is its input."""
        left = levels_below(caller, self.left)
        child = self.find(unit.config["workflow"])
        if child is None:
            return Outcome("failed", None, "NotFound", False)
        if not left:
            return Outcome("failed", None, "LimitExceeded", False)
        if not _fits(child.get("input_schema", {}), given):
            return Outcome("failed", None, "InvalidInput", False)
        call = (unit.name, unit.scope, unit.attempt)
        self.made[call] = given
        path = (*self.path, call)
        below = Calls(self.find, self.workers, path, left - 1)
        result = run(child, given, self.workers(child, path), calls=below)
        if result.status == "COMPLETED":
            return Outcome(output=result.output)
        kind = result.error["type"]
        return Outcome("failed", None, kind, kind not in FINAL)


def levels_below(document: Json, left: int) -> int:
    """How many levels of child runs may be below a run of the document that may have `left`."""
    return min(left, document.get("limits", {}).get("child_depth", DEPTH))


def _fits(schema: Json, value: Json) -> bool:
    """As far as the saved workflows go: numbers that may not be too large."""
    properties = schema.get("properties", {}) if isinstance(value, dict) else {}
    return all(value.get(name, 0) <= rule["maximum"] for name, rule in properties.items())
