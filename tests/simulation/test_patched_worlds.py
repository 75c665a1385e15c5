"""Worlds whose runs are patched, by clients and by their own nodes, while steps and clients die and signals repeat."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import redis

from chalicelib.domain.errors import GraftError, Unavailable
from chalicelib.domain.fold import fold
from chalicelib.domain.journal import parse_item
from chalicelib.engine.executions import standings
from chalicelib.engine.patch_terms import Change
from chalicelib.engine.patches import PatchRequest, patch_run
from infra.local.redis_server import RedisServer
from tests.simulation.invariants import require
from tests.simulation.strands import Killed, Strand
from tests.simulation.world import World

Json = Any


def node(name: str) -> Json:
    config = {"handler": "echo", "params": {"by": name}}
    return {"op": "add", "path": "/nodes/-", "value": {"id": name, "type": "function", "config": config}}


def edge(source: str, target: str) -> Json:
    return {"op": "add", "path": "/edges/-", "value": {"from": source, "to": target}}


class PatchedWorld(World):
    """A world with some patches to make."""

    def __init__(self, client: redis.Redis, seed: int) -> None:
        super().__init__(client, seed, racing=False)
        self.patches = [
            (run_id, number, f"k{number}") for run_id in self.runs for number in range(self.rng.choice([1, 2, 4]))
        ]
        self.accepted: list[tuple[str, str]] = []
        for run_id, run in list(self.runs.items()):
            self.runs[run_id] = _Patched(run)

    def _event(self) -> bool:
        if self.patches and len(self._waiting) < len(self.runs) and self.rng.random() < 0.05:
            self._patch(*self.patches.pop(self.rng.randrange(len(self.patches))))
            return True
        return super()._event()

    def _patch(self, run_id: str, number: int, key: str) -> None:
        """A client patches a run; it sends the patch again until it hears an answer."""
        if run_id in {run.run_id for run in self._waiting}:
            return
        services, chance = self.services(), random.Random(f"{run_id} {number}")

        def operations(plan: Any) -> Json:
            names = sorted(name for name in plan.nodes if not plan.nodes[name].loops)
            new, source = f"p{number}", chance.choice(names or ["none"])
            found = [node(new), edge(source, new)] if names else [node(new)]
            if chance.random() < 0.4:
                found.append({"op": "remove", "path": f"/nodes/{chance.choice(sorted(plan.nodes))}"})
            return found

        request = PatchRequest("acme", "client", run_id, Change(operations, key), once=key)

        def ended(strand: Strand) -> None:
            if isinstance(strand.error, Killed | Unavailable):
                self.patches.append((run_id, number, key))
            elif strand.error is None:
                self.accepted.append((run_id, key))
            elif not isinstance(strand.error, GraftError):
                raise strand.error

        self._spawn(f"patch {key} of {run_id}", lambda: patch_run(services, request), ended)

    def _answer(self, task: dict[str, Json]) -> str:
        text, name = super()._answer(task), task["node_id"]
        signal, dice = json.loads(text), random.Random(task["job_id"])
        if signal["status"] == "completed" and not task["loops"] and dice.random() < 0.15:
            new = f"by_{name}"[:60]
            signal["patch"] = {"operations": [node(new), edge(name, new)], "description": "more"}
        return json.dumps(signal)

    def judge(self) -> int:
        """Every run is as its journal says, ended, left no node behind, and had each accepted patch once."""
        patches = 0
        for run_id in self.runs:
            state = self.state(run_id)
            folded = fold(parse_item(item.text) for item in self.audit.chains[run_id].items)
            for name, fields in state.items():
                mine = {field: text for field, text in folded[name].items() if (name, field) != ("meta", "mark")}
                require(fields == mine, f"run {run_id}: folding the journal gives another `{name}`")
            require(state["meta"]["status"] in ("COMPLETED", "FAILED"), f"{run_id} is {state['meta']['status']}")
            events = [
                e
                for i in self.audit.chains[run_id].items
                for e in json.loads(parse_item(i.text).body.get("ev") or "[]")
            ]
            made = [event["d"]["description"] for event in events if event["t"] == "patch_applied"]
            patches += len(made)
            keys = [key for key in made if key != "more"]
            require(len(keys) == len(set(keys)), f"a patch was applied twice: {keys}")
            missing = {key for run, key in self.accepted if run == run_id} - set(made)
            require(not missing, f"accepted patches are lost: {missing}")
            plan = self.services().plans.load(state["meta"]["graph"])
            failed = plan.on_failure != "finish_branches" and state["meta"]["status"] == "FAILED"
            cut = "result" in state["meta"] or failed
            left = set(plan.nodes) - set(standings(state))
            cut = cut or "fail" in {node.type for node in plan.nodes.values()}
            require(cut or not left, f"run {run_id} left {left} behind")
        return patches


class _Patched:
    """A run whose workers also answer the nodes that patches add."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def behave(self, name: str, scope: Any, attempt: int) -> Any:
        from tests.simulation.reference_state import Outcome

        known = {node["id"] for node in self._run.document["nodes"]}
        return self._run.behave(name, scope, attempt) if name in known else Outcome(output={"n": 0, "node": name})


@pytest.mark.parametrize("block", range(2))
def test_patched_worlds_end_well(block: int) -> None:
    with RedisServer() as server:
        client = redis.Redis(port=server.port, decode_responses=True)
        assert sum(play(client, seed) for seed in range(block * 10, block * 10 + 10)) > 5
        client.close()


def play(client: redis.Redis, seed: int) -> int:
    """Play one world; returns how many patches were applied."""
    client.flushall()
    world = PatchedWorld(client, seed)
    try:
        world.play()
        return world.judge()
    except BaseException as error:
        error.add_note(f"seed {seed}\n" + "\n".join(world.trace[-12:]))
        raise
