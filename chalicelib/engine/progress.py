"""What workers tell while they work: events of an attempt that is outstanding, each key once.

A completion signal says the newest of it again: it may overtake what was told before it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
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
#: Of what was told before, a completion repeats the newest: at most so many keys, and bytes of their JSON.
MAX_REPEATED, MAX_REPEATED_BYTES = 8, 32 * 1024
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

    def untold(self, token: Token) -> tuple[str, str, str]:
        """What must be so for it to count: this was not told before."""
        return ("box", self.field(token), "")

    def expect(self, token: Token, record: str) -> tuple[tuple[str, str, str], ...]:
        """As `untold`, and the attempt is outstanding as `record`."""
        return (("tok", token.text, record), self.untold(token))

    def draft(self, token: Token) -> Draft:
        """A commit of events and nothing else."""
        events = [Event(kind, token, data, self.job) for kind, data in self.events]
        return Draft(events=events, put=[("box", self.field(token), "1")])


def told_before(draft: Draft, token: Token, told: Sequence[Told]) -> Draft:
    """A settlement with what was told before it and is not journaled yet."""
    own = [one.draft(token) for one in told]
    draft.events[:0] = [event for one in own for event in one.events]
    draft.put += [put for one in own for put in one.put]
    return draft


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


def read_repeated(message: dict[str, Json], job: str) -> tuple[Told, ...]:
    """What a completion says again, oldest first. What is in another form is passed over: the result is what counts."""
    given = message.get("progress")
    found = []
    for one in given[-MAX_REPEATED:] if isinstance(given, list) else ():
        if isinstance(one, dict):
            with contextlib.suppress(BadSignal):
                found.append(read_told(one, job))
    return tuple({one.key: one for one in found}.values())


def repeated(told: Sequence[dict[str, Json]]) -> list[dict[str, Json]]:
    """The newest of `{key, events}` that a completion says again, oldest first."""
    kept: list[dict[str, Json]] = []
    size = 0
    for one in reversed(told[-MAX_REPEATED:]):
        size += len(compact(one))
        if size > MAX_REPEATED_BYTES:
            break
        kept.insert(0, one)
    return kept


def _event(raw: Json) -> tuple[str, dict[str, Json]]:
    kind = raw.get("type") if isinstance(raw, dict) else None
    if kind not in TYPES or not isinstance(raw.get("data"), dict):
        raise BadSignal(f"Each event of a progress signal has a type of {', '.join(TYPES)}, and data, an object.")
    return kind, raw["data"]
