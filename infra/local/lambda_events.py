"""Speaks Lambda's side of an invocation: the events a function gets, its context, and what its answer means."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

ACCOUNT = "000000000000"


class LambdaContext:
    """The context object of one invocation, with the members that the real one has."""

    def __init__(self, function_name: str, timeout_s: float) -> None:
        self.function_name = function_name
        self.function_version = "$LATEST"
        self.invoked_function_arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{function_name}"
        self.memory_limit_in_mb = "512"
        self.aws_request_id = str(uuid.uuid4())
        self.log_group_name = f"/aws/lambda/{function_name}"
        self.log_stream_name = "local"
        self.identity = None
        self.client_context = None
        self._deadline = time.monotonic() + timeout_s

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is given up, never below 0."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def sqs_event(messages: Sequence[Mapping[str, Any]], queue_arn: str) -> dict[str, Any]:
    """The event for a batch of messages as ReceiveMessage gave them."""
    return {"Records": [_record(message, queue_arn) for message in messages]}


def _record(message: Mapping[str, Any], queue_arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes") or {}),
        "messageAttributes": {k: _attribute(v) for k, v in (message.get("MessageAttributes") or {}).items()},
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": (queue_arn.split(":") + [""] * 4)[3],
    }


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    """Lambda spells the members of message attributes in its own way."""
    spelled = {"DataType": "dataType", "StringValue": "stringValue", "BinaryValue": "binaryValue"}
    return {"stringListValues": [], "binaryListValues": []} | {
        spelled[name]: content for name, content in value.items() if name in spelled
    }


def failed_ids(answer: object, message_ids: Iterable[str]) -> set[str]:
    """Which messages of the batch stay in the queue, by the rules of ReportBatchItemFailures.

    Null, an empty object and an empty or null list mean that all are done. Anything that cannot be understood, such as
    an item without an id or with an id that was not in the batch, fails the whole batch.
    """
    batch = set(message_ids)
    if answer is None:
        return set()
    if not isinstance(answer, Mapping):
        return batch
    failures = answer.get("batchItemFailures")
    if failures is None:
        return set()
    if not isinstance(failures, list):
        return batch
    named = [item.get("itemIdentifier") if isinstance(item, Mapping) else None for item in failures]
    if any(not isinstance(name, str) or name not in batch for name in named):
        return batch
    return {str(name) for name in named}


def schedule_event(rule: str) -> dict[str, Any]:
    """The event of an EventBridge rule that fires now."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "us-east-1",
        "resources": [f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{rule}"],
        "detail": {},
    }
