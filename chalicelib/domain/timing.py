"""When a schedule is due: times of a cron expression in a time zone, or of a rate, within a window."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

#: Characters of a cron expression.
MAX_CRON = 100
#: Missed times are counted up to so many: a schedule that stood still for months must not hold up the others.
MAX_COUNTED = 1000
#: Clocks are set back by at most so many seconds.
_SET_BACK_S = 3 * 3600
_RATE = re.compile(r"(?:rate\()?\s*([0-9]{1,6})\s+(minute|hour|day)s?\s*(\)?)")
_UNIT_MS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_MAX_PERIOD_MS = 366 * 86_400_000
#: How far back the newest of many missed times is looked for, the nearest first (milliseconds).
_WINDOWS = (3_600_000, 86_400_000, 40 * 86_400_000, 400 * 86_400_000)


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one schedule, in milliseconds. Exactly one of `cron` and `period_ms` is set."""

    cron: str | None
    #: IANA name of the zone that the cron expression is read in.
    zone: str
    period_ms: int | None
    #: A rate's times are whole periods after this one.
    anchor_ms: int
    #: The first and the last moment that may be due, both inclusive.
    start_ms: int | None = None
    end_ms: int | None = None

    def after(self, ms: int) -> int | None:
        """The first time later than `ms`; None where there is none."""
        return next(self.times(ms), None)

    def times(self, ms: int) -> Iterator[int]:
        """All times later than `ms`, in order, without end where the schedule has none."""
        since = ms if self.start_ms is None else max(ms, self.start_ms - 1)
        found = self._cron_times(since) if self.cron is not None else self._rate_times(since)
        end = self.end_ms
        return found if end is None else takewhile(lambda at: at <= end, found)

    def latest(self, due: int, now: int) -> tuple[int, int]:
        """The newest time that is not after `now`, and how many from `due` on came before it (at most MAX_COUNTED).

        `due` is one of the times, and not after `now`.
        """
        newest, last = due, now if self.end_ms is None else min(now, self.end_ms)
        for back in (*_WINDOWS, last):
            found = list(takewhile(lambda at: at <= last, self.times(max(due, last - back))))
            if found:
                newest = found[-1]
                break
        missed = 0
        for at in self.times(due - 1):
            if at >= newest or missed == MAX_COUNTED:
                break
            missed += 1
        return newest, missed

    def _rate_times(self, ms: int) -> Iterator[int]:
        period = self.period_ms or 1
        # Without a start the first time is one period after the schedule was set, with one it is the start.
        first = 1 if self.start_ms is None else 0
        at = self.anchor_ms + max((ms - self.anchor_ms) // period + 1, first) * period
        while True:
            yield at
            at += period

    def _cron_times(self, ms: int) -> Iterator[int]:
        text, zone = self.cron or "", ZoneInfo(self.zone)
        begin = datetime.fromtimestamp(ms // 1000, zone)
        # Where clocks were set back just before, they show again what they have shown.
        before = datetime.fromtimestamp(ms // 1000 - _SET_BACK_S, zone)
        shown = begin if before.utcoffset() == begin.utcoffset() else min(begin, before, key=_wall)
        # As in Vixie cron: with a star in the minute or hour each pass of an hour counts, else a day's times do.
        starred = any(field.startswith("*") for field in text.split()[:2])
        passes = [_passing(text, shown, zone, fold, starred) for fold in ((0, 1) if starred else (0,))]
        last = ms
        for at in merge(*passes):
            if at > last:
                yield at
                last = at


def _passing(text: str, since: datetime, zone: ZoneInfo, fold: int, starred: bool) -> Iterator[int]:
    """Times at which clocks of the zone show what the expression names, in order; of an hour shown twice one pass.

    What clocks leave out is left out, or, where times are of the day, due as soon as clocks go on. The library counts
    on a clock without changes: its own are wrong where clocks change by half an hour.
    """
    for shown in CronSim(text, _wall(since)):
        moment = shown.replace(tzinfo=zone, fold=fold)
        while not starred and not _exists(moment):
            moment += timedelta(minutes=1)
        if _exists(moment):
            yield int(moment.timestamp()) * 1000


def _wall(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None, fold=0)


def _exists(moment: datetime) -> bool:
    """Whether clocks ever show this."""
    return _wall(moment.astimezone(UTC).astimezone(moment.tzinfo)) == _wall(moment)


def cron_error(text: str) -> str | None:
    """What is wrong with a five-field cron expression; None where it can be used."""
    if len(text) > MAX_CRON:
        return f"The expression has {len(text)} characters; at most {MAX_CRON} are allowed."
    if len(text.split()) != 5:
        return "Write five fields: minute, hour, day of month, month, day of week, such as 0 9 * * MON-FRI."
    try:
        CronSim(text, datetime.fromtimestamp(0, UTC))
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        return (
            f"The {field} field cannot be read, or names what no calendar has. A field takes *, 5, 1-5, */10 or 1,15."
        )
    return None


def is_zone(name: str) -> bool:
    """Whether this is the name of a time zone."""
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return False
    # Names of files that are no zones of the IANA database differ from machine to machine.
    return name == "UTC" or "/" in name


def rate_ms(text: str) -> int | None:
    """The period of `5 minutes`, `1 hour` or `rate(1 day)`, up to 366 days; None for any other text."""
    match = _RATE.fullmatch(text.strip())
    if match is None or text.strip().startswith("rate(") != bool(match[3]):
        return None
    period = int(match[1]) * _UNIT_MS[match[2]]
    return period if 0 < period <= _MAX_PERIOD_MS else None
