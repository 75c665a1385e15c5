"""Clients of a world: each asks for one thing at some moment, and asks again until it hears an answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.errors import Conflict, GraftError, Unavailable
from chalicelib.domain.ids import parse_job_id
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.patch_terms import Change
from chalicelib.engine.patches import PatchRequest, patch_run
from chalicelib.engine.redo import redrive_run, rerun_node, skip_node
from chalicelib.engine.run_reader import read_state
from chalicelib.engine.services import Services
from tests.simulation.strands import Killed, Strand

Json = Any


@dataclass(frozen=True)
class Intent:
    """What one client wants of one run. `key` makes patches known again, and seeds what the client chooses.

    A client that names a `node` waits until it is at work.
    """

    kind: str
    run_id: str
    key: str
    node: str = ""

    def act(self, services: Services, nodes: list[str]) -> object:
        """Ask for it. Raises what the engine raises."""
        chance = random.Random(f"{self.run_id} {self.kind} {self.key}")
        node = self.node or chance.choice(sorted(nodes))
        acts: dict[str, Callable[[], object]] = {
            "read": lambda: read_state(services, "acme", self.run_id),
            "pause": lambda: pause_run(services, self.run_id, "client"),
            "resume": lambda: resume_run(services, self.run_id, "client"),
            "cancel": lambda: cancel_run(services, self.run_id, "client"),
            "redrive": lambda: redrive_run(services, self.run_id, "client"),
            "rerun": lambda: rerun_node(services, self.run_id, node, "client"),
            "skip": lambda: self._skip(services, node, chance),
            "patch": lambda: patch_run(services, self._patch(chance)),
        }
        return acts[self.kind]()

    def _skip(self, services: Services, node: str, chance: random.Random) -> None:
        """Skip a node, or, where several items of a map are at work, one of these or the map."""
        output = {"n": 1, "node": node}
        try:
            skip_node(services, self.run_id, node, output, "client")
        except Conflict as conflict:
            jobs = [job.message for job in conflict.problems if job.code == "choose_job"]
            if not any("[" in parse_job_id(job, services.secret).token for job in jobs):
                raise
            skip_node(services, self.run_id, node, output, "client", chance.choice(jobs))

    def _patch(self, chance: random.Random) -> PatchRequest:
        seed = chance.random()

        def operations(plan: Any) -> Json:
            """A node behind another one, and now and then one node less; the same for the same graph."""
            again = random.Random(seed)
            names = sorted(name for name in plan.nodes if not plan.nodes[name].loops)
            new, source = f"p{self.key}", again.choice(names or ["none"])
            found = [added(new), edge(source, new)] if names else [added(new)]
            if again.random() < 0.4:
                found.append({"op": "remove", "path": f"/nodes/{again.choice(sorted(plan.nodes))}"})
            return found + map_changes(plan.document, again)

        return PatchRequest("acme", "client", self.run_id, Change(operations, self.key), once=self.key)


def added(name: str) -> Json:
    """The operation that adds a function node."""
    config = {"handler": "echo", "params": {"by": name}}
    return {"op": "add", "path": "/nodes/-", "value": {"id": name, "type": "function", "config": config}}


def map_changes(document: Json, again: random.Random) -> list[Json]:
    """Operations that change the config of a map, if there is one: now and then what is done for each item."""
    maps = sorted(node["id"] for node in document["nodes"] if node["type"] == "map")
    if not maps or again.random() < 0.5:
        return []
    path = f"/nodes/{again.choice(maps)}/config"
    changes: list[tuple[str, Json]] = [
        ("/max_concurrency", again.randrange(1, 4)),
        ("/tolerate_failures", "100%"),
        ("/items", [1, 2, 3]),
        ("/body/retry", {"max_attempts": 3, "backoff_ms": 1}),
        ("/body/config", {"handler": "echo", "params": {"again": "${item}"}}),
    ]
    chosen = again.sample(changes, again.randrange(1, 3))
    return [{"op": "add", "path": f"{path}{place}", "value": value} for place, value in chosen]


def edge(source: str, target: str) -> Json:
    """The operation that adds an edge."""
    return {"op": "add", "path": "/edges/-", "value": {"from": source, "to": target}}


@dataclass
class Clients:
    """The intents of a world that are still to be heard, and those that were answered."""

    rng: random.Random
    open: list[Intent] = field(default_factory=list)
    answered: list[Intent] = field(default_factory=list)
    refused: list[Intent] = field(default_factory=list)
    #: Whether a node that an intent names is at work.
    at_work: Callable[[Intent], bool] = lambda intent: True

    def want(self, kinds: tuple[str, ...], run_ids: list[str], most: int) -> None:
        """Draw up to `most` intents a run."""
        for run_id in run_ids:
            for number in range(self.rng.randrange(most + 1)):
                self.open.append(Intent(self.rng.choice(kinds), run_id, str(number)))

    def want_of(self, kinds: tuple[str, ...], run_id: str, nodes: list[str]) -> None:
        """Draw what is wanted of each of these nodes."""
        for node in nodes:
            self.open.append(Intent(self.rng.choice(kinds), run_id, f"of {node}", node))

    def ready(self, waiting: set[str]) -> list[Intent]:
        """What can be asked for: of runs whose start was asked for."""
        asked = [intent for intent in self.open if intent.run_id not in waiting]
        return [intent for intent in asked if not intent.node or self.at_work(intent)]

    def ask(self, intent: Intent, services: Services, nodes: list[str]) -> Callable[[], object]:
        """What the client's strand does."""
        self.open.remove(intent)
        return lambda: intent.act(services, nodes)

    def heard(self, intent: Intent, strand: Strand) -> None:
        """An answer came, or the client asks again. Whoever pauses a run resumes it some time."""
        if isinstance(strand.error, Killed | Unavailable):
            self.open.append(intent)
            return
        if strand.error is not None and not isinstance(strand.error, GraftError):
            raise strand.error
        (self.answered if strand.error is None else self.refused).append(intent)
        if intent.kind == "pause":
            self.open.append(Intent("resume", intent.run_id, intent.key))
