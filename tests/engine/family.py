"""What the tests of child runs share: saved workflows, runs by how they are related, and deaths at a chosen effect."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from chalicelib.domain.children import child_run_id
from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.ids import Job
from chalicelib.domain.limits import Limits
from chalicelib.domain.records import parse_began
from chalicelib.engine.catalog import Catalog
from chalicelib.engine.history import load_state
from tests.doubles.faults import effect
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole
from tests.engine.test_step import edges, function

Json = Any
#: Its child's input is {"n": 1}, its output what the child gives.
PARENT = {
    "nodes": [
        {"id": "call", "type": "workflow", "config": {"workflow": "sub", "input": {"n": "${input.n}"}}},
        function("after", "${ctx.call.output}"),
    ],
    "edges": edges("call:after"),
}
#: A child that takes a worker, and gives {"work": its input}.
SUB = {"name": "sub", "nodes": [function("work", "${input}")]}


class Killed(Exception):
    """The process died here."""


def save(harness: Harness, document: Json, name: str = "sub", tenant: str = "acme", tag: str | None = None) -> int:
    """Save a workflow as the API does. Returns its version."""
    plan = compile_workflow(document, limits=Limits())
    harness.services.plans.save(plan)
    catalog = Catalog(harness.directory, tenant)
    version = catalog.save(name, plan.hash, by="ann", at=harness.clock.now).version
    if tag is not None:
        catalog.tag(name, tag, version, by="ann", at=harness.clock.now)
    return version


def calls_of(harness: Harness, run_id: str, node: str = "call") -> list[Job]:
    """The jobs of a node's calls that have begun, in order."""
    dis = load_state(harness.services, run_id)["dis"]
    begun = [(parse_began(record), text) for text, record in dis.items() if text.startswith(f"{node}@")]
    return [began.job(run_id, text) for began, text in sorted(begun, key=lambda pair: pair[0].no)]


def children_of(harness: Harness, run_id: str, node: str = "call") -> list[str]:
    """Ids of the runs that the node has called, in order."""
    return [child_run_id(job) for job in calls_of(harness, run_id, node)]


def status(harness: Harness, run_id: str) -> str | None:
    """As the journal has it; None for a run that has none."""
    return load_state(harness.services, run_id)["meta"].get("status")


def settle_all(harness: Harness) -> None:
    """Settle what is there; tasks stay on their queues."""
    while harness.settle_batch():
        pass


def begun(harness: Harness, document: Json = PARENT, **options: object) -> tuple[str, str]:
    """(parent, child), the child's task on its queue."""
    run_id = harness.start(document, {"n": 1}, **options)
    settle_all(harness)
    return run_id, children_of(harness, run_id)[-1]


def error_of(harness: Harness, run_id: str) -> Json:
    return json.loads(harness.meta(run_id)["error"])


def assert_family(harness: Harness, expected: dict[str, str]) -> None:
    """Each run has ended so, in the store and in the journal alike."""
    for run_id, ended in expected.items():
        assert status(harness, run_id) == ended, run_id
        if harness.store.snapshot(run_id, ("meta",)) is not None:
            assert_whole(harness, run_id, ended)


class Deaths:
    """Counts the effects on the ports of a harness, and kills the process at the chosen one, once."""

    def __init__(self, harness: Harness, at: int) -> None:
        self.count, self._at = 0, at
        for double in (harness.journal, harness.directory, harness.queues, harness.artifacts):
            double._fault = self
        for name in ("commit", "install", "acknowledge", "put_due"):
            setattr(harness.store, name, self._watched(name, getattr(harness.store, name)))

    def __call__(self, operation: str) -> None:
        if operation.startswith(("queues.receive", "queues.delete")) or not operation.endswith((".before", ".after")):
            return
        self.count += 1
        if self.count == self._at:
            raise Killed(operation)

    def _watched(self, name: str, call: Callable[..., Json]) -> Callable[..., Json]:
        def watched(*args: object, **named: object) -> Json:
            with effect(self, f"store.{name}"):
                return call(*args, **named)

        return watched


def surviving(harness: Harness, act: Callable[[], object]) -> None:
    """Do it; where the process dies over it, a second one goes on with what SQS delivers again."""
    with contextlib.suppress(Killed):
        act()
    for _ in range(20):
        try:
            harness.drain()
            return
        except Killed:
            continue
    raise AssertionError("it died again and again")
