"""Receives from the queues and invokes the app's queue handlers, with the semantics of Lambda's SQS event sources."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.config import Settings
from infra.local.apps import QueueHandler, load, queue_handlers
from infra.local.children import say_ready
from infra.local.clients import Client, client
from infra.local.invocations import Batch, Instances
from infra.local.provision import DEAD_LETTERS, handler_timeout_s

log = logging.getLogger("graft.local.pollers")

GROUPS = ("coordinators", "workers", "all")
#: Seconds given to running handlers when the process is told to stop.
STOP_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class PollerOptions:
    """How a poller differs from AWS, to be quick at home."""

    #: Batches of one queue that this process works at a time.
    instances: int = 2
    #: Seconds a message stays hidden unless renewed; it is renewed while its handler runs, so that a killed process's
    #: messages come back soon although handlers may run long.
    visibility_s: int = 10
    #: Seconds until a failed message is delivered again (on AWS: the rest of the visibility timeout).
    retry_s: int = 1
    #: Seconds of one long poll: short, since a poll of a killed process may still be handed a message.
    wait_s: int = 2
    handler_timeout_s: float = 300.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], instances: int) -> PollerOptions:
        """Read GRAFT_LOCAL_VISIBILITY_S, GRAFT_LOCAL_RETRY_S and GRAFT_LOCAL_HANDLER_TIMEOUT_S."""
        return cls(
            instances=instances,
            visibility_s=int(environ.get("GRAFT_LOCAL_VISIBILITY_S") or 10),
            retry_s=int(environ.get("GRAFT_LOCAL_RETRY_S") or 1),
            handler_timeout_s=handler_timeout_s(),
        )


class Poller:
    """One queue of the app: a thread that receives, and instances that work what it received."""

    def __init__(self, sqs: Client, source: QueueHandler, options: PollerOptions) -> None:
        self._sqs, self._source, self._options = sqs, source, options
        self._stopping = threading.Event()
        self._url = self._arn = ""
        count, timeout = options.instances, options.handler_timeout_s
        self.instances = Instances(source.name, source.handler, self._settle, count, timeout)
        self._thread = threading.Thread(target=self._poll, name=f"receive {source.queue}", daemon=True)

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def stop(self) -> None:
        """Receive no more."""
        self._stopping.set()

    def look_after(self, now: float) -> None:
        """Renew what is being worked, and give up what is past its deadline; called every half second."""
        self.instances.give_up_late(now)
        for batch in self.instances.running():
            if now - batch.renewed >= self._options.visibility_s / 3:
                batch.renewed = now
                self._hide(batch.messages, self._options.visibility_s)

    def _poll(self) -> None:
        while not self._stopping.is_set():
            if not self.instances.reserve(seconds=0.5):
                continue
            messages = self._receive()
            if messages:
                self.instances.run(messages, self._arn)
            else:
                self.instances.release()

    def _receive(self) -> Sequence[Mapping[str, Any]]:
        try:
            if not self._url:
                self._find_queue()
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=self._source.batch_size,
                WaitTimeSeconds=self._options.wait_s,
                VisibilityTimeout=self._options.visibility_s,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        except Exception as error:  # the stand-in may be starting, or gone for a moment
            log.warning("cannot receive from %s: %s", self._source.queue, error)
            self._url = ""
            self._stopping.wait(0.2)
            return ()
        messages = list(answer.get("Messages") or ())
        again = sum(int(message["Attributes"]["ApproximateReceiveCount"]) > 1 for message in messages)
        if again:
            log.warning("%d of %d messages of %s come again", again, len(messages), self._source.queue)
        return messages

    def _find_queue(self) -> None:
        url = self._sqs.get_queue_url(QueueName=self._source.queue)["QueueUrl"]
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        self._url, self._arn = url, found["Attributes"]["QueueArn"]

    def _settle(self, batch: Batch, failed: set[str]) -> None:
        done = [message for message in batch.messages if message["MessageId"] not in failed]
        if done:
            entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(done)]
            self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
        self._hide([m for m in batch.messages if m["MessageId"] in failed], self._options.retry_s)

    def _hide(self, messages: Sequence[Mapping[str, Any]], seconds: int) -> None:
        """Let the messages be hidden for `seconds` from now; those already deleted are passed over."""
        if not messages:
            return
        entries = [
            {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": seconds}
            for i, m in enumerate(messages)
        ]
        try:
            self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
        except Exception as error:  # then they come back when their visibility ends
            log.warning("cannot change visibility in %s: %s", self._source.queue, error)


def in_group(source: QueueHandler, prefix: str, group: str) -> bool:
    """Whether `group` serves this queue: workers the task queues, coordinators all others."""
    logical = source.queue.removeprefix(prefix)
    worker = logical.startswith("tasks-") and not logical.endswith(DEAD_LETTERS)
    return group == "all" or worker == (group == "workers")


def serve(pollers: Sequence[Poller], stopping: threading.Event) -> None:
    """Run the pollers until `stopping`, then let what runs end, for at most two seconds."""
    for poller in pollers:
        poller.start()
    say_ready()
    while not stopping.wait(0.5):
        for poller in pollers:
            poller.look_after(time.monotonic())
    for poller in pollers:
        poller.stop()
    for poller in pollers:
        poller.instances.drain(STOP_GRACE_S)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve one group of the app's queues until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", default="app:app")
    parser.add_argument("--group", choices=GROUPS, default="all")
    parser.add_argument("--instances", type=int, default=2)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    settings = Settings.from_environment()
    options = PollerOptions.from_environment(os.environ, arguments.instances)
    found = [s for s in queue_handlers(load(arguments.app)) if in_group(s, settings.queue_prefix, arguments.group)]
    sqs = client(settings, "sqs", connections=len(found) * (options.instances + 2) + 2)
    serve([Poller(sqs, source, options) for source in found], stopping)
    # Threads given up or waiting in a long poll must not hold the process.
    os._exit(0)


if __name__ == "__main__":
    main()
