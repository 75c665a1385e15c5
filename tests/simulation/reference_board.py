"""Keeps the state of a reference run: outstanding units, nodes by scope, edges resolved, joins, skips."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.simulation.reference_cel import CelError, evaluate, render
from tests.simulation.reference_graph import Edge, Graph, Scope, in_common
from tests.simulation.reference_state import Behave, Place, Schedule, Unit


class _Ctx(dict[str, Any]):
    """`ctx` as one reader sees it; nodes are looked up when they are named."""

    def __init__(self, run: Board, scope: Scope) -> None:
        super().__init__()
        self.run, self.scope = run, scope

    def __missing__(self, name: str) -> Any:
        return self.run.newest(name, self.scope)


class Board:
    """What has happened so far, and what follows from an edge being resolved."""

    def __init__(self, document: dict[str, Any], input: Any, behave: Behave, schedule: Schedule | None) -> None:
        self.document, self.input, self.behave, self.schedule = document, input, behave, schedule
        self.graph = Graph(document)
        self.places: dict[str, dict[Scope, Place]] = {name: {} for name in self.graph.nodes}
        self.units: list[Unit] = []
        self.vars = dict(document.get("vars", {}))
        self.executions: Counter[Any] = Counter()
        self.tasks: dict[tuple[str, Scope], Any] = {}
        self.completed: list[tuple[str, Scope]] = []
        self.undone: dict[tuple[str, Scope], tuple[str, Any]] = {}
        self.failures: list[str] = []
        self.error: dict[str, Any] | None = None
        self.final: tuple[str, Any] | None = None
        self.survivors: set[str] | None = None
        self.notes: Counter[str] = Counter()
        self.used: Counter[str] = Counter()

    # Reading.

    def place(self, name: str, scope: Scope) -> Place:
        found = self.places[name].get(scope)
        if found is None:
            found = self.places[name][scope] = Place()
        return found

    def status(self, name: str) -> str:
        """The status of the newest scope instance."""
        newest = max(self.places[name], key=_iterations, default=None)
        return "PENDING" if newest is None else self.places[name][newest].status

    def env(self, scope: Scope, extra: dict[str, Any]) -> dict[str, Any]:
        inside = {"iteration": scope[-1][1]} if scope else {}
        return {"input": self.input, "vars": self.vars, "ctx": _Ctx(self, scope), **inside, **extra}

    def newest(self, name: str, reader: Scope) -> dict[str, Any]:
        """`ctx.<name>`: the newest settled execution in the reader's scope, else in the nearest one around it."""
        if name not in self.places:
            raise CelError(f"no node {name}")
        settled = {s: p for s, p in self.places[name].items() if p.status not in ("PENDING", "RUNNING")}
        scope = max(settled, key=lambda s: (in_common(s, reader), _iterations(s)), default=None)
        place = Place() if scope is None else settled[scope]
        count = scope[-1][1] if scope else None
        named = {"output": place.output, "status": place.status, "error": place.error}
        return {**named, "iteration": count, "attempt": place.attempt}

    def holds(self, condition: Any, env: dict[str, Any]) -> bool:
        """Whether a condition matches; one that cannot be evaluated does not."""
        if condition is None:
            return True
        source = condition if isinstance(condition, str) else condition["expression"]
        try:
            value = evaluate(source, env)
        except CelError:
            value = None
        if not isinstance(value, bool):
            self.notes["condition_failed"] += 1
        return value is True

    # Units.

    def start(self, name: str, scope: Scope, inflow: dict[str, Any], attempt: int = 1) -> None:
        unit = Unit(name, scope, attempt, dict(inflow), arming=self.graph.nodes[name]["type"] == "map")
        try:
            unit.config = render(self.own_config(name), self.env(scope, {}))
        except CelError:
            unit.bad_config = True
        self.tasks.setdefault((name, scope), unit.config)
        place = self.place(name, scope)
        place.status, place.fired = "RUNNING", True
        self.units.append(unit)
        if self.survivors is not None:
            self.survivors.add(name)

    def own_config(self, name: str) -> dict[str, Any]:
        """The config that a node is started with: a map's body is rendered for each item."""
        node = self.graph.nodes[name]
        config: dict[str, Any] = node.get("config", {})
        return config if node["type"] != "map" else {key: value for key, value in config.items() if key != "body"}

    def record(self, unit: Unit, status: str, output: Any = None, error: dict[str, str] | None = None) -> None:
        if unit.index is None:
            place = self.place(unit.node, unit.scope)
            place.status, place.output, place.error, place.attempt = status, output, error, unit.attempt
        self.executions[(unit.name, unit.scope, unit.attempt, status)] += 1
        self.completed += [(unit.name, unit.scope)] if status == "COMPLETED" else []

    def cancel(self, units: list[Unit]) -> None:
        self.units = [unit for unit in self.units if unit not in units]
        for unit in units:
            self.notes["cancelled"] += 1
            self.record(unit, "CANCELLED")
        for unit in units:
            if unit.index is None:
                self.route(unit.node, unit.scope, [], None)

    # Routing.

    def route(self, name: str, scope: Scope, taken: list[Edge], output: Any) -> None:
        """Resolves the edges out of a settled node. One that leaves a loop stays open until it is taken."""
        for edge in self.graph.out[name]:
            for each in (edge, *edge.beside):
                if edge in taken or not self.graph.left_by(each):
                    self.arrive(each, self.graph.target_scope(each, scope), edge in taken, output)
        if "loop" in self.graph.nodes[name]:
            self.end_loop(name, scope[:-1])

    def end_loop(self, loop: str, outer: Scope) -> None:
        """What could still leave through this loop, and has not, is not taken."""
        for edge in self.graph.edges.values():
            for each in (edge, *edge.beside):
                if self.graph.left_by(each)[:1] == (loop,):
                    self.arrive(each, self.graph.target_scope(each, outer), False, None)

    def arrive(self, edge: Edge, scope: Scope, taken: bool, output: Any) -> None:
        place = self.place(edge.target, scope)
        if edge.key in place.resolved:
            return
        place.resolved[edge.key] = taken
        if taken and not edge.veto:
            place.inflow.setdefault(edge.source, output)
        if place.status == "PENDING":
            self.test_join(edge.target, scope)
        elif taken:
            self.notes["late arrival"] += 1

    def need(self, name: str) -> int:
        """How many taken edges fire this join; 0: all must be resolved."""
        join = self.graph.nodes[name].get("join", "all")
        if isinstance(join, str):
            return 1 if join == "any" else 0
        return int(join.get("count", 1))

    def test_join(self, name: str, scope: Scope) -> None:
        place, need = self.place(name, scope), self.need(name)
        states = [place.resolved.get(edge.key) for edge in self.graph.into[name]]
        vetoes = [place.resolved.get(veto.key) for veto in self.graph.vetoes[name]]
        taken, unsure = states.count(True), states.count(None)
        if True in vetoes and (need or None not in [*states, *vetoes]):
            self.skip(name, scope, "skipped by a failure that left the loop")
        elif need and taken >= need:
            self.fire(name, scope)
        elif need and taken + unsure < need:
            self.skip(name, scope, "join out of reach" if need > 1 else "skip")
        elif not need and None not in [*states, *vetoes]:
            self.fire(name, scope) if taken else self.skip(name, scope, "skip")

    def fire(self, name: str, scope: Scope) -> None:
        place = self.place(name, scope)
        if self.survivors is not None and not self.survivors & set(place.inflow):
            return self.skip(name, scope, "skip")
        self.notes["join fired"] += len(self.graph.into[name]) > 1
        self.start(name, scope, place.inflow)
        join = self.graph.nodes[name].get("join")
        if isinstance(join, dict) and join.get("cancel_losers"):
            self.cancel_losers(name, scope)
        return None

    def skip(self, name: str, scope: Scope, why: str) -> None:
        self.notes[why] += 1
        self.place(name, scope).status = "SKIPPED"
        self.executions[(name, scope, 0, "SKIPPED")] += 1
        self.route(name, scope, [], None)

    def cancel_losers(self, join: str, scope: Scope) -> None:
        """Cancels what can only lead to this join; of the losers' open scopes those beside the join's own."""
        beaten = []
        for name in self.graph.losers(join):
            around = scope[: self.graph.loops_in_common(name, join)]
            first = self.graph.first_scope(name, around)
            if self.place(name, first).status == "PENDING":
                self.skip(name, first, "loser never started")
            beaten += [u for u in self.units if u.node == name and u.scope[: len(around)] == around]
        self.cancel(beaten)


def _iterations(scope: Scope) -> tuple[int, ...]:
    return tuple(count for _, count in scope)
