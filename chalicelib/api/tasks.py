"""Callback routes: workers that cannot reach the queue send their signal by HTTP."""

from __future__ import annotations

from typing import Any

from chalice.app import Blueprint

from chalicelib.api.call import Call
from chalicelib.api.endpoint import operation
from chalicelib.api.problems import Answer
from chalicelib.domain.commit import compact
from chalicelib.domain.errors import InvalidInput, Problem
from chalicelib.domain.ids import parse_job_id
from chalicelib.engine.credentials import TaskClaims
from chalicelib.engine.outstanding import is_outstanding
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.signals import INLINE_BYTES

Json = Any
blueprint = Blueprint(__name__)
QUEUE = "completion-signals"
#: Bytes of a signal's metadata, patch and error together.
MAX_REST = 128 * 1024


@operation(blueprint)
def get_task(call: Call) -> Answer:
    """Whether the attempt is still waited for."""
    task = _task(call)
    outstanding = is_outstanding(call.services, parse_job_id(task.job_id, call.services.secret))
    return Answer({**_view(task), "outstanding": outstanding})


@operation(blueprint)
def complete_task(call: Call) -> Answer:
    """Queue the completion signal; the coordinator settles it. A repeat changes nothing."""
    body = call.members("result", "result_ref", "metadata", "patch")
    signal: dict[str, Json] = {"status": "completed", **_objects(body, "metadata", "patch")}
    if body.get("result_ref") is not None:
        signal["result_ref"] = _reference(call, body)
    else:
        text = compact(body.get("result"))
        if len(text) > INLINE_BYTES:
            signal["result_ref"] = call.services.artifacts.put(text.encode())
        else:
            signal["result"] = body.get("result")
    return _send(call, signal)


@operation(blueprint)
def fail_task(call: Call) -> Answer:
    """Queue the signal of a failed attempt."""
    body = call.members("metadata", required=("error",))
    error = body["error"]
    if not isinstance(error, dict) or not isinstance(error.get("type", ""), str):
        problem = Problem("bad_error", "/error", "Send {type, message, retryable}.")
        raise InvalidInput("error is not an error object.", (problem,))
    return _send(call, {"status": "failed", "error": error, **_objects(body, "metadata")})


@operation(blueprint)
def beat_task(call: Call) -> Answer:
    """Move the attempt's heartbeat deadline."""
    call.members()
    return _send(call, {"kind": "heartbeat"})


def _send(call: Call, signal: dict[str, Json]) -> Answer:
    task = _task(call)
    rest = {name: value for name, value in signal.items() if name not in ("result", "result_ref")}
    if len(compact(rest)) > MAX_REST:
        problem = Problem("too_large", "", f"Keep error, metadata and patch within {MAX_REST} bytes.")
        raise InvalidInput("The signal is too large for its queue.", (problem,))
    head = {"version": "1.0", "job_id": task.job_id, "run_id": task.run_id, "node_id": task.node_id}
    call.services.queues.send([Outgoing(QUEUE, compact({**head, **signal}))])
    return Answer({**_view(task), "accepted": True}, 202)


def _task(call: Call) -> TaskClaims:
    assert call.task is not None, "a callback route has a callback token"
    return call.task


def _view(task: TaskClaims) -> dict[str, Json]:
    return {"run_id": task.run_id, "node_id": task.node_id, "attempt": task.attempt}


def _objects(body: dict[str, Json], *names: str) -> dict[str, Json]:
    given = {name: body[name] for name in names if body.get(name) is not None}
    problems = [Problem("wrong_type", f"/{n}", "Send an object.") for n, v in given.items() if not isinstance(v, dict)]
    if problems:
        raise InvalidInput("A member is not an object.", tuple(problems))
    return given


def _reference(call: Call, body: dict[str, Json]) -> str:
    ref = body["result_ref"]
    if "result" in body:
        problem = Problem("both_given", "/result_ref", "Leave out one of result and result_ref.")
        raise InvalidInput("A result travels inline or as an artifact, not both.", (problem,))
    if not isinstance(ref, str) or not call.services.artifacts.exists(ref):
        problem = Problem("unknown_artifact", "/result_ref", "Upload the artifact first: POST /artifacts.")
        raise InvalidInput("result_ref names no artifact that is stored.", (problem,))
    return ref
