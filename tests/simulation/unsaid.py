"""Lets some people of a run never decide and some events never be sent: only the timeout detector ends such a wait."""

from __future__ import annotations

import random
from typing import Any

from tests.simulation.drawn import SimulatedRun
from tests.simulation.unheard import SHARE, TIMEOUT_MS

Json = Any
#: Milliseconds of a timeout that no world reaches, and of one that people and events race with.
NEVER_MS, SOON_MS = 30 * 24 * TIMEOUT_MS, 2_000


def with_unsaid(run: SimulatedRun, rng: random.Random, *, racing: bool) -> SimulatedRun:
    """The run with timeouts on some of its human and event nodes. In racing ones they may come before what is said."""
    for node in run.document["nodes"]:
        plan = node.get("metadata", {}).get("sim", {})
        if "people" in plan:
            _set(node, plan["people"], "unsaid", SHARE, rng, racing=racing)
        elif plan.get("mail", {}).get("loose"):
            _set(node, plan["mail"], "most", rng.randrange(3), rng, racing=racing)
    return run


def _set(node: Json, plan: Json, name: str, value: float, rng: random.Random, *, racing: bool) -> None:
    dice = rng.random()
    if dice < SHARE:
        plan[name], node["timeout_ms"] = value, rng.choice([TIMEOUT_MS, SOON_MS]) if racing else TIMEOUT_MS
    elif dice < SHARE + 0.2:
        node["timeout_ms"] = SOON_MS if racing else NEVER_MS
