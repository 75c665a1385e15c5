"""The scheduled Lambdas: timeouts, the sweep over live runs, and the starts that schedules are due to make."""

from __future__ import annotations

import logging

from chalice.app import Blueprint, CloudWatchEvent

from chalicelib.engine.directory_keys import LIVE_SHARDS
from chalicelib.engine.schedule_runs import start_due_runs
from chalicelib.engine.supervise import detect_timeouts, sweep
from chalicelib.wiring import services, settings

log = logging.getLogger("graft.supervise")
blueprint = Blueprint(__name__)


@blueprint.schedule("rate(1 minute)", name="timeouts")
def timeouts(event: CloudWatchEvent) -> dict[str, int]:
    """Fail attempts and end runs whose deadlines have passed."""
    return {"expired": detect_timeouts(services())}


@blueprint.schedule("rate(1 minute)", name="sweep")
def sweeping(event: CloudWatchEvent) -> dict[str, int]:
    """Look after one slice of the live runs; the minute says which."""
    running, config = services(), settings()
    ticks = due_ticks(running.clock.now_ms() // config.sweep_ms)
    return {"runs": sum(sweep(running, tick, config.grace_ms) for tick in ticks)}


_last: list[int] = []


def due_ticks(tick: int) -> range:
    """This minute, and those since this process's last pass: a pass that took longer than a minute would otherwise skip
    slices, and with a regular rhythm the same ones each time."""
    first = max(_last[0] + 1, tick - LIVE_SHARDS + 1) if _last else tick
    _last[:] = [tick]
    return range(first, tick + 1)


@blueprint.schedule("rate(1 minute)", name="starts")
def starts(event: CloudWatchEvent) -> dict[str, int]:
    """Start the runs of saved workflows whose schedules are due."""
    return {"schedules": start_due_runs(services())}
