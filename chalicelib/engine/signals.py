"""Messages of the completion-signals queue: parsed into Work, or refused with a reason."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.domain.errors import BadSignal
from chalicelib.domain.ids import END, UNDO, Job, Token, parse_job_id, parse_token, worked_on
from chalicelib.domain.outcome import Outcome
from chalicelib.engine.patch_terms import Planned
from chalicelib.engine.progress import Told, read_repeated, read_told

Json = Any
_REF = re.compile(r"artifact://sha256/[0-9a-f]{64}")
#: Bytes of a result that a signal may carry inline (SPEC 7); larger ones travel as artifacts.
INLINE_BYTES = 64 * 1024
#: Levels of lists and objects in a signal; expressions read no deeper values, and writing them takes stack.
MAX_DEPTH = 200
TOO_DEEP = f"The signal nests lists and objects more than {MAX_DEPTH} deep; flatten them."


@dataclass(slots=True)
class Work:
    """One token to settle in this step."""

    job: Job
    token: Token
    #: signal: a worker answered; wake: a timer may be due; inline: work of the coordinator; stop: a call that waits no
    #: more leaves its child.
    kind: str
    #: Position of the message that this work comes from.
    origin: int
    outcome: Outcome = field(default_factory=Outcome)
    #: The token's record in the store (kind and data), where it had to be read.
    data: dict[str, Json] | None = None
    #: True where the creating commit is in the journal for sure: the work came by a message.
    proven: bool = True
    tries: int = 0
    #: True once the run was rebuilt for it.
    recovered: bool = False
    #: A completed task's wish to change its run's graph, {operations, description}; and the patch made of it.
    patch: Json = None
    planned: Planned | None = None
    #: A waiting node's outcome found in the run's box: fields that must still be so, fields that it uses up.
    looked: bool = False
    #: The timeout that such a look was made for, where it was one.
    timeout: Outcome | None = None
    #: Of a token that arms a map: what the map's token keeps, or the error that fails it.
    prepared: dict[str, Json] | None = None
    expect: tuple[tuple[str, str, str], ...] = ()
    drop: tuple[tuple[str, str], ...] = ()
    #: True for a worker's own report: where it comes too late, that is recorded (engine.late).
    report: bool = False
    #: What a worker tells of a task that is still at work.
    told: Told | None = None
    #: What it had told before, as far as that may not be journaled yet: its settlement writes it.
    before: tuple[Told, ...] = ()


def parse(text: str, origin: int, secret: bytes) -> list[Work]:
    """The Work a message asks for. Raises BadSignal naming what is wrong."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise BadSignal("The message is not JSON.") from None
    if not isinstance(message, dict):
        raise BadSignal("The message is not a JSON object.")
    if message.get("version") != "1.0":
        raise BadSignal(f"version {message.get('version')!r} is not known; this coordinator reads 1.0.")
    kind = message.get("kind")
    if kind in ("continue", "stop"):
        return [_inline(job, origin, secret, kind) for job in _job_list(message)]
    job = parse_job_id(message.get("job_id", ""), secret)
    token = parse_token(job.token)
    if kind in ("wake", "heartbeat"):
        return [Work(job, token, kind, origin)]
    if kind == "expired":
        return [Work(job, token, "signal", origin, _expired(message))]
    _check_names(message, job, token)
    if kind == "progress":
        return [Work(job, token, "progress", origin, told=read_told(message, message["job_id"]))]
    # Brackets are counted first: looking through a value costs more than reading it.
    deep = text.count("[") + text.count("{") > MAX_DEPTH and _nests(message, MAX_DEPTH)
    outcome = _undeliverable(TOO_DEEP, message["job_id"]) if deep else _outcome(message)
    work = _answer(job, token, origin, outcome, message.get("patch") if outcome.error is None else None)
    of_node = token.attempt > 0 and not token.node.startswith("$")
    work.before = read_repeated(message, message["job_id"]) if of_node and not deep else ()
    return [work]


def _answer(job: Job, token: Token, origin: int, outcome: Outcome, patch: Json) -> Work:
    """What a worker answered. An undo that asks for a patch fails: nothing of its run is to come."""
    if patch is not None and token.node.startswith(UNDO):
        error = {"type": "PatchRefused", "message": "A run that is rolled back takes no patch.", "retryable": False}
        return Work(
            job, token, "signal", origin, Outcome(error=error, job=outcome.job, metadata=outcome.metadata), report=True
        )
    return Work(job, token, "signal", origin, outcome, patch=patch, report=True)


def _job_list(message: dict[str, Json]) -> list[str]:
    jobs = message.get("jobs")
    if not isinstance(jobs, list):
        raise BadSignal(f"A {message['kind']} message needs a list of job ids under jobs.")
    return jobs


