"""Rough worlds whose runs are also controlled and patched: by clients at any moment, and by their own nodes.

How such a run ends depends on when it was controlled, so no reference is followed: the invariants are what counts, and
that what was answered has happened.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import redis

from chalicelib.domain.journal import parse_item
from chalicelib.engine.executions import standings
from tests.simulation.clients import added, edge
from tests.simulation.drawn import TIMEOUT_MS, SimulatedRun
from tests.simulation.invariants import require
from tests.simulation.reference_graph import Scope
from tests.simulation.reference_state import Outcome
from tests.simulation.rough import RoughWorld

Json = Any
#: What clients of one world ask for: some only patch and pause, and then no node may be left behind.
PATCHING = ("patch", "patch", "pause")
ALL = ("patch", "pause", "cancel", "redrive", "redrive", "rerun", "rerun", "skip", "skip", "read")
#: Action -> the event that says so in the journal.
SAID = {"cancel": "run_cancelled", "redrive": "run_redriven", "rerun": "run_redriven", "pause": "run_paused"}


class ControlledWorld(RoughWorld):
    """A rough world with clients who do more than wait."""

    def __init__(self, client: redis.Redis, seed: int, *, mixed: bool = False) -> None:
        super().__init__(client, seed, racing=False, mixed=mixed)
        self.patching_only = self.rng.random() < 0.4
        self.runs = {run_id: self._prepared(run) for run_id, run in self.runs.items()}
        self._waiting = list(self.runs.values())
        self.clients.open.clear()
        self.clients.want(PATCHING if self.patching_only else ALL, list(self.runs), self.rng.choice([2, 4, 8]))

    def _prepared(self, run: SimulatedRun) -> SimulatedRun:
        """Now and then the run itself has a timeout."""
        if not self.patching_only and self.rng.random() < 0.2:
            run.document["timeout_ms"] = TIMEOUT_MS
        return self._answering(run)

    def _answering(self, run: SimulatedRun) -> SimulatedRun:
        """Its workers also answer the nodes that patches add."""
        known = {node["id"] for node in run.document["nodes"]}

        def behave(name: str, scope: Scope, attempt: int) -> Outcome:
            return run.behave(name, scope, attempt) if name in known else Outcome(output={"n": 0, "node": name})

        return replace(run, behave=behave)

    def _adopt(self, run: SimulatedRun) -> None:
        super()._adopt(self._answering(run))
        kinds = ("patch", "pause") if self.patching_only else ALL
        self.clients.want(kinds, [run.run_id], self.rng.choice([0, 1, 2, 3]))

    def _answer(self, task: dict[str, Json]) -> str | None:
        text, name = super()._answer(task), task["node_id"]
        if text is None:
            return None
        signal, dice = json.loads(text), random.Random(task["job_id"])
        if signal["status"] == "completed" and not task["loops"] and dice.random() < 0.15:
            new = f"by_{name}"[:60]
            signal["patch"] = {"operations": [added(new), edge(name, new)], "description": "more"}
        return json.dumps(signal)

    def judge(self) -> None:
        """What was answered is in the journal, a patch is there once, and patched runs left nothing undone."""
        for run_id in self.runs:
            events = [
                event
                for item in self.audit.chains[run_id].items
                for event in json.loads(parse_item(item.text).body.get("ev") or "[]")
            ]
            types = {event["t"] for event in events}
            made = [event["d"]["description"] for event in events if event["t"] == "patch_applied"]
            keys = [key for key in made if key != "more"]
            require(len(keys) == len(set(keys)), f"run {run_id}: a patch was applied twice: {keys}")
            answered = [intent for intent in self.clients.answered if intent.run_id == run_id]
            for intent in answered:
                done = intent.key in made if intent.kind == "patch" else SAID.get(intent.kind) in {None, *types}
                require(done, f"run {run_id}: {intent.kind} {intent.key} was answered and is not in the journal")
            if self.patching_only:
                self._nothing_left(run_id)

    def _nothing_left(self, run_id: str) -> None:
        """Every node of a run that was not cut short has settled."""
        state = self.state(run_id)
        plan = self.services().plans.load(state["meta"]["graph"])
        left = set(plan.nodes) - set(standings(state))
        # A node's failure that nobody handled cancels the rest, unless the workflow lets its branches end.
        failed = plan.on_failure != "finish_branches" and "failed_last" in state["meta"]
        cut = failed or "result" in state["meta"] or state["meta"]["status"] in ("CANCELLED", "TIMED_OUT")
        cut = cut or "fail" in {node.type for node in plan.nodes.values()}
        require(cut or not left, f"run {run_id} left {left} behind")
