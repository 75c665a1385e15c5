"""Checks what a schedule is set to, and makes its definition of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from chalicelib.domain.commit import compact
from chalicelib.domain.errors import InvalidInput, Problem
from chalicelib.domain.journal import timestamp
from chalicelib.domain.names import NAME_PATTERN
from chalicelib.domain.priorities import priority_problems
from chalicelib.domain.timing import Timing, cron_error, is_zone, rate_ms

Json = Any
OVERLAPS: Final = ("skip", "queue", "allow")
#: Members of a definition, as `PUT` takes them.
MEMBERS: Final = (
    "cron", "rate", "timezone", "input", "tag", "version", "overlap", "start_at", "end_at", "paused", "priority",
)  # fmt: skip
#: Members that decide when a schedule is due; one that keeps them keeps its times.
WHEN: Final = ("cron", "rate", "timezone", "start_at", "end_at")
#: Bytes of a schedule's input: it is written with every change of the schedule.
MAX_INPUT: Final = 65_536
#: The largest version number.
_MAX_VERSION = 99_999_999
_PLACE = re.compile(r"\$\{schedule\.([^}]*)\}")
_PLACES = ("name", "due_at")
#: Times are taken up to the year 2100: calendars are looked through for 50 years behind them.
_MAX_MS = 4_102_444_800_000


def definition(body: Mapping[str, Json]) -> dict[str, Json]:
    """The definition that a body of MEMBERS sets, times in milliseconds. Raises InvalidInput naming every problem."""
    found: list[Problem] = []
    given = {name: value for name, value in body.items() if value is not None}
    made = {
        "cron": given.get("cron"),
        "rate": given.get("rate"),
        "timezone": given.get("timezone", "UTC"),
        "input": given.get("input", {}),
        "tag": given.get("tag"),
        "version": given.get("version"),
        "overlap": given.get("overlap", "skip"),
        "start_at": _time(given.get("start_at"), "/start_at", found),
        "end_at": _time(given.get("end_at"), "/end_at", found),
        "paused": given.get("paused", False),
        "priority": given.get("priority", 0),
    }
    found += [*_when(made, given), *_what(made), *_input(made["input"])]
    if not found and timing({**made, "anchor": 0}).after(0) is None:
        found.append(Problem("never_due", "/end_at", "No time of the schedule lies between start_at and end_at."))
    if found:
        raise InvalidInput("The schedule cannot be set like this.", tuple(found))
    return made


def timing(schedule: Mapping[str, Json]) -> Timing:
    """The times of a definition whose rate counts from `anchor`, or from its start."""
    start = schedule["start_at"]
    return Timing(
        cron=schedule["cron"],
        zone=schedule["timezone"],
        period_ms=None if schedule["rate"] is None else rate_ms(schedule["rate"]),
        anchor_ms=schedule["anchor"] if start is None else start,
        start_ms=start,
        end_ms=schedule["end_at"],
    )


def filled(value: Json, name: str, due_at: int) -> Json:
    """The input with `${schedule.name}` and `${schedule.due_at}` in its texts replaced."""
    places = {"name": name, "due_at": timestamp(due_at)}

    def fill(part: Json) -> Json:
        if isinstance(part, str):
            return _PLACE.sub(lambda place: places[place[1]], part)
        if isinstance(part, list):
            return [fill(item) for item in part]
        if isinstance(part, dict):
            return {key: fill(item) for key, item in part.items()}
        return part

    return fill(value)


def _when(made: Mapping[str, Json], given: Mapping[str, Json]) -> list[Problem]:
    found = []
    if (made["cron"] is None) == (made["rate"] is None):
        found.append(Problem("one_of", "/cron", "Send one of cron and rate."))
    cron, rate, zone = made["cron"], made["rate"], made["timezone"]
    wrong = None if cron is None else cron_error(cron) if isinstance(cron, str) else "Send a text."
    if wrong is not None:
        found.append(Problem("bad_cron", "/cron", wrong))
    if rate is not None and (not isinstance(rate, str) or rate_ms(rate) is None):
        text = "Send a whole number above 0 and minutes, hours or days, such as 5 minutes; at most 366 days."
        found.append(Problem("bad_rate", "/rate", text))
    if not isinstance(zone, str) or not is_zone(zone):
        text = "Send the name of a zone in the IANA database, such as Europe/Berlin; names are case-sensitive."
        found.append(Problem("bad_timezone", "/timezone", text))
    if rate is not None and "timezone" in given:
        found.append(Problem("bad_timezone", "/timezone", "Leave it out: a rate is the same in every zone."))
    if made["start_at"] is not None and made["end_at"] is not None and made["start_at"] > made["end_at"]:
        found.append(Problem("bad_time", "/end_at", "Send a time that is not before start_at."))
    return found


def _what(made: Mapping[str, Json]) -> list[Problem]:
    found, tag, version = [], made["tag"], made["version"]
    if tag is not None and version is not None:
        found.append(Problem("both_given", "/tag", "Leave out one of version and tag."))
    if tag is not None and not (isinstance(tag, str) and re.fullmatch(NAME_PATTERN, tag)):
        found.append(Problem("bad_name", "/tag", "Send the name of a tag."))
    if version is not None and (type(version) is not int or not 1 <= version <= _MAX_VERSION):
        found.append(Problem("bad_number", "/version", f"Send a whole number from 1 to {_MAX_VERSION}."))
    if made["overlap"] not in OVERLAPS:
        found.append(Problem("bad_overlap", "/overlap", f"Send one of {', '.join(OVERLAPS)}."))
    if type(made["paused"]) is not bool:
        found.append(Problem("wrong_type", "/paused", "Send true or false."))
    return found + priority_problems(made["priority"])


def _input(value: Json) -> list[Problem]:
    text = compact(value)
    if len(text) > MAX_INPUT:
        limit = f"At most {MAX_INPUT} bytes are allowed; store more as an artifact, and send its id."
        return [Problem("too_large", "/input", limit)]
    unknown = sorted(set(_PLACE.findall(text)) - set(_PLACES))
    known = " and ".join(f"schedule.{place}" for place in _PLACES)
    return [Problem("unknown_place", "/input", f"There is no schedule.{u[:40]}; there are {known}.") for u in unknown]


def _time(value: Json, path: str, found: list[Problem]) -> int | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        ms = int(moment.timestamp() * 1000) if moment.tzinfo else -1
    except (TypeError, ValueError, OverflowError):
        ms = -1
    if 0 <= ms <= _MAX_MS:
        return ms
    found.append(
        Problem("bad_time", path, "Send an RFC 3339 time with its zone, up to 2100, such as 2026-01-31T00:00:00Z.")
    )
    return None