def _inline(job_id: str, origin: int, secret: bytes, kind: str) -> Work:
    job = parse_job_id(job_id, secret)
    return Work(job, parse_token(job.token), "inline" if kind == "continue" else kind, origin)


def _check_names(message: dict[str, Json], job: Job, token: Token) -> None:
    """run_id and node_id say again what the job id says; where they differ, the signal is not to be trusted."""
    for name, value in (("run_id", job.run_id), ("node_id", worked_on(token.node) or token.node)):
        if message.get(name, value) != value:
            raise BadSignal(f"{name} {message[name]!r} does not belong to this job_id.")
    if worked_on(token.node) is None or token.attempt == 0:
        raise BadSignal("This job_id is not a task's.")


def _outcome(message: dict[str, Json]) -> Outcome:
    """A result that breaks the format fails the token as Undeliverable, so that the run can go on (SPEC 6.5)."""
    job, metadata = message["job_id"], _metadata(message.get("metadata"))
    status = message.get("status")
    if status == "failed":
        return Outcome(error=_error(message.get("error")), job=job, metadata=metadata)
    if status != "completed":
        return _undeliverable(f"status {status!r} is neither completed nor failed.", job)
    ref = message.get("result_ref")
    if ref is not None:
        if not isinstance(ref, str) or not _REF.fullmatch(ref):
            return _undeliverable("result_ref is not an artifact://sha256/<hex> id.", job)
        return Outcome(ref=ref, job=job, metadata=metadata)
    if not _is_json(message.get("result")):
        return _undeliverable("result holds NaN or Infinity, which JSON does not have.", job)
    return Outcome(output=message.get("result"), job=job, metadata=metadata)


def _metadata(raw: Json) -> dict[str, Json]:
    """What the worker says about its work; {} for what is no JSON object: a good result is not lost for it."""
    return raw if isinstance(raw, dict) and _is_json(raw) else {}


def _is_json(value: Json) -> bool:
    try:
        compact(value)
    except ValueError:
        return False
    return True


def _nests(value: Json, depth: int) -> bool:
    """Whether lists and objects are inside one another more than `depth` times."""
    level = [value]
    for _ in range(depth + 1):
        level = [item for one in level if isinstance(one, dict | list) for item in _items(one)]
        if not level:
            return False
    return True


def _items(value: Json) -> list[Json]:
    return list(value.values()) if isinstance(value, dict) else list(value)


def _expired(message: dict[str, Json]) -> Outcome:
    """The timeout detector found this attempt's deadline past."""
    reason = message.get("reason")
    if not isinstance(reason, str) or reason not in EXPIRED:
        raise BadSignal(f"reason {reason!r} is none of {', '.join(EXPIRED)}.")
    return Outcome(error={"type": reason, "message": EXPIRED[reason], "retryable": True}, job=message["job_id"])


#: Error types of attempts that were not answered in time (SPEC 9), and what they say.
EXPIRED = {
    "Timeout": "The attempt took longer than the node's timeout_ms.",
    "HeartbeatLost": "The worker was not heard of for the node's heartbeat_ms.",
}


def _error(raw: Json) -> dict[str, Json]:
    given = raw if isinstance(raw, dict) else {"message": str(raw) if raw is not None else "The worker gave no reason."}
    kind, message = ("" if given.get(name) is None else str(given[name]) for name in ("type", "message"))
    return {
        "type": kind[:200] or "TaskFailed",
        "message": message[:4096],
        "retryable": given.get("retryable") is not False,
    }


def _undeliverable(reason: str, job: str) -> Outcome:
    return Outcome(error={"type": "Undeliverable", "message": reason, "retryable": False}, job=job)


def lighten(work: Work, detail: str) -> bool:
    """The work's commit is too large: leave out what was told before it, or let it fail. False where neither helps."""
    if work.before:
        work.before, work.expect = (), ()
        return True
    internal = work.token.node.startswith("$") and work.token.node != END
    if internal or work.outcome.error is not None:
        return False
    work.outcome = limit_exceeded(detail, work.outcome)
    return True


def limit_exceeded(detail: str, outcome: Outcome) -> Outcome:
    """The failure of work whose outcome is larger than may be kept. What it used counts, and takes no room."""
    error = {"type": "LimitExceeded", "message": detail, "retryable": False}
    return Outcome(error=error, job=outcome.job, metadata=outcome.metadata)


def wake_text(job_id: str) -> str:
    """The message that wakes a timer."""
    return compact({"version": "1.0", "kind": "wake", "job_id": job_id})


def continue_text(job_ids: list[str]) -> str:
    """The message that lets another step go on with inline tokens (HAZARDS 13)."""
    return compact({"version": "1.0", "kind": "continue", "jobs": job_ids})


def stop_text(job_ids: list[str]) -> str:
    """The message that ends the children of calls that wait no more."""
    return compact({"version": "1.0", "kind": "stop", "jobs": job_ids})
