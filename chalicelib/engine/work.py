"""Turns one task message into the completion signal that reports its outcome."""

from __future__ import annotations

import dataclasses
import json
import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.errors import NotFound, TaskError, Unavailable
from chalicelib.engine.ports import Artifacts, Clock
from chalicelib.engine.progress import repeated
from chalicelib.engine.secret_refs import Secrets, Vault
from chalicelib.engine.task import VERSION, HandOn, Task, Worker, check_message, deadline_ms
from chalicelib.engine.work_result import as_json, canonical

Json = Any
_log = logging.getLogger("graft.work")

#: Bytes of canonical JSON; larger results travel as artifacts.
MAX_INLINE_RESULT = 64 * 1024
#: Bytes; the largest artifact.
MAX_RESULT = 100 * 1024 * 1024
#: Bytes of a patch, so that patch, result and error fit one SQS message together.
MAX_PATCH = 128 * 1024
#: Bytes of an error message.
MAX_ERROR = 4 * 1024
#: Characters of an error type.
MAX_ERROR_TYPE = 128


@dataclass(frozen=True, slots=True)
class WorkPorts:
    """What working a task asks of the world."""

    clock: Clock
    artifacts: Artifacts
    #: Tenant -> its secrets. None: no secrets are configured, and a reference fails its node.
    secrets: Callable[[str], Secrets] | None = None
    #: Called with the task message to say that the work is alive; None: heartbeats go nowhere.
    heartbeat: Callable[[Json], None] | None = None
    #: Called with a progress signal; None: progress goes nowhere. Raises Unavailable.
    progress: Callable[[Json], None] | None = None
    #: Seconds until this process ends; None: it does not.
    time_left_s: Callable[[], float] | None = None
    #: Asked with the task message whether its attempt is still waited for. None: nobody can be asked. Raises TaskError.
    wanted: Callable[[Json], bool] | None = None


def work(message: Json, workers: Mapping[str, Worker], ports: WorkPorts) -> dict[str, Json] | None:
    """Do one task and return its completion signal (SPEC 7), or None for a task whose deadline has passed, or that asks
    to be checked first and is waited for no more.

    Raises BadSignal for a message that is no task of version 1.0, and Unavailable when the artifact store does not
    answer: the task is then to be delivered again. Raises HandOn when its message is to be sent again.
    """
    check_message(message)
    deadline, started = deadline_ms(message.get("deadline")), ports.clock.now_ms()
    ids = {name: message[name] for name in ("job_id", "run_id", "node_id")}
    if deadline is not None and started >= deadline:
        _log.info("dropped a task whose deadline has passed", extra=ids)
        return None
    told: list[dict[str, Json]] = []
    task = _task(message, ports, told)
    try:
        if not _is_wanted(message, ports):
            _log.info("dropped a task that is waited for no more", extra=ids)
            return None
        outcome = _completed(task, workers, message, ports)
    except (Unavailable, HandOn):
        raise
    except Exception as error:
        outcome = _failed(error, task)
    signal = {"version": VERSION, **ids, **outcome, "metadata": _metadata(task, ports.clock.now_ms() - started)}
    signal |= {"progress": repeated(told)} if told else {}
    return {**signal, "trace": message["trace"]} if "trace" in message else signal


def _is_wanted(message: Mapping[str, Json], ports: WorkPorts) -> bool:
    """False only where the node wants its attempts checked before they start, and this one is waited for no more."""
    if not message.get("check_before_start"):
        return True
    if ports.wanted is None:
        raise TaskError("TaskFailed", "nobody can be asked here whether this attempt is waited for", retryable=False)
    return ports.wanted(message)


def _task(message: Mapping[str, Json], ports: WorkPorts, told: list[dict[str, Json]]) -> Task:
    """`told` takes what is told while it is worked."""
    return Task(
        type=message["type"],
        run_id=message["run_id"],
        node_id=message["node_id"],
        job_id=message["job_id"],
        attempt=message["attempt"],
        iteration=1 if message.get("iteration") is None else message["iteration"],
        index=message.get("index"),
        deadline=deadline_ms(message.get("deadline")),
        config=message.get("config"),
        vault=Vault(_secrets(message, ports)),
        clock=ports.clock,
        beat=lambda: _beat(message, ports),
        agent=message.get("agent"),
        time_left_s=ports.time_left_s or (lambda: float("inf")),
        tell=lambda key, events: _tell(message, ports, told, {"key": key, "events": list(events)}),
    )


