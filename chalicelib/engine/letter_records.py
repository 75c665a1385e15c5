"""The dead letters as they are listed and redriven: one record each, in the partition of the run's tenant.

A message that names no run of this deployment belongs to no tenant. It is listed to everybody who may list dead letters
at all, with its reason and without its text, which could be anybody's.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.domain.errors import Conflict, NotFound
from chalicelib.domain.ids import Job, parse_token, worked_on
from chalicelib.domain.journal import timestamp
from chalicelib.engine.directory_keys import TIME_DIGITS, Key, run_head_key
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.services import Services

Json = Any
#: Characters of a message that a record keeps; a longer one cannot be put back into its queue.
KEPT_CHARS = 200_000
#: What a refused message is cut to by those who refuse it: one of this length may be a part only.
CUT_CHARS = 65_536
#: Characters of a message that a list shows.
SHOWN_CHARS = 4096
#: Letters put back by one call that names none.
REDRIVE_MOST = 500
_PAGE = 100
#: No tenant's name: letters of no run.
NOBODY = ""
LETTER_ID = re.compile(rf"[0-9]{{{TIME_DIGITS}}}-[0-9a-f]{{16}}")


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that was given up, and why."""

    #: The queue's id of the message.
    message_id: str
    queue: str
    reason: str
    text: str
    sent_ms: int
    receives: int
    #: The job that it names, where this deployment made its id.
    job: Job | None

    @property
    def id(self) -> str:
        """Sorts by time; the same however often the message is taken in."""
        digest = hashlib.sha256(f"{self.queue} {self.message_id}".encode()).hexdigest()
        return f"{self.sent_ms:0{TIME_DIGITS}d}-{digest[:16]}"


@dataclass(slots=True)
class Redriven:
    """Which letters were put back, which cannot be, and whether more are left."""

    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    more: bool = False


def record(services: Services, letter: Letter) -> None:
    """Keep the letter. Recording it again changes nothing. Raises Unavailable."""
    job = letter.job
    head = services.directory.get(run_head_key(job.run_id)) if job else None
    tenant = str(head["tenant"]) if head else NOBODY
    token = parse_token(job.token) if job else None
    cut = letter.text[:KEPT_CHARS]
    services.directory.put(
        _key(tenant, letter.id),
        {
            "queue": letter.queue,
            "reason": letter.reason,
            "message": cut,
            "whole": len(cut) == len(letter.text) != CUT_CHARS,
            "run_id": job.run_id if job else None,
            "node_id": worked_on(token.node) if token else None,
            "attempt": token.attempt if token else None,
            "at": services.clock.now_ms(),
            "receives": letter.receives,
        },
    )


def listed(services: Services, tenant: str, limit: int, after: str | None) -> tuple[list[dict[str, Json]], str | None]:
    """(letters, newest first, as the API shows them; the cursor of the next page). Raises Unavailable."""
    found = []
    for owner in (tenant, NOBODY):
        page = services.directory.query(_partition(owner), start=after, descending=True, limit=limit + 1)
        found.append([(letter_id, owner, entry) for letter_id, entry in page])
    newest = list(heapq.merge(*found, key=lambda item: item[0], reverse=True))
    shown = [_view(letter_id, owner, entry) for letter_id, owner, entry in newest[:limit]]
    return shown, newest[limit - 1][0] if len(newest) > limit else None


def redrive(services: Services, tenant: str, ids: Sequence[str] | None) -> Redriven:
    """Put these letters, or all, back into their queues and forget them. A repeat after a failure is harmless.

    Raises NotFound naming an id that is not there, Conflict for one whose message is kept in part, Unavailable.
    """
    out = Redriven()
    if ids is not None:
        chosen = [_find(services, tenant, letter_id) for letter_id in dict.fromkeys(ids)]
    else:
        chosen = []
        for key, entry in _all(services, tenant):
            if len(chosen) == REDRIVE_MOST:
                out.more = True
                break
            if entry["whole"]:
                chosen.append((key, entry))
            else:
                out.kept.append(key[1])
    for first in range(0, len(chosen), _PAGE):
        part = chosen[first : first + _PAGE]
        services.queues.send([Outgoing(str(entry["queue"]), str(entry["message"])) for _, entry in part])
        for key, _ in part:
            services.directory.delete(key)
            out.done.append(key[1])
    return out


def _find(services: Services, tenant: str, letter_id: str) -> tuple[Key, Mapping[str, Json]]:
    for owner in (tenant, NOBODY):
        key = _key(owner, letter_id)
        entry = services.directory.get(key) if LETTER_ID.fullmatch(letter_id) else None
        if entry is not None:
            if not entry["whole"]:
                raise Conflict(f"Dead letter {letter_id} was too long to be kept whole: it cannot be put back.")
            return key, entry
    raise NotFound(f"There is no dead letter {letter_id[:64]}.")


def _all(services: Services, tenant: str) -> Iterator[tuple[Key, Mapping[str, Json]]]:
    """Every letter that the tenant sees, oldest first in each partition."""
    for owner in (tenant, NOBODY):
        start: str | None = None
        while page := services.directory.query(_partition(owner), start=start, limit=_PAGE):
            yield from ((_key(owner, letter_id), entry) for letter_id, entry in page)
            start = page[-1][0]


def _view(letter_id: str, owner: str, entry: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "id": letter_id,
        "reason": entry["reason"],
        "queue": entry["queue"],
        "origin": {name: entry[name] for name in ("run_id", "node_id", "attempt")},
        "message": None if owner == NOBODY else _shown(str(entry["message"])),
        "at": timestamp(int(entry["at"])),
        "receives": entry["receives"],
        "redrivable": entry["whole"],
    }


def _shown(text: str) -> str:
    """The start of the message, without the callback token that a task carries."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return re.sub(r'"callback"\s*:.*', "", text, flags=re.DOTALL)[:SHOWN_CHARS]
    if isinstance(message, dict):
        message.pop("callback", None)
        text = compact(message)
    return text[:SHOWN_CHARS]


def _partition(tenant: str) -> str:
    return f"dead#{tenant}"


def _key(tenant: str, letter_id: str) -> Key:
    return _partition(tenant), letter_id
