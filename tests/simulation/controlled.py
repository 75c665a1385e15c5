"""Rough worlds whose runs are also controlled and patched: by clients at any moment, and by their own nodes. In half of
them runs have breakpoints, and somebody who resumes them.

How such a run ends depends on when it was controlled, so no reference is followed: the invariants are what counts, and
that what was answered has happened.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import redis

from chalicelib.domain.breakpoints import with_breakpoints
from chalicelib.domain.commit import compact
from chalicelib.domain.ir import Plan
from chalicelib.domain.journal import parse_item
from chalicelib.domain.node_kinds import BREAKPOINT
from chalicelib.engine.executions import standings
from tests.simulation.clients import Intent, added, edge
from tests.simulation.drawn import TIMEOUT_MS, SimulatedRun
from tests.simulation.invariants import require
from tests.simulation.reference_graph import Scope
from tests.simulation.reference_state import Outcome, node_of
from tests.simulation.rough import RoughWorld
from tests.simulation.world import Option

Json = Any
#: What clients of one world ask for: some only patch and pause, and then no node may be left behind.
PATCHING = ("patch", "patch", "pause")
ALL = ("patch", "pause", "cancel", "redrive", "redrive", "rerun", "rerun", "skip", "skip", "read")
#: What they ask for of maps.
OF_MAPS = ("skip", "skip", "rerun")
#: Action -> the event that says so in the journal.
SAID = {"cancel": "run_cancelled", "redrive": "run_redriven", "rerun": "run_redriven", "pause": "run_paused"}


class ControlledWorld(RoughWorld):
    """A rough world with clients who do more than wait."""

    def __init__(self, client: redis.Redis, seed: int, *, mixed: bool = False) -> None:
        super().__init__(client, seed, racing=False, mixed=mixed)
        self.patching_only = self.rng.random() < 0.4
        self.runs = {run_id: self._prepared(run) for run_id, run in self.runs.items()}
        self._waiting = list(self.runs.values())
        #: Drawn apart, so that the rest of the world is the same with and without them.
        self._dice = random.Random(f"breakpoints {seed}")
        self.breakpoints = {run_id: self._drawn(run) for run_id, run in self.runs.items()}
        self.clients.open.clear()
        self.clients.want(PATCHING if self.patching_only else ALL, list(self.runs), self.rng.choice([2, 4, 8]))
        self.clients.at_work = self._is_at_work
        for run in self.runs.values() if not self.patching_only else ():
            maps = [node["id"] for node in run.document["nodes"] if node["type"] == "map"]
            self.clients.want_of(OF_MAPS, run.run_id, maps)

    def _prepared(self, run: SimulatedRun) -> SimulatedRun:
        """Now and then the run itself has a timeout."""
        if not self.patching_only and self.rng.random() < 0.2:
            run.document["timeout_ms"] = TIMEOUT_MS
        for node in run.document["nodes"]:
            if node["type"] == "map" and self.rng.random() < 0.2:
                node["timeout_ms"] = 1000 * self.rng.randrange(1, 10)
        return self._answering(run)

    def _answering(self, run: SimulatedRun) -> SimulatedRun:
        """Its workers also answer the nodes that patches add."""
        known = {node["id"] for node in run.document["nodes"]}

        def behave(name: str, scope: Scope, attempt: int) -> Outcome:
            return (
                run.behave(name, scope, attempt) if node_of(name) in known else Outcome(output={"n": 0, "node": name})
            )

        return replace(run, behave=behave)

    def _adopt(self, run: SimulatedRun) -> None:
        super()._adopt(self._answering(run))
        kinds = ("patch", "pause") if self.patching_only else ALL
        self.clients.want(kinds, [run.run_id], self.rng.choice([0, 1, 2, 3]))

    def _drawn(self, run: SimulatedRun) -> list[str]:
        names = [node["id"] for node in run.document["nodes"]]
        return self._dice.sample(names, min(len(names), self._dice.choice([0, 0, 1, 4])))

    def _plan(self, run: SimulatedRun) -> Plan:
        return with_breakpoints(super()._plan(run), self.breakpoints[run.run_id])

    def _chances(self) -> list[Option]:
        self._want_resumed(0.03)
        return super()._chances()

    def _pass_time(self) -> bool:
        self._want_resumed(1)
        return super()._pass_time()

    def _want_resumed(self, chance: float) -> None:
        """Somebody sees now and then that a run is paused, at the latest when nothing else happens."""
        asked = {intent.run_id for intent in self.clients.open if intent.kind == "resume"}
        for run_id, chain in self.audit.chains.items():
            stands = chain.status == "PAUSED" and self.breakpoints.get(run_id) and run_id not in asked
            if stands and self._dice.random() < chance:
                self.clients.open.append(Intent("resume", run_id, f"at {len(chain.items)}"))

    def _is_at_work(self, intent: Intent) -> bool:
        chain = self.audit.chains.get(intent.run_id)
        return chain is not None and chain.maps.is_at_work(intent.node)

    def _answer(self, task: dict[str, Json]) -> str | None:
        text, name = super()._answer(task), task["node_id"]
        if text is None:
            return None
        signal, dice = json.loads(text), random.Random(task["job_id"])
        if signal["status"] == "completed" and not task["loops"] and dice.random() < 0.15:
            new = f"by_{name}{task.get('index', '')}"[:60]
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
            self._has_stopped(run_id)
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

    def _has_stopped(self, run_id: str) -> None:
        """What began at a breakpoint began after a pause there, in a run that was resumed; skips did not begin."""
        marked, stopped, paused = set(), set(), False
        for item in map(lambda one: parse_item(one.text), self.audit.chains[run_id].items):
            body = item.body
            settled = body.get("settle", [""])[0]
            skipped = any(emit[2:4] == ["h", ""] for emit in body.get("emits", []))
            if settled in marked and not skipped:
                require(settled in stopped and not paused, f"run {run_id}: {settled} began and had not stopped")
            marked |= {emit[0] for emit in item.opened() if emit[3] == compact({BREAKPOINT: 1})}
            stopped |= {put[1].partition("|")[2] for put in body.get("put", []) if put[1].startswith("stopped|")}
            paused = body.get("meta", {}).get("status", "PAUSED" if paused else "") == "PAUSED"
        require(
            bool(self.breakpoints.get(run_id)) or not marked, f"run {run_id} stopped at a breakpoint that it has not"
        )

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
