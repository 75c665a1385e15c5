"""The saved workflows of a world, and the runs that calls of them start there."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.children import parent_job
from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.ids import parse_token
from chalicelib.domain.journal import parse_item
from chalicelib.domain.limits import Limits
from chalicelib.engine.catalog import Catalog
from chalicelib.engine.ports import JournalItem
from chalicelib.engine.services import Services
from tests.simulation.drawn import TIMEOUT_MS, SimulatedRun
from tests.simulation.generate import behaviour
from tests.simulation.generate_calls import NEVER, TAGS, saved
from tests.simulation.reference_calls import Calls, Path, levels_below
from tests.simulation.reference_graph import Scope
from tests.simulation.reference_state import Behave, Outcome, named
from tests.simulation.unheard import UNHEARD, with_unheard, without_answer

Json = Any
#: The names of the workflows that a document calls.
_CALLED = re.compile('"workflow": "([^"@]+)')


@dataclass
class Family:
    """What is saved in a world: name -> versions. How a run's workers answer follows from the calls it came from."""

    seed: int
    documents: dict[str, list[Json]] = field(default_factory=dict)
    #: Whether some attempts are never answered.
    rough: bool = False

    @classmethod
    def drawn(cls, seed: int) -> Family:
        """Those of a world of all node types."""
        return cls(seed, saved(random.Random(f"saved {seed}")))

    def silence(self, runs: list[SimulatedRun]) -> None:
        """Let some attempts in children go unanswered, and some calls have children that never end by themselves."""
        rng = random.Random(f"silence {self.seed}")
        self.rough = bool(self.documents)
        for name, versions in self.documents.items():
            for document in versions:
                with_unheard(SimulatedRun(name, document, None, self._nobody, ()), rng)
        documents = [document for versions in self.documents.values() for document in versions]
        for node in [node for document in documents + [run.document for run in runs] for node in document["nodes"]]:
            if node["type"] == "workflow" and node["config"]["workflow"].startswith("frail") and rng.random() < 0.3:
                node["config"]["workflow"] = rng.choice(["never", "late"])
                if node["config"]["workflow"] == "never" or rng.random() < 0.3:
                    node["timeout_ms"] = TIMEOUT_MS
        if self.rough:
            self.documents |= {"never": [NEVER], "late": [{**NEVER, "timeout_ms": TIMEOUT_MS}]}

    def save(self, services: Services, runs: Iterable[SimulatedRun]) -> None:
        """Save what these runs and their children may call."""
        catalog = Catalog(services.directory, "acme")
        called: dict[str, list[Json]] = {}
        todo = [run.document for run in runs]
        while todo:
            for name in _CALLED.findall(json.dumps(todo.pop())):
                if name in self.documents and name not in called:
                    called[name] = self.documents[name]
                    todo += called[name]
        for name, versions in called.items():
            for number, document in enumerate(versions, start=1):
                plan = compile_workflow(document, limits=Limits())
                services.plans.save(plan)
                version = catalog.save(name, plan.hash, by="ann", at=services.clock.now_ms()).version
                assert version == number, f"{name} has one content twice"
            for tag, number in TAGS.items():
                catalog.tag(name, tag, number, by="ann", at=services.clock.now_ms())

    def find(self, reference: str) -> Json | None:
        """The document of `name`, `name@2` or `name@tag`."""
        name, _, rest = reference.partition("@")
        versions = self.documents.get(name, [])
        number = len(versions) if not rest else TAGS.get(rest, int(rest) if rest.isdigit() else 0)
        return versions[number - 1] if 0 < number <= len(versions) else None

    def workers(self, document: Json, path: Path) -> Behave:
        """The workers of a child."""
        behave = behaviour(random.Random(f"{self.seed} {path!r}"), document)
        never = {node["id"] for node in document["nodes"] if "never" in node.get("metadata", {}).get("sim", {})}
        silent = {node["id"] for node in document["nodes"] if node["type"] == "function" and "timeout_ms" in node}
        behave = without_answer(behave, frozenset(silent if self.rough else ()))
        return lambda *place: Outcome("failed", None, UNHEARD) if place[0] in never else behave(*place)

    def anyone(self) -> Calls:
        """What the reference may call in place of a run that no world has."""
        return Calls(self.find, self.workers, ("r",))

    @staticmethod
    def _nobody(name: str, scope: Scope, attempt: int) -> Outcome:
        raise AssertionError("only its document is wanted")

    def child(self, first: JournalItem, runs: dict[str, SimulatedRun]) -> SimulatedRun:
        """The run that a call has started, by its first journal item."""
        meta = parse_item(first.text).body["meta"]
        job = parent_job(meta["parent"])
        caller, token = runs[job.run_id], parse_token(job.token)
        document = self.documents[meta["workflow"]][int(meta["version"]) - 1]
        path = (*caller.path, (named(token.node, token.index), token.scope, token.attempt))
        left = levels_below(caller.document, caller.left) - 1
        return SimulatedRun(first.run_id, document, json.loads(meta["input"]), self.workers(document, path), path, left)

    def calls(self, run: SimulatedRun) -> Calls:
        """What the reference may call in place of the run."""
        return Calls(self.find, self.workers, run.path, run.left)
