"""The coordinator's Lambda: a batch of completion signals, settled as a whole."""

from __future__ import annotations

from typing import Any

from chalice.app import Blueprint, SQSEvent

from chalicelib.config import queue_name
from chalicelib.handlers.batches import answer, bodies
from chalicelib.wiring import coordinator as settling

QUEUE = "completion-signals"
blueprint = Blueprint(__name__)


@blueprint.on_sqs_message(queue=queue_name(QUEUE), batch_size=10, name="coordinator")
def coordinator(event: SQSEvent) -> Any:  # noqa: ANN401 - the shape is Lambda's
    """Settle the signals; those that could not be are delivered again."""
    raw = event.to_dict()
    return answer(raw, sorted(settling().handle(bodies(raw))), QUEUE)
