"""Sends messages to the deployment's SQS queues in as few calls as SQS allows."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.adapters.aws_clients import AwsClient, answering, error_code
from chalicelib.domain.errors import TooLarge, Unavailable
from chalicelib.engine.ports import Outgoing

#: SQS's limits of one SendMessageBatch call, and of one message: 1 MiB of UTF-8 bytes.
MAX_ENTRIES = 10
MAX_BYTES = 1_048_576
#: Seconds before each repetition of the entries that a call named as failed.
BACKOFF_S = (0.05, 0.2, 0.5)
#: What SQS does not carry. In JSON text it can only stand inside a string, where an escape means the same.
_NOT_CARRIED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "InvalidAddress"})


class SqsQueues:
    """Queues over SQS. Physical name = `prefix` + logical name, but for those whose URL is in `urls`.

    `sleep` takes seconds. Threads may share it.
    """

    def __init__(
        self,
        client: AwsClient,
        prefix: str,
        sleep: Callable[[float], None] = time.sleep,
        urls: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._sleep = sleep
        self._urls = {name: url for name, url in (urls or {}).items() if url}
        self._arns: dict[str, str] = {}
        self._lock = threading.Lock()

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Send all; every queue is tried even when an earlier one refused.

        Raises Unavailable naming the queues that did not take everything, and TooLarge, before anything is sent, for a
        message over 1 MiB.
        """
        by_queue: dict[str, list[dict[str, Any]]] = {}
        for message in messages:
            by_queue.setdefault(message.queue, []).append(_entry(message))
        failures: list[str] = []
        for queue, entries in by_queue.items():
            for chunk in _chunks(entries):
                failures.extend(self._send_chunk(queue, chunk))
        if failures:
            raise Unavailable(f"Messages could not be sent: {'; '.join(failures)}. Send the request again.")

    def delete(self, queue: str, receipts: Sequence[str]) -> None:
        """Delete received messages by their receipt handles. Raises Unavailable."""
        for first in range(0, len(receipts), MAX_ENTRIES):
            part = receipts[first : first + MAX_ENTRIES]
            entries = [{"Id": str(i), "ReceiptHandle": receipt} for i, receipt in enumerate(part)]
            url = self.url(queue)
            with answering("sqs.DeleteMessageBatch"):
                self._client.delete_message_batch(QueueUrl=url, Entries=entries)

    def depth(self, queue: str) -> int:
        """Approximate number of messages waiting, delayed and in flight. Raises Unavailable."""
        names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
        ]
        attributes = self._attributes(queue, names)
        return sum(int(attributes.get(name, "0")) for name in names)

    def url(self, queue: str) -> str:
        """The queue's URL, asked for once. Raises Unavailable, also when there is no such queue."""
        if queue not in self._urls:
            name = f"{self._prefix}{queue}"
            try:
                with answering("sqs.GetQueueUrl"):
                    found = self._client.get_queue_url(QueueName=name)["QueueUrl"]
            except ClientError as error:
                raise _no_queue(name, error) from error
            with self._lock:
                self._urls[queue] = found
        return self._urls[queue]

    def arn(self, queue: str) -> str:
        """The queue's ARN, asked for once. Raises Unavailable."""
        if queue not in self._arns:
            found = self._attributes(queue, ["QueueArn"])["QueueArn"]
            with self._lock:
                self._arns[queue] = found
        return self._arns[queue]

    def _attributes(self, queue: str, names: list[str]) -> dict[str, str]:
        try:
            with answering("sqs.GetQueueAttributes"):
                answer = self._client.get_queue_attributes(QueueUrl=self.url(queue), AttributeNames=names)
        except ClientError as error:
            raise _no_queue(f"{self._prefix}{queue}", error) from error
        return dict(answer.get("Attributes", {}))

    def _send_chunk(self, queue: str, entries: list[dict[str, Any]]) -> list[str]:
        """Send at most one call's worth; returns a sentence when some are left over after the repetitions."""
        pauses = iter(BACKOFF_S)
        while True:
            try:
                failed = self._call(queue, entries)
            except Unavailable as error:
                return [error.detail]
            if not failed:
                return []
            entries = [entry for entry in entries if entry["Id"] in failed]
            pause = next(pauses, None)
            # The sender's own fault is the same the next time.
            if pause is None or all(failure.get("SenderFault") for failure in failed.values()):
                codes = sorted({str(failure.get("Code", "unknown")) for failure in failed.values()})
                return [f"{self._prefix}{queue} refused {len(entries)} with {', '.join(codes)}"]
            self._sleep(pause)

    def _call(self, queue: str, entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """One SendMessageBatch; returns the failed entries' answers by id."""
        try:
            with answering("sqs.SendMessageBatch"):
                answer = self._client.send_message_batch(QueueUrl=self.url(queue), Entries=entries)
        except ClientError as error:
            raise _no_queue(f"{self._prefix}{queue}", error) from error
        return {failure["Id"]: failure for failure in answer.get("Failed", [])}


def _no_queue(name: str, error: ClientError) -> Unavailable | ClientError:
    """What to raise for a refused call: a missing queue may be made later, a missing permission given, and nothing is
    lost until then. A user's own queue must not stop the runs that share a batch with its run."""
    if error_code(error) in _DENIED:
        return Unavailable(f"The queue {name} is closed to this role; mend its URL or the role's policy")
    if error_code(error) in _MISSING:
        return Unavailable(f"There is no queue {name}; create it, or mend the queue prefix of the deployment")
    return error


def _entry(message: Outgoing) -> dict[str, Any]:
    body = _NOT_CARRIED.sub(_escape, message.body)
    size = len(body.encode("utf-8"))
    if size > MAX_BYTES:
        raise TooLarge(f"A message to {message.queue} takes {size} bytes; at most {MAX_BYTES} can be sent.")
    entry: dict[str, Any] = {"MessageBody": body}
    if message.delay_s:
        entry["DelaySeconds"] = message.delay_s
    return entry


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _chunks(entries: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Calls' worths, in order, each entry with its id in its call."""
    chunk: list[dict[str, Any]] = []
    total = 0
    for entry in entries:
        size = len(entry["MessageBody"].encode("utf-8"))
        if chunk and (len(chunk) == MAX_ENTRIES or total + size > MAX_BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append({"Id": str(len(chunk)), **entry})
        total += size
    if chunk:
        yield chunk
