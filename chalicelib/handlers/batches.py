"""SQS batches: the records of an event, and an answer that loses nothing however the mapping is set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chalicelib.wiring import queues, settings

Json = Any


class BatchPartlyFailed(Exception):
    """Some messages of a batch must come again; the others were deleted already."""


def bodies(event: Json) -> list[str]:
    """The bodies of an SQS event's records, in order."""
    return [record["body"] for record in event["Records"]]


def answer(event: Json, failed: Sequence[int], queue: str) -> Json:
    """Lambda's answer to a batch in which the messages at the positions `failed` must come again.

    Where the mapping reports partial failures (GRAFT_PARTIAL_BATCHES), they are named. Elsewhere Lambda would take any
    answer for success of the whole batch, so the others are deleted here and the batch is failed (DESIGN 2).
    Raises BatchPartlyFailed.
    """
    records = event["Records"]
    if settings().partial_batches or not failed:
        return {"batchItemFailures": [{"itemIdentifier": records[i]["messageId"]} for i in sorted(failed)]}
    done = [record["receiptHandle"] for i, record in enumerate(records) if i not in set(failed)]
    queues().delete(queue, done)
    raise BatchPartlyFailed(f"{len(failed)} of {len(records)} messages must come again.")
