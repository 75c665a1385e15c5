"""The workers' Lambdas: a batch of tasks, done one by one, and their signals."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

from chalice.app import Blueprint, SQSEvent

from chalicelib.config import queue_name
from chalicelib.domain.commit import compact
from chalicelib.domain.errors import BadSignal, Unavailable
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.task import HandOn
from chalicelib.engine.work import WorkPorts, work
from chalicelib.handlers.batches import answer, bodies
from chalicelib.handlers.signal_sender import SignalSender
from chalicelib.wiring import queues, work_ports, workers

Json = Any
log = logging.getLogger("graft.worker")
blueprint = Blueprint(__name__)


@blueprint.on_sqs_message(queue=queue_name("tasks-function"), batch_size=10, name="function_worker")
def function_worker(event: SQSEvent) -> Any:  # noqa: ANN401 - the shape is Lambda's
    """Run registered functions and allowlisted Lambda functions."""
    return _batch(event.to_dict(), "tasks-function")


@blueprint.on_sqs_message(queue=queue_name("tasks-http"), batch_size=10, name="http_worker")
def http_worker(event: SQSEvent) -> Any:  # noqa: ANN401 - the shape is Lambda's
    """Make guarded HTTP requests."""
    return _batch(event.to_dict(), "tasks-http")


@blueprint.on_sqs_message(queue=queue_name("tasks-agent"), batch_size=1, name="agent_worker")
def agent_worker(event: SQSEvent) -> Any:  # noqa: ANN401 - the shape is Lambda's
    """Run agents, one at a time; one that takes longer than this function lives is handed on to its next invocation."""
    context: Any = event.context
    ends = None if context is None else lambda: float(context.get_remaining_time_in_millis()) / 1000
    return _batch(event.to_dict(), "tasks-agent", replace(work_ports(), time_left_s=ends))


def _batch(event: Json, queue: str, ports: WorkPorts | None = None) -> Json:
    """Each signal is sent as soon as it is there: a slow task does not hold back its neighbours' results."""
    sender, ports = SignalSender(queues().send), ports or work_ports()
    try:
        failed = {i for i, text in enumerate(bodies(event)) if not _one(i, text, queue, sender, ports)}
    finally:
        unsent = sender.close()
    return answer(event, sorted(failed | unsent), queue)


def _one(position: int, text: str, queue: str, sender: SignalSender, ports: WorkPorts) -> bool:
    """Do one task. False where its message must come again."""
    try:
        outgoing = _signal(text, queue, ports)
    except Unavailable:
        log.warning("a task could not be done; it is delivered again")
        return False
    if outgoing is not None:
        sender.put(position, outgoing)
    return True


def _signal(text: str, queue: str, ports: WorkPorts) -> Outgoing | None:
    try:
        signal = work(json.loads(text), workers(), ports)
    except HandOn:
        # The same task, as a message of its own: its receives are counted anew, and the deadline in it stays.
        return Outgoing(queue, text)
    except (BadSignal, ValueError, RecursionError) as error:
        body = compact({"reason": str(error), "message": text[:65536]})
        return Outgoing(f"{queue}-dlq", body)
    return None if signal is None else Outgoing("completion-signals", compact(signal))
