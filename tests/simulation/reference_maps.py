"""Runs maps in the reference: items begin in order, so many at a time, and the map goes on when there is none left.

As decided here: a map finds out its items before any of them begins; past its tolerance no further item begins, the
rest are cancelled, and it fails with the error of the item that failed first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.simulation.reference_board import Board
from tests.simulation.reference_cel import CelError, render
from tests.simulation.reference_graph import Scope
from tests.simulation.reference_state import Outcome, Unit, named, node_of, retried

#: Items at work at a time where the map does not say.
AT_WORK = 1000


@dataclass
class MapState:
    """How far one map is, in one scope."""

    items: list[Any]
    window: int
    borne: int
    begun: int = 0
    outputs: dict[int, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return len(self.errors) > self.borne or len(self.outputs) + len(self.errors) == len(self.items)


class Maps(Board):
    """Settles maps and their items."""

    if TYPE_CHECKING:

        def fail(self, unit: Unit, outcome: Outcome) -> None: ...

        def complete(self, unit: Unit, output: Any) -> None: ...

        def call(self, unit: Unit, reached: Any) -> Outcome: ...

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.maps: dict[tuple[str, Scope], MapState] = {}

    def begun_maps(self) -> dict[tuple[str, Scope], tuple[int, int, int]]:
        return {key: (len(one.items), one.window, one.borne) for key, one in self.maps.items()}

    def of_map(self, unit: Unit) -> bool:
        return unit.index is not None or self.graph.nodes[unit.node]["type"] == "map"

    def is_ready(self, unit: Unit) -> bool:
        """Whether it can be settled: a map only once it has nothing to wait for."""
        waits = self.of_map(unit) and unit.index is None and not unit.arming
        return not waits or self.maps[(unit.node, unit.scope)].over

    def settle_of_map(self, unit: Unit) -> None:
        if unit.index is not None:
            self.settle_item(unit, unit.index)
        elif unit.arming:
            self.begin_map(unit)
        else:
            self.end_map(unit)

    def begin_map(self, unit: Unit) -> None:
        state = None if unit.bad_config else _state(unit.config)
        if state is None:
            self.notes["map without items"] += 1
            return self.fail(unit, Outcome("failed", None, "TemplateError", False))
        self.maps[(unit.node, unit.scope)] = state
        unit.arming = False
        self.units.append(unit)
        while state.begun < min(state.window, len(state.items)):
            self.begin_item(unit.node, unit.scope, state)
        return None

    def begin_item(self, node: str, scope: Scope, state: MapState) -> None:
        state.begun += 1
        self.try_item(node, scope, state.begun - 1, 1)

    def try_item(self, node: str, scope: Scope, index: int, attempt: int) -> None:
        unit, body = Unit(node, scope, attempt, {}, index=index), self.graph.nodes[node]["config"]["body"]
        item = self.maps[(node, scope)].items[index]
        try:
            unit.config = render(body.get("config", {}), self.env(scope, {"item": item, "index": index}))
        except CelError:
            unit.bad_config = True
        self.tasks.setdefault((unit.name, scope), unit.config)
        self.units.append(unit)

    def settle_item(self, unit: Unit, index: int) -> None:
        state, body = self.maps[(unit.node, unit.scope)], self.graph.nodes[unit.node]["config"]["body"]
        outcome = self.perform_item(unit, body["type"])
        if outcome.status == "failed":
            self.record(unit, "FAILED", None, {"type": outcome.error})
            if retried(body.get("retry", {}), unit.attempt, outcome):
                self.notes["item tried again"] += 1
                return self.try_item(unit.node, unit.scope, index, unit.attempt + 1)
            self.notes["item failed"] += 1
            state.errors.append(outcome.error)
        else:
            self.record(unit, "COMPLETED", outcome.output)
            state.outputs[index] = outcome.output
        if not state.over and state.begun < len(state.items):
            self.notes["item waited for its turn"] += 1
            self.begin_item(unit.node, unit.scope, state)
        return None

    def perform_item(self, unit: Unit, kind: str) -> Outcome:
        if unit.bad_config:
            return Outcome("failed", None, "TemplateError", False)
        if kind in ("transform", "wait"):
            return Outcome(output=unit.config["value"] if kind == "transform" else {})
        if kind == "workflow":
            self.notes["item called"] += 1
            return self.call(unit, self.maps[(unit.node, unit.scope)].items[unit.index or 0])
        return self.behave(unit.name, unit.scope, unit.attempt)

    def end_map(self, unit: Unit) -> None:
        state = self.maps[(unit.node, unit.scope)]
        rest = [u for u in self.units if u.index is not None and (u.node, u.scope) == (unit.node, unit.scope)]
        self.notes["items cancelled"] += len(rest)
        self.cancel(rest)
        if len(state.errors) > state.borne:
            self.notes["map failed"] += 1
            return self.fail(unit, Outcome("failed", None, state.errors[0], False))
        self.notes["map with failed items completed" if state.errors else "map completed"] += 1
        return self.complete(unit, [state.outputs.get(index) for index in range(len(state.items))])

    def to_undo(self, name: str, scope: Scope) -> dict[str, Any] | None:
        """What an undo sees of what has completed; None where there is nothing to undo: of a map its items are."""
        node = node_of(name)
        place, state = self.places[node][scope], self.maps.get((node, scope))
        if state is None:
            return {"output": place.output} if place.status == "COMPLETED" else None
        for index, output in state.outputs.items():
            if named(node, index) == name:
                self.notes["item undone"] += 1
                return {"output": output, "item": state.items[index], "index": index}
        return None


def _state(config: dict[str, Any]) -> MapState | None:
    """A map that has yet to begin; None where its config is not right."""
    items, window = config["items"], config.get("max_concurrency", AT_WORK)
    borne = config.get("tolerate_failures", 0)
    if not isinstance(items, list) or not _count(window, 1):
        return None
    if isinstance(borne, str) and re.fullmatch(r"\d+%", borne):
        borne = len(items) * int(borne[:-1]) // 100
    return MapState(items, window, borne) if _count(borne, 0) else None


def _count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
