"""Events from outside that wait in a run's `box` for `event` nodes: in order per name, each for one waiter.

`event|<name>|<number>` holds an event, `events|<name>` the last number given. Numbers only grow, so order is theirs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.records import parse_began

Json = Any
#: Events that may wait in one run.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Letter:
    """One event that waits. `record` is {"o": payload} or {"r": artifact}."""

    field: str
    text: str
    record: dict[str, Json]


def letter_field(name: str, number: int) -> str:
    """Where an event is kept."""
    return f"event|{name}|{number:012d}"


def counter_field(name: str) -> str:
    """Where the last number given to an event of this name is kept."""
    return f"events|{name}"


def letters(box: Mapping[str, str], name: str) -> list[Letter]:
    """The events of a name that wait, oldest first."""
    prefix = f"event|{name}|"
    fields = sorted(key for key in box if key.startswith(prefix) and "|" not in key[len(prefix) :])
    return [Letter(field, box[field], json.loads(box[field])) for field in fields]


def buffered(box: Mapping[str, str]) -> dict[str, int]:
    """How many events wait under each name."""
    names = sorted(key.split("|", 1)[1].rsplit("|", 1)[0] for key in box if key.startswith("event|"))
    return dict(Counter(names))


def waiters(tok: Mapping[str, str], name: str) -> list[str]:
    """Tokens that wait for an event of this name, the oldest first."""
    found = [(parse_began(record), text) for text, record in tok.items() if "|h|" in record]
    mine = [(began.no, text) for began, text in found if began.kind == "h" and began.data.get("event") == name]
    return [text for _, text in sorted(mine)]


def letter_for(state: Mapping[str, Mapping[str, str]], token: str, name: str) -> Letter | None:
    """The event that this waiter gets: the oldest for the oldest, the next for the next."""
    line, waiting = waiters(state["tok"], name), letters(state["box"], name)
    place = line.index(token) if token in line else len(waiting)
    return waiting[place] if place < len(waiting) else None
