"""Lets some attempts of a run go unanswered: only the timeout detector ends them, and the reference knows it."""

from __future__ import annotations

import functools
import random
from dataclasses import replace
from typing import Any

from tests.simulation.drawn import TIMEOUT_MS, SimulatedRun
from tests.simulation.reference_graph import Scope
from tests.simulation.reference_state import Behave, Outcome, node_of, work_of

Json = Any
#: The error type of attempts that no worker answers.
UNHEARD = "Timeout"
#: Share of the worlds' runs with such attempts, and of their failing nodes.
SHARE = 0.5


def with_unheard(run: SimulatedRun, rng: random.Random) -> SimulatedRun:
    """The run with timeouts on some of its tasks, whose retryable failures become silence."""
    if rng.random() >= SHARE:
        return run
    chosen = {
        node["id"]
        for node in run.document["nodes"]
        if work_of(node)["type"] in ("function", "agent") and rng.random() < SHARE
    }
    for node in run.document["nodes"]:
        if node["id"] in chosen:
            work_of(node)["timeout_ms"] = TIMEOUT_MS
            if node.get("compensate", {}).get("type") == "function":  # what undoes it may stay silent, too
                node["compensate"]["timeout_ms"] = TIMEOUT_MS
    return replace(run, behave=without_answer(run.behave, frozenset(chosen)))


def without_answer(behave: Behave, chosen: frozenset[str]) -> Behave:
    """Workers some of whose failures on these nodes become silence."""

    @functools.cache
    def behaves(name: str, scope: Scope, attempt: int) -> Outcome:
        outcome = behave(name, scope, attempt)
        if node_of(name) in chosen and outcome.status == "failed" and outcome.retryable and outcome.error == "Flaky":
            return Outcome("failed", None, UNHEARD, True)
        return outcome

    return behaves
