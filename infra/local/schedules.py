"""Calls the app's scheduled functions at their rates, with a minute as short as one likes."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Sequence

from chalicelib.domain.errors import ConfigurationError
from infra.local.apps import Schedule, load, schedules
from infra.local.children import say_ready
from infra.local.lambda_events import LambdaContext, schedule_event
from infra.local.provision import handler_timeout_s

log = logging.getLogger("graft.local.schedules")

#: Seconds that one minute of a rate takes here; 60 is real time.
MINUTE = "GRAFT_LOCAL_SCHEDULE_S"
_RATE = re.compile(r"rate\(\s*(\d+)\s+(minute|hour|day)s?\s*\)", re.IGNORECASE)
_MINUTES = {"minute": 1, "hour": 60, "day": 1440}


def period_s(expression: str, minute_s: float) -> float:
    """Seconds between two calls; a `cron(…)` counts as once a day. Raises ConfigurationError."""
    rate = _RATE.fullmatch(expression.strip())
    if rate and int(rate[1]) > 0:
        return int(rate[1]) * _MINUTES[rate[2].lower()] * minute_s
    if expression.strip().startswith("cron("):
        return _MINUTES["day"] * minute_s
    raise ConfigurationError(f"A schedule is rate(N minutes|hours|days) or cron(…), not {expression!r}.")


def minute_s(text: str | None) -> float:
    """The length of a minute from GRAFT_LOCAL_SCHEDULE_S; 1 second by default. Raises ConfigurationError."""
    try:
        seconds = float(text or 1)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise ConfigurationError(f"{MINUTE} is a number of seconds above 0, not {text!r}.")
    return seconds


def keep_calling(schedule: Schedule, period: float, stopping: threading.Event) -> None:
    """Call the function every `period` seconds, never twice at a time, until `stopping`; its errors are logged."""
    due = time.monotonic() + period
    while not stopping.wait(max(0.0, due - time.monotonic())):
        due = max(due + period, time.monotonic())
        try:
            schedule.handler(schedule_event(schedule.name), LambdaContext(schedule.name, handler_timeout_s()))
        except Exception:
            log.exception("schedule %s failed", schedule.name)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve all schedules of the app until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", default="app:app")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    minute = minute_s(os.environ.get(MINUTE))
    for schedule in schedules(load(arguments.app)):
        period = period_s(schedule.expression, minute)
        threading.Thread(target=keep_calling, args=(schedule, period, stopping), daemon=True).start()
    say_ready()
    stopping.wait()
    os._exit(0)


if __name__ == "__main__":
    main()
