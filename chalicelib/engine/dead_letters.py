"""Takes in what reached a dead-letter queue: settles what only had bad luck, and fails and records the rest.

A signal is first tried by the ordinary step (HAZARDS 14): an outage may have used up its receives, or a step may have
committed and never dispatched. What fails again for such a cause stays in the dead-letter queue, which delivers it
again after its visibility timeout and keeps it as it was; nothing but a refusal, or an error of the message's own,
fails a token as Undeliverable.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.errors import ConfigurationError, GraftError, Throttled, Unavailable
from chalicelib.domain.ids import Job, job_id
from chalicelib.engine.letter_records import Letter, record
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.services import Services
from chalicelib.engine.signals import continue_text
from chalicelib.engine.undeliverable import (
    REASON_CHARS,
    SIGNALS,
    end_run,
    fail_by_signal,
    is_beat,
    is_last_word,
    jobs_in,
)

Json = Any
log = logging.getLogger("graft.dead_letters")

#: A message is given up after this long: queues keep it for 14 days, and drop it without a word.
GIVE_UP_MS = 13 * 24 * 3600 * 1000
#: Errors of a message or of the code that reads it: trying again gives the same.
LASTING = (LookupError, TypeError, ValueError, AttributeError, AssertionError, ArithmeticError, RecursionError)
#: Graft's own errors that say nothing about the message. What the AWS and Redis clients raise may pass as well.
PASSING = (Unavailable, Throttled, ConfigurationError)
#: Works a batch of signals, and returns the positions to be delivered again.
Settle = Callable[[Sequence[str]], set[int]]


@dataclass(frozen=True, slots=True)
class Arrived:
    """One delivery from a dead-letter queue."""

    #: The queue's id of the message, the same at every delivery.
    id: str
    #: The logical name of the queue that the message was meant for.
    queue: str
    body: str
    #: When the message was first sent, milliseconds.
    sent_ms: int
    #: Deliveries so far, those from its own queue included where the queue counts on.
    receives: int


def take_in(services: Services, settle: Settle, arrived: Arrived) -> bool:
    """Deal with one message. False: it stays in the dead-letter queue and comes again. Raises Unavailable."""
    refused = refusal(arrived.body)
    if refused is not None:
        reason, text = refused
        _fail(services, arrived, reason, text)
        return True
    if arrived.queue != SIGNALS:
        reason = f"The task was delivered again and again ({arrived.queue}), and no worker finished it."
        _fail(services, arrived, reason, arrived.body)
        return True
    return _try_again(services, settle, arrived)


def refusal(body: str) -> tuple[str, str] | None:
    """(reason, message) of a message that the coordinator or a worker refused; None for any other."""
    try:
        letter = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(letter, dict) or set(letter) != {"reason", "message"}:
        return None
    reason, text = letter["reason"], letter["message"]
    return (reason, text) if isinstance(reason, str) and isinstance(text, str) else None


def _try_again(services: Services, settle: Settle, arrived: Arrived) -> bool:
    """The ordinary step, for this signal alone."""
    try:
        failed = settle([arrived.body])
    except Exception as error:
        log.exception("a signal could not be settled", extra={"queue": arrived.queue})
        said = f"{type(error).__name__}: {error}"
        if not _lasting(error):
            return _gave_up(services, arrived, said)
        _stuck(services, arrived, f"The signal cannot be settled: {said}")
        return True
    return not failed or _gave_up(services, arrived, "its step failed each time; the log says why")


def _lasting(error: Exception) -> bool:
    """Whether trying again must give the same error; an outage never counts as such."""
    return isinstance(error, LASTING) or (isinstance(error, GraftError) and not isinstance(error, PASSING))


def _gave_up(services: Services, arrived: Arrived, why: str) -> bool:
    """True, and the token failed, once the message is too old to be kept."""
    if services.clock.now_ms() - arrived.sent_ms < GIVE_UP_MS:
        log.warning("a dead letter could not be settled yet", extra={"queue": arrived.queue, "reason": why})
        return False
    _stuck(services, arrived, f"The signal could not be settled for days: {why}")
    return True


def _stuck(services: Services, arrived: Arrived, reason: str) -> None:
    """A signal that is well-formed and cannot be settled: its token fails, or as the last resort its run."""
    jobs = jobs_in(arrived.body, services.secret)
    if len(jobs) > 1:
        parts = [continue_text([job_id(job, services.secret)]) for job in jobs]
        services.queues.send([Outgoing(SIGNALS, part) for part in parts])
        return
    _keep(services, arrived, reason, arrived.body, jobs)
    if is_beat(arrived.body):  # losing one fails nothing
        return
    for job in jobs:
        if is_last_word(arrived.body) or not fail_by_signal(services, job, reason):
            end_run(services, job, reason)


def _fail(services: Services, arrived: Arrived, reason: str, text: str) -> None:
    """A refused message, or a task nobody finished: recorded, and its tokens fail."""
    jobs = jobs_in(text, services.secret)
    _keep(services, arrived, reason, text, jobs)
    for job in jobs:
        fail_by_signal(services, job, reason)


def _keep(services: Services, arrived: Arrived, reason: str, text: str, jobs: Sequence[Job]) -> None:
    job = jobs[0] if jobs else None
    letter = Letter(arrived.id, arrived.queue, reason[:REASON_CHARS], text, arrived.sent_ms, arrived.receives, job)
    record(services, letter)
    log.warning("a dead letter was recorded", extra={"queue": arrived.queue, "reason": reason[:REASON_CHARS]})
