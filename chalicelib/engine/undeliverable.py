"""Fails the tokens of messages that can never be processed, so that no run waits for them (SPEC 6.5)."""

from __future__ import annotations

import json
import re
from typing import Any

from chalicelib.domain.commit import Draft, Event, compact
from chalicelib.domain.errors import BadSignal, Unavailable
from chalicelib.domain.ids import Job, bare, job_id, parse_job_id, parse_token, worked_on
from chalicelib.domain.state import ENDED
from chalicelib.engine.acting import act
from chalicelib.engine.places import leave_or_log
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.rebuild import ensure_present
from chalicelib.engine.run_records import RECORD_META
from chalicelib.engine.services import Services

Json = Any
SIGNALS = "completion-signals"
ERROR_TYPE = "Undeliverable"
#: Characters of a reason that are kept.
REASON_CHARS = 500
#: Times the end of a run is decided again because the run changed under it.
MAX_TRIES = 10
_JOB_ID = re.compile(r'"job_id"\s*:\s*"([^"\\]{1,4096})"')


def jobs_in(text: str, secret: bytes) -> list[Job]:
    """The jobs that a message names, as far as this deployment made their ids; also where it is no whole JSON."""
    jobs = []
    for name in _names(text):
        try:
            jobs.append(parse_job_id(name, secret))
        except BadSignal:
            continue
    return jobs


def _names(text: str) -> list[Json]:
    message = _object(text)
    if not message:
        return _JOB_ID.findall(text)[:1]
    listed = message.get("jobs")
    return [message.get("job_id"), *(listed if isinstance(listed, list) else [])]


def _object(text: str) -> dict[str, Json]:
    """The message; {} where it is no JSON object."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def fail_by_signal(services: Services, job: Job, reason: str) -> bool:
    """Fail a node's token by a signal of its own, which the coordinator settles as any other: where it was settled
    before, nothing changes. False for the coordinator's own tokens, which take no signal. Raises Unavailable.
    """
    token = parse_token(job.token)
    node = worked_on(token.node)
    if node is None or token.attempt == 0:
        return False
    error = {"type": ERROR_TYPE, "message": reason[:REASON_CHARS], "retryable": False}
    signed = job_id(job, services.secret)
    head = {"version": "1.0", "job_id": signed, "run_id": job.run_id, "node_id": node}
    services.queues.send([Outgoing(SIGNALS, compact({**head, "status": "failed", "error": error}))])
    return True


def is_last_word(text: str) -> bool:
    """Whether the message is itself a token's failure as Undeliverable."""
    error = _object(text).get("error")
    return isinstance(error, dict) and error.get("type") == ERROR_TYPE


def is_beat(text: str) -> bool:
    """Whether the message only says that work is alive."""
    return _object(text).get("kind") == "heartbeat"


def end_run(services: Services, job: Job, reason: str) -> None:
    """End a run whose token can be settled in no way, not even as failed. An ended run is left alone.

    Raises NotFound, Unavailable.
    """
    node = bare(parse_token(job.token).node)
    error = {"type": ERROR_TYPE, "message": reason[:REASON_CHARS], "node_id": None if node.startswith("$") else node}
    for _ in range(MAX_TRIES):
        meta = ensure_present(services, job.run_id)
        if meta["status"] in ENDED:
            return
        shown = {name: meta[name] for name in RECORD_META if name in meta}
        last = {"status": "FAILED", "finished_at": str(services.clock.now_ms()), "error": compact(error)}
        event = Event("run_failed", data={"error": error})
        draft = Draft(cancel_all=True, final=True, meta={**shown, **last}, events=[event])
        if act(services, job.run_id, "graft", meta, draft):
            if "limited" in meta:
                leave_or_log(services, job.run_id, meta)
            return
    raise Unavailable(f"Run {job.run_id} changed too often meanwhile.")
