"""What workers tell while they work: events of an attempt that is outstanding, each key once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.commit import Draft, Event, compact
from chalicelib.domain.errors import BadSignal
from chalicelib.domain.ids import Token

Json = Any
#: Types of events that workers may tell.
TYPES = ("agent_turn", "tool_called")
#: Events of one signal, and characters of their JSON.
MAX_EVENTS, MAX_CHARS = 50, 96 * 1024
_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Told:
    """One progress signal."""

    key: str
    events: tuple[tuple[str, dict[str, Json]], ...]
    job: str

    def field(self, token: Token) -> str:
        """Where the run's `box` remembers that this was told."""
        return f"told|{token.text}|{self.key}"

    def expect(self, token: Token, record: str) -> tuple[tuple[str, str, str], ...]:
        """What must be so for it to count: the attempt is outstanding as `record`, and this was not told before."""
        return (("tok", token.text, record), ("box", self.field(token), ""))

    def draft(self, token: Token) -> Draft:
        """A commit of events and nothing else."""
        events = [Event(kind, token, data, self.job) for kind, data in self.events]
        return Draft(events=events, put=[("box", self.field(token), "1")])


def read_told(message: dict[str, Json], job: str) -> Told:
    """What a progress signal says. Raises BadSignal."""
    key, events = message.get("key"), message.get("events")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise BadSignal("A progress signal needs a key of 1 to 128 letters, digits, _ . : and -.")
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        raise BadSignal(f"A progress signal needs a list of 1 to {MAX_EVENTS} events.")
    try:
        size = len(compact(events))
    except (ValueError, RecursionError):
        raise BadSignal("The events hold NaN, Infinity or too deep nesting.") from None
    if size > MAX_CHARS:
        raise BadSignal(f"The events have {size} characters; at most {MAX_CHARS} are taken.")
    return Told(key, tuple(_event(event) for event in events), job)


def _event(raw: Json) -> tuple[str, dict[str, Json]]:
    kind = raw.get("type") if isinstance(raw, dict) else None
    if kind not in TYPES or not isinstance(raw.get("data"), dict):
        raise BadSignal(f"Each event of a progress signal has a type of {', '.join(TYPES)}, and data, an object.")
    return kind, raw["data"]
