"""The dead-letter queues' Lambdas: each message is tried once more, or recorded and its token failed."""

from __future__ import annotations

import logging
from typing import Any

from chalice.app import Blueprint, SQSEvent

from chalicelib.config import queue_name
from chalicelib.engine.dead_letters import Arrived, take_in
from chalicelib.handlers.batches import answer
from chalicelib.wiring import coordinator, services

Json = Any
SUFFIX = "-dlq"
log = logging.getLogger("graft.dead_letters")
blueprint = Blueprint(__name__)


@blueprint.on_sqs_message(queue=queue_name("completion-signals-dlq"), batch_size=10, name="dead_signals")
def dead_signals(event: SQSEvent) -> Any:  # noqa: ANN401 - the shape is Lambda's
    """Signals that were refused, or whose steps failed too often."""
    return _batch(event.to_dict(), "completion-signals")


@blueprint.on_sqs_message(queue=queue_name("tasks-function-dlq"), batch_size=10, name="dead_function_tasks")
def dead_function_tasks(event: SQSEvent) -> Any:  # noqa: ANN401 - the shape is Lambda's
    """Function tasks that no worker finished."""
    return _batch(event.to_dict(), "tasks-function")


@blueprint.on_sqs_message(queue=queue_name("tasks-http-dlq"), batch_size=10, name="dead_http_tasks")
def dead_http_tasks(event: SQSEvent) -> Any:  # noqa: ANN401 - the shape is Lambda's
    """HTTP tasks that no worker finished."""
    return _batch(event.to_dict(), "tasks-http")


@blueprint.on_sqs_message(queue=queue_name("tasks-agent-dlq"), batch_size=10, name="dead_agent_tasks")
def dead_agent_tasks(event: SQSEvent) -> Any:  # noqa: ANN401 - the shape is Lambda's
    """Agent tasks that no worker finished."""
    return _batch(event.to_dict(), "tasks-agent")


def _batch(event: Json, queue: str) -> Json:
    failed = [i for i, record in enumerate(event["Records"]) if not _one(record, queue)]
    return answer(event, failed, queue + SUFFIX)


def _one(record: Json, queue: str) -> bool:
    """Deal with one message, whatever its neighbours do. False: it comes again."""
    try:
        return take_in(services(), coordinator().handle, arrived(record, queue, services().clock.now_ms()))
    except Exception:
        log.exception("a dead letter could not be dealt with; it comes again", extra={"queue": queue})
        return False


def arrived(record: Json, queue: str, now_ms: int) -> Arrived:
    """The record of an SQS event, read. Without a time of sending it counts as sent now."""
    attributes = record.get("attributes") or {}
    sent = int(attributes.get("SentTimestamp") or now_ms)
    return Arrived(
        record["messageId"], queue, record["body"], sent, int(attributes.get("ApproximateReceiveCount") or 1)
    )
