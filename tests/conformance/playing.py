"""Plays a document on the engine with workers written for the reference interpreter."""

from __future__ import annotations

from typing import Any

from tests.engine.harness import Harness
from tests.simulation.agreement import Found, found
from tests.simulation.reference_state import Behave

Json = Any


def play(harness: Harness, document: dict[str, Json], input: Json, behave: Behave) -> Found:
    """How the run ended on the engine. Raises AssertionError where its journal does not fold to its state."""

    def work(task: dict[str, Json]) -> dict[str, Json]:
        outcome = behave(task["node_id"], tuple(task["loops"].items()), task["attempt"])
        if outcome.status == "completed":
            return {"status": "completed", "result": outcome.output}
        error = {"type": outcome.error, "message": outcome.error, "retryable": outcome.retryable}
        return {"status": "failed", "error": error}

    harness.worker = work
    run_id = harness.run(document, input)["run_id"]
    harness.assert_fold_equals_store(run_id)
    state = harness.store.snapshot(run_id)
    assert state is not None
    return found(state, harness.tasks, document)