def _secrets(message: Mapping[str, Json], ports: WorkPorts) -> Secrets | None:
    """The secrets of the task's tenant. Who may send to a queue of tasks is who may say the tenant: Graft's own parts
    alone. A message that names no tenant has no secrets."""
    tenant = message.get("tenant")
    return ports.secrets(tenant) if tenant and ports.secrets is not None else None


def _tell(message: Mapping[str, Json], ports: WorkPorts, told: list[dict[str, Json]], one: dict[str, Json]) -> None:
    told.append(one)
    if ports.progress is not None:
        ids = {name: message[name] for name in ("job_id", "run_id", "node_id")}
        ports.progress({"version": VERSION, "kind": "progress", **ids, **one})


def _beat(message: Mapping[str, Json], ports: WorkPorts) -> None:
    if ports.heartbeat is None:
        return
    try:
        ports.heartbeat(message)
    except Exception as error:
        # A lost beat is made good by the next; it must not fail work that goes well.
        _log.warning("a heartbeat was not sent: %s", type(error).__name__, extra={"job_id": message["job_id"]})


def _completed(task: Task, workers: Mapping[str, Worker], message: Mapping[str, Json], ports: WorkPorts) -> Json:
    worker = workers.get(task.type)
    if worker is None:
        raise TaskError("TaskFailed", f"no worker here does tasks of type {task.type!r}", retryable=False)
    config = _load(message["config_ref"], ports.artifacts) if message.get("config_ref") else task.config
    config = task.vault.fill(config, message.get("secrets"))
    result = worker.run(dataclasses.replace(task, config=config))
    body = canonical(task.vault.redact_json(as_json(result)))
    if len(body) > MAX_RESULT:
        raise _too_large("the result", len(body), MAX_RESULT, "write it to a store and return where it is")
    outcome: dict[str, Json] = {"status": "completed", **_patch(task)}
    if len(body) > MAX_INLINE_RESULT:
        return {**outcome, "result_ref": ports.artifacts.put(body)}
    return {**outcome, "result": json.loads(body)}


def _load(ref: str, artifacts: Artifacts) -> Json:
    try:
        return json.loads(artifacts.get(ref))
    except (NotFound, ValueError, RecursionError) as error:
        why = "is not in the store" if isinstance(error, NotFound) else "is no JSON"
        raise TaskError("TaskFailed", f"the config artifact {ref} {why}", retryable=False) from error


def _patch(task: Task) -> dict[str, Json]:
    patch = task.vault.redact_json(task.patch_json())
    if patch is None:
        return {}
    if (size := len(canonical(patch))) > MAX_PATCH:
        raise _too_large("the patch", size, MAX_PATCH, "send fewer operations, or patch through the API")
    return {"patch": patch}


def _failed(error: Exception, task: Task) -> dict[str, Json]:
    if not isinstance(error, TaskError):
        _log.warning("a worker raised %s", type(error).__name__, extra=_where(task, error))
        error = TaskError(type(error).__name__, _words(error))
    kind = _cut(task.vault.redact(str(error.type)), MAX_ERROR_TYPE) or "TaskFailed"
    message = _cut(task.vault.redact(str(error.message)), MAX_ERROR)
    return {"status": "failed", "error": {"type": kind, "message": message, "retryable": bool(error.retryable)}}


def _where(task: Task, error: Exception) -> dict[str, Json]:
    # Frames only: the exception's own text may quote the config.
    frames = "".join(traceback.format_tb(error.__traceback__)[-10:])
    return {"run_id": task.run_id, "node_id": task.node_id, "job_id": task.job_id, "stack": frames}


def _words(error: Exception) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:
        # The user's own __str__ may be as broken as the rest.
        return type(error).__name__


def _cut(text: str, most: int) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return data.decode()
    return data[: most - 3].decode("utf-8", "ignore") + "…"


def _metadata(task: Task, duration_ms: int) -> dict[str, Json]:
    own: dict[str, Json] = task.vault.redact_json(as_json(task.metadata))
    return {**own, "duration_ms": max(0, duration_ms)}


def _too_large(what: str, size: int, most: int, way_out: str) -> TaskError:
    return TaskError("LimitExceeded", f"{what} is {size} bytes, the limit is {most}: {way_out}", retryable=False)
