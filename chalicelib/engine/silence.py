"""Sends tasks again of which nothing was heard for so long that their queue may have dropped them (HAZARDS 15)."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.domain.ids import job_id, parse_token
from chalicelib.domain.node_kinds import node_at
from chalicelib.domain.records import Began, parse_began
from chalicelib.engine.controls import continue_jobs
from chalicelib.engine.services import Services

#: A queue keeps a message for 14 days. A task that was dispatched so long ago, and not heard of since, is sent again.
SILENT_MS = 12 * 24 * 3_600_000


def send_silent(services: Services, run_id: str, meta: Mapping[str, str]) -> int:
    """Let the coordinator send the tasks of a live run anew whose messages are SILENT_MS old, and again after each
    SILENT_MS more. Returns how many.

    Costs nothing where nothing can be due: a run younger than that has no such task, and after a look at an older one
    its store says when the next is due. That note is lost with the store; then there is one look more.
    """
    now = services.clock.now_ms()
    if meta["status"] not in ("RUNNING", "PENDING"):
        return 0
    looked, due = map(int, meta["look"].split("|")) if "look" in meta else (0, int(meta["created_at"]) + SILENT_MS)
    if now < due:
        return 0
    state = services.store.snapshot(run_id, ("meta", "tok", "ready"))
    if state is None:
        return 0
    jobs, due = [], now + SILENT_MS
    for name, record in state["tok"].items():
        began = parse_began(record)
        unsent = state["ready"].get(name, "").startswith("r")  # the sweep sends it anyway
        if began.kind != "t" or unsent or _watched(services, began, name):
            continue
        times = (now - began.at_ms) // SILENT_MS
        due = min(due, began.at_ms + (times + 1) * SILENT_MS)
        if times > max(0, (looked - began.at_ms) // SILENT_MS):
            jobs.append(job_id(began.job(run_id, name), services.secret))
    continue_jobs(services, jobs)
    services.store.note_look(run_id, now, due)
    return len(jobs)


def _watched(services: Services, began: Began, name: str) -> bool:
    """Whether the attempt's heartbeats say that it lives, or fail it."""
    return node_at(services.plans.load(began.graph), parse_token(name)).heartbeat_ms is not None
