"""Decides what a schedule does now: start a run, let one wait, or leave a time out, by its overlap policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chalicelib.domain.schedule_rules import timing

Json = Any
#: A time that waits for the run before is looked at again after this long; at most once a call of the Lambda.
POLL_MS: Final = 1000


def ticked(schedule: Mapping[str, Json], now: int, live: str | None) -> dict[str, Json]:
    """The members of the record that change; `starting` among them says that a run is to begin.

    `live` says which run before has not ended, None where none has. A start takes the time that waits before the one
    that is due, which then waits itself.
    """
    changes, due = _due(schedule, now)
    blocked = live is not None and schedule["overlap"] != "allow"
    waiting = schedule["queued"]
    if waiting is not None and not blocked and not schedule["paused"]:
        return {**changes, **_start(waiting, now), "queued": due}
    if due is None:
        return changes
    if waiting is not None:
        return {**changes, "skipped": _skip(due, now, "Another time waits already for the run before.")}
    if not blocked:
        return {**changes, **_start(due, now)}
    return {**changes, **held(schedule, due, now, live or "")}


def held(schedule: Mapping[str, Json], due: int, now: int, live: str) -> dict[str, Json]:
    """What becomes of a time that may not begin because `live` has not ended."""
    if schedule["overlap"] == "queue":
        return {"queued": due}
    return {"skipped": _skip(due, now, f"Run {live} has not ended.")}


def wake_at(schedule: Mapping[str, Json], now: int) -> int | None:
    """When the schedule is to be looked at next, in milliseconds; None where nothing will come of it."""
    if schedule["starting"] is not None:
        return now
    if schedule["paused"]:
        return None
    moments = [schedule["next_at"], None if schedule["queued"] is None else now + POLL_MS]
    return min((moment for moment in moments if moment is not None), default=None)


def _due(schedule: Mapping[str, Json], now: int) -> tuple[dict[str, Json], int | None]:
    """The newest time that is due, if one is, and what is noted of the times missed before it."""
    due = schedule["next_at"]
    if due is None or due > now or schedule["paused"]:
        return {}, None
    times = timing(schedule)
    newest, missed = times.latest(due, now)
    changes: dict[str, Json] = {"next_at": times.after(now)}
    if missed:
        changes["missed"] = {"first": due, "count": missed, "at": now}
    return changes, newest


def _start(due: int, now: int) -> dict[str, Json]:
    return {"starting": {"due_at": due, "at": now}}


def _skip(due: int, now: int, reason: str) -> dict[str, Json]:
    return {"due_at": due, "at": now, "reason": reason}
