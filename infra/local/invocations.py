"""Runs the batches of one queue on instances, each as one Lambda instance would: one batch at a time, one deadline."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.local.apps import Handler
from infra.local.lambda_events import LambdaContext, failed_ids, sqs_event

log = logging.getLogger("graft.local.invocations")

Message = Mapping[str, Any]


@dataclass(slots=True)
class Batch:
    """Messages received together. Whoever claims it first, its instance or the deadline, settles it."""

    messages: Sequence[Message]
    queue_arn: str
    #: Seconds on the monotonic clock.
    deadline: float
    renewed: float = field(default_factory=time.monotonic)
    _unclaimed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(1))

    @property
    def ids(self) -> list[str]:
        """The messages' ids."""
        return [message["MessageId"] for message in self.messages]

    def claim(self) -> bool:
        """True for the first caller only."""
        return self._unclaimed.acquire(blocking=False)


#: Told which message ids of a batch stay in the queue; deletes the others.
Settle = Callable[[Batch, set[str]], None]


class Instances:
    """A fixed number of instances of one handler. One that passes its deadline is given up and replaced."""

    def __init__(self, name: str, handler: Handler, settle: Settle, count: int, timeout_s: float) -> None:
        self._name, self._handler, self._settle, self._timeout_s = name, handler, settle, timeout_s
        self._free = threading.Semaphore(count)
        self._count = count
        self._waiting: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running: list[Batch] = []
        for _ in range(count):
            self._add_instance()

    def reserve(self, seconds: float) -> bool:
        """Wait for a free instance; True when one is kept for the caller, who then runs or releases."""
        return self._free.acquire(timeout=seconds)

    def release(self) -> None:
        """Give back a reserved instance."""
        self._free.release()

    def run(self, messages: Sequence[Message], queue_arn: str) -> None:
        """Hand a batch to the reserved instance; returns at once."""
        batch = Batch(messages, queue_arn, time.monotonic() + self._timeout_s)
        with self._lock:
            self._running.append(batch)
        self._waiting.put(batch)

    def running(self) -> list[Batch]:
        """The batches being worked now."""
        with self._lock:
            return list(self._running)

    def give_up_late(self, now: float) -> None:
        """Fail the batches whose deadline has passed; their instances are left to end by themselves."""
        for batch in self.running():
            if now >= batch.deadline and batch.claim():
                log.error("%s timed out after %s s; messages %s", self._name, self._timeout_s, batch.ids)
                self._add_instance()
                self._finish(batch, set(batch.ids))

    def drain(self, seconds: float) -> None:
        """Wait until nothing runs, at most `seconds`."""
        end = time.monotonic() + seconds
        while self.running() and time.monotonic() < end:
            time.sleep(0.01)

    def _add_instance(self) -> None:
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while True:
            batch = self._waiting.get()
            failed = self._invoke(batch)
            if not batch.claim():
                return
            self._finish(batch, failed)

    def _invoke(self, batch: Batch) -> set[str]:
        context = LambdaContext(self._name, batch.deadline - time.monotonic())
        try:
            return failed_ids(self._handler(sqs_event(batch.messages, batch.queue_arn), context), batch.ids)
        except BaseException:
            log.exception("%s failed its batch of %d", self._name, len(batch.messages))
            return set(batch.ids)

    def _finish(self, batch: Batch, failed: set[str]) -> None:
        try:
            self._settle(batch, failed)
        except Exception:
            log.exception("%s: the batch could not be settled; its messages will be received again", self._name)
        with self._lock:
            self._running.remove(batch)
        self.release()
