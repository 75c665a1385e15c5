"""Statuses of runs and nodes, and the legal transitions between them, as data."""

from __future__ import annotations

from typing import Final

RUN_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "PENDING": frozenset({"RUNNING", "PAUSED", "FAILED", "CANCELLED", "TIMED_OUT"}),
    "RUNNING": frozenset({"PAUSED", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}),
    "PAUSED": frozenset({"PENDING", "RUNNING", "FAILED", "CANCELLED", "TIMED_OUT"}),
    "COMPLETED": frozenset({"RUNNING"}),
    "FAILED": frozenset({"RUNNING"}),
    "CANCELLED": frozenset({"RUNNING"}),
    "TIMED_OUT": frozenset({"RUNNING"}),
}
#: A run in one of these changes no more (short of a redrive, rerun or rollback).
ENDED: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})

NODE_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "PENDING": frozenset({"RUNNING", "WAITING", "SKIPPED", "CANCELLED"}),
    "RUNNING": frozenset({"COMPLETED", "FAILED", "RETRYING", "WAITING", "CANCELLED"}),
    "WAITING": frozenset({"COMPLETED", "FAILED", "RETRYING", "CANCELLED"}),
    "RETRYING": frozenset({"RUNNING", "FAILED", "CANCELLED"}),
    "COMPLETED": frozenset({"PENDING"}),
    "FAILED": frozenset({"PENDING"}),
    "SKIPPED": frozenset({"PENDING"}),
    "CANCELLED": frozenset({"PENDING"}),
}
#: Token kinds: what is outstanding, and the node status it shows as.
#: `t` a task on a queue, `i` inline work of the coordinator, `w` a timer before work (wait), `r` a retry's timer,
#: `h` a node that waits for a signal from outside.
KIND_STATUS: Final[dict[str, str]] = {"t": "RUNNING", "i": "RUNNING", "w": "WAITING", "r": "RETRYING", "h": "WAITING"}
