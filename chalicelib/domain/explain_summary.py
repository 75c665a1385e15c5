"""The one sentence that says how a run stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

Json = Any
#: Nodes that the sentence names.
SHOWN = 5


def ended(meta: Mapping[str, str]) -> str:
    """Of a run that is over."""
    why = {
        "COMPLETED": "COMPLETED: nothing was left to do.",
        "FAILED": "FAILED: a failure was not handled; error says which.",
        "CANCELLED": "CANCELLED: somebody cancelled it; the event run_cancelled says who.",
        "TIMED_OUT": "TIMED_OUT: the run took longer than its timeout_ms.",
    }
    return f"The run is {why[meta['status']]} It changes no more unless it is redriven."


def _held(entries: list[dict[str, Json]]) -> str:
    nodes = sorted({entry["node_id"] for entry in entries if entry["waits_for"] == "breakpoint"})
    where = f" before {', '.join(nodes[:SHOWN])} at a breakpoint" if nodes else ""
    return f" It is paused{where}: what becomes ready is held until it is resumed."


def sentence(meta: Mapping[str, str], entries: list[dict[str, Json]]) -> str:
    """Of a live run."""
    status = meta["status"]
    counts = Counter(str(entry["waits_for"]) for entry in entries)
    listed = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    held = _held(entries) if status == "PAUSED" else ""
    doing = f"The run is {status}, compensating," if "phase" in meta else f"The run is {status}"
    return f"{doing} and waits for {listed or 'nothing'}.{held}"
