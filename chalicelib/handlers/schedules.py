"""The scheduled Lambdas: timeouts, and the sweep over live runs."""

from __future__ import annotations

import logging

from chalice.app import Blueprint, CloudWatchEvent

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
    running = services()
    return {"runs": sweep(running, running.clock.now_ms() // settings().sweep_ms)}
