"""Plays a document on the engine with workers written for the reference interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chalicelib.engine.controls import cancel_run
from chalicelib.engine.run_events import send_event
from tests.engine.harness import Harness
from tests.simulation.agreement import Found, found
from tests.simulation.reference_state import Behave

Json = Any
BEGINNINGS = ("node_dispatched", "node_waiting")
ENDINGS = ("node_completed", "node_failed", "node_skipped", "node_cancelled")


def play(
    harness: Harness,
    document: dict[str, Json],
    input: Json,
    behave: Behave,
    *,
    cancel: bool = False,
    early: Sequence[str] = (),
    later: Sequence[str] = (),
) -> Found:
    """How the run ended on the engine; with `cancel`, somebody cancels it as soon as nothing moves but time. Events are
    sent before anything has run, and one by one whenever nothing moves; each carries its name.

    Raises AssertionError where its journal does not fold to its state.
    """

    def work(task: dict[str, Json]) -> dict[str, Json]:
        outcome = behave(task["node_id"], tuple(task["loops"].items()), task["attempt"])
        if outcome.status == "completed":
            return {"status": "completed", "result": outcome.output}
        error = {"type": outcome.error, "message": outcome.error, "retryable": outcome.retryable}
        return {"status": "failed", "error": error}

    harness.worker = work
    run_id = harness.start(document, input)
    for name in early:
        send_event(harness.services, run_id, name, name, "tester")
    while cancel and (harness.settle_batch() or harness.work_batch()):
        continue
    if cancel:
        cancel_run(harness.services, run_id, "tester")
    harness.drain()
    for name in later:
        send_event(harness.services, run_id, name, name, "tester")
        harness.drain()
    harness.assert_fold_equals_store(run_id)
    state = harness.store.snapshot(run_id)
    assert state is not None
    return found(state, harness.tasks, document)


def moments(harness: Harness) -> tuple[dict[str, int], dict[str, int]]:
    """(node: seq of its first beginning, node: seq of its last end) of the harness's one run."""
    [run_id] = harness.journal.runs
    began: dict[str, int] = {}
    ended: dict[str, int] = {}
    for event in harness.events(run_id):
        if event["type"] in BEGINNINGS:
            began.setdefault(event["node_id"], event["seq"])
        elif event["type"] in ENDINGS:
            ended[event["node_id"]] = event["seq"]
    return began, ended
