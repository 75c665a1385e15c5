"""Runs a workflow document in the most naive way: a list of outstanding units, one settled at a time.

It is the second opinion that the engine is compared with: it shares no code with it, knows no queue, store or clock,
and keeps everything in dictionaries. `schedule` chooses which unit is next, so that one document can be run under many
interleavings. `Result.agreed()` says which parts do not depend on the schedule.

Finer points that the contract leaves open, as decided here: conditions see the variables that their node has just
set; a loop node waits for the failure edges that leave its body before it runs; a completed node without edges, or
with failure edges alone, is terminal; a `succeed` node ends a run at once, but does not handle what failed before.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from tests.simulation.reference_agents import play
from tests.simulation.reference_calls import Calls
from tests.simulation.reference_cel import CelError, render
from tests.simulation.reference_graph import Edge, Scope
from tests.simulation.reference_maps import Maps
from tests.simulation.reference_people import Foreseen, Outside
from tests.simulation.reference_state import (
    UNDO_ATTEMPTS,
    Behave,
    Outcome,
    Place,
    Result,
    Schedule,
    Unit,
    node_of,
    retried,
)

_STEP_LIMIT = 100_000


def run(
    document: dict[str, Any],
    input: Any,
    behave: Behave,
    schedule: Schedule | None = None,
    notes: Counter[str] | None = None,
    calls: Calls | None = None,
    outside: Outside | None = None,
) -> Result:
    """Runs a valid document to its end; raises RuntimeError if that takes more than 100,000 steps, and what `schedule`
    raises: then `notes` tell which rules have come into play so far."""
    made = _Run(document, input, behave, schedule)
    made.notes = made.notes if notes is None else notes
    made.calls, made.outside = calls, outside or Foreseen()
    return made.result()


class _Run(Maps):
    """Settles units and decides which edges they take."""

    #: What its nodes may call.
    calls: Calls | None = None
    outside: Outside

    def result(self) -> Result:
        for name in self.graph.entries:
            self.start(name, self.graph.first_scope(name, ()), {})
        for _ in range(_STEP_LIMIT):
            if not self.units or self.final:
                break
            self.settle(self.choose())
        else:
            raise RuntimeError("the run does not end")
        for unit in self.units:
            self.record(unit, "CANCELLED")
        status, output = self.final or self.ending()
        if status == "FAILED" and self.document.get("on_failure") == "compensate":
            self.roll_back()
        cut_short = bool(self.final) or self.survivors is not None
        nodes = {name: self.status(name) for name in self.graph.nodes}
        state = (+self.executions, self.vars, self.tasks, self.undone, self.failures, cut_short, self.notes, self.used)
        return Result(status, self.error, output, nodes, *state, self.begun_maps())

    def ending(self) -> tuple[str, Any]:
        """Status and output of a run with nothing outstanding."""
        if self.failures:
            return "FAILED", None
        if "output" not in self.document:
            ends = {name: self.newest(name, ()) for name in self.graph.terminals}
            return "COMPLETED", {name: at["output"] for name, at in ends.items() if at["status"] == "COMPLETED"}
        try:
            return "COMPLETED", render(self.document["output"], self.env((), {}))
        except CelError:
            self.error = {"type": "TemplateError", "node_id": None}
            return "FAILED", None

    def roll_back(self) -> None:
        """Undoes what is completed, newest first, one at a time; what fails is passed over."""
        for name, scope in reversed(self.completed):
            body, given = self.graph.nodes[node_of(name)].get("compensate"), self.to_undo(name, scope)
            if body is not None and given is not None:
                self.undone[(name, scope)] = self.undo(name, scope, body, given)

    def undo(self, name: str, scope: Scope, body: dict[str, Any], extra: dict[str, Any]) -> tuple[str, Any]:
        try:
            config = render(body["config"], self.env(scope, extra))
        except CelError:
            self.notes["undo without config"] += 1
            return "FAILED", None
        for attempt in range(1, _STEP_LIMIT):
            outcome = Outcome() if body["type"] == "transform" else self.behave(name, scope, UNDO_ATTEMPTS + attempt)
            if outcome.status == "completed" or not retried(body.get("retry", {}), attempt, outcome):
                break
        done = "COMPLETED" if outcome.status == "completed" else "FAILED"
        self.notes[f"undo {done}"] += 1
        return done, config

    def choose(self) -> Unit:
        """The unit that is settled next; it is outstanding no more."""
        ready = [unit for unit in self.units if self.is_ready(unit)]
        if isinstance(self.schedule, random.Random):
            place = self.schedule.randrange(len(ready))
        else:
            place = self.schedule(ready) if self.schedule else 0
        self.units.remove(ready[place])
        return ready[place]

    def settle(self, unit: Unit) -> None:
        if self.of_map(unit):
            return self.settle_of_map(unit)
        outcome = self.perform(unit)
        if outcome.status == "failed":
            self.fail(unit, outcome)
        else:
            self.complete(unit, outcome.output)
        return None

    def perform(self, unit: Unit) -> Outcome:
        kind = self.graph.nodes[unit.node]["type"]
        if unit.bad_config:
            return Outcome("failed", None, "TemplateError", False)
        if kind in ("pass", "branch", "loop"):
            return Outcome(output=self.what_reached(unit))
        if kind in ("fail", "succeed"):
            return Outcome(output=unit.config.get("output"))
        if kind == "transform":
            return Outcome(output=unit.config["value"])
        if kind == "wait":
            return Outcome(output={})
        if kind == "workflow":
            return self.call(unit, self.what_reached(unit))
        if kind in ("human", "event"):
            return self.outside(self.graph.nodes[unit.node], unit)
        outcome = self.behave(unit.node, unit.scope, unit.attempt)
        if kind == "agent":
            outcome, used = play(unit.config, outcome)
            self.used += used
        return outcome

    def call(self, unit: Unit, reached: Any) -> Outcome:
        assert self.calls is not None
        given = unit.config.get("input", reached)
        return self.calls.outcome(unit, self.document, given, run)

    def what_reached(self, unit: Unit) -> Any:
        if not unit.inflow:
            return self.input
        return dict(unit.inflow) if len(unit.inflow) > 1 else next(iter(unit.inflow.values()))

    # Settlements.

    def complete(self, unit: Unit, output: Any) -> None:
        node, before = self.graph.nodes[unit.node], self.vars
        if node["type"] in ("fail", "succeed"):
            return self.finish(unit, node["type"], output)
        if not _known_choice(node.get("branch", {}), output):
            return self.fail(unit, Outcome("failed", None, "TaskFailed", False))
        env = self.env(unit.scope, {"output": output})
        try:
            fresh = {name: render(value, env) for name, value in node.get("set", {}).items()}
        except CelError:
            return self.fail(unit, Outcome("failed", None, "TemplateError", False))
        self.vars = {**before, **fresh}
        self.record(unit, "COMPLETED", output)
        step = self.loop_step(unit, {**env, "vars": self.vars})
        self.notes[f"loop {step}"] += 1
        if step == "limit":
            self.executions[(unit.node, unit.scope, unit.attempt, "COMPLETED")] -= 1
            self.vars = before
            return self.fail(unit, Outcome("failed", None, "LoopLimit", False))
        if step == "back":
            return self.go_back(unit, output)
        self.route(unit.node, unit.scope, self.chosen(unit, step, {**env, "vars": self.vars}), output)
        return None

    def finish(self, unit: Unit, kind: str, output: Any) -> None:
        self.notes[kind] += 1
        if kind == "succeed":
            self.record(unit, "COMPLETED", output)
            self.final = ("FAILED", None) if self.failures else ("COMPLETED", output)
            return
        error = unit.config.get("error", {"type": "TaskFailed"})
        self.record(unit, "FAILED", None, error)
        self.error = self.error or {"type": error["type"], "node_id": unit.node}
        self.final = ("FAILED", None)

    def loop_step(self, unit: Unit, env: dict[str, Any]) -> str:
        loop = self.graph.nodes[unit.node].get("loop")
        if loop is None:
            return "none"
        if not self.holds(loop["condition"], env):
            return "break" if "break_path" in loop else "over"
        if unit.scope[-1][1] < loop.get("max_iterations", 100):
            return "back"
        return "timeout" if "timeout_path" in loop else "limit"

    def go_back(self, unit: Unit, output: Any) -> None:
        back_to = self.graph.nodes[unit.node]["loop"]["loop_back_to"]
        outer = (*unit.scope[:-1], (unit.node, unit.scope[-1][1] + 1))
        self.start(back_to, self.graph.first_scope(back_to, outer), {unit.node: output})

    def chosen(self, unit: Unit, step: str, env: dict[str, Any]) -> list[Edge]:
        """The edges that a completed node takes."""
        edges = self.graph.out[unit.node]
        if step in ("break", "timeout"):
            return [edge for edge in edges if step in edge.roles]
        roles = self.branch_roles(self.graph.nodes[unit.node].get("branch"), env)
        named = env["output"].get("next_nodes", []) if "chosen" in roles else []
        taken = [e for e in edges if e.roles & (roles - {"chosen"}) or ("chosen" in e.roles and e.target in named)]
        plain = [edge for edge in edges if not edge.roles and edge.on != "failure"]
        return taken + [edge for edge in plain if edge not in taken and self.holds(edge.condition, env)]

    def branch_roles(self, branch: Any, env: dict[str, Any]) -> set[str]:
        if branch is None:
            return set()
        if branch.get("type") == "agent_driven":
            return {"chosen"} if _named(env["output"]) or "default" not in branch else {"default"}
        every = branch.get("mode") == "all"
        matched: set[str] = set()
        for at, rule in enumerate(branch.get("rules", [])):
            if (every or not matched) and self.holds(rule["condition"], env):
                matched.add(f"rule {at}")
        self.notes["branch matched" if matched else "branch default"] += 1
        return matched or {"default"}

    def fail(self, unit: Unit, outcome: Outcome) -> None:
        error = {"type": outcome.error, "message": outcome.error}
        self.record(unit, "FAILED", None, error)
        if retried(self.graph.nodes[unit.node].get("retry", {}), unit.attempt, outcome):
            self.notes["retry"] += 1
            return self.start(unit.node, unit.scope, unit.inflow, unit.attempt + 1)
        env = self.env(unit.scope, {"output": None, "error": error})
        taken = [e for e in self.graph.out[unit.node] if e.on != "success" and self.holds(e.condition, env)]
        handled = any(edge.on == "failure" for edge in taken)
        if handled or self.leads_nowhere(unit.node, unit.scope):
            self.notes["failure handled" if handled else "failure without consequence"] += 1
            return self.route(unit.node, unit.scope, taken, None)
        self.notes["failure unhandled, always taken" if taken else "failure unhandled"] += 1
        self.failures.append(unit.node)
        self.error = self.error or {"type": outcome.error, "node_id": unit.node}
        fail_fast = self.document.get("on_failure", "fail_fast") != "finish_branches"
        outstanding = list(self.units)
        if fail_fast:
            self.survivors = {unit.node}
        self.route(unit.node, unit.scope, taken, None)
        if fail_fast:
            self.cancel(outstanding)
        return None

    def leads_nowhere(self, name: str, scope: Scope) -> bool:
        """Whether every way forward ends in a join that has fired already."""
        for edge in self.graph.out[name]:
            target = self.graph.target_scope(edge, scope)
            fired = self.places[edge.target].get(target, Place()).fired and self.need(edge.target) > 0
            if not fired and not self.leads_nowhere(edge.target, target):
                return False
        return bool(self.graph.out[name])


def _named(output: Any) -> Any:
    return output.get("next_nodes") if isinstance(output, dict) else None


def _known_choice(branch: dict[str, Any], output: Any) -> bool:
    if branch.get("type") != "agent_driven":
        return True
    named = _named(output)
    if named is None and branch.get("default"):
        return True
    return isinstance(named, list) and set(named) <= set(branch["available_next_nodes"])
