"""Queues in memory that behave as SQS's standard queues do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.engine.ports import Clock, Outgoing
from tests.doubles.faults import Fault, effect, never

#: SendMessageBatch takes so many.
BATCH = 10


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery of a message. `count` is 1 the first time."""

    id: str
    receipt: str
    body: str
    count: int


@dataclass(slots=True)
class _Message:
    id: str
    body: str
    visible_at: int
    count: int = 0
    receipt: str = ""


class MemoryQueues:
    """Queues with delay, visibility, receive counts, and redrive to `<queue>-dlq`.

    Without `rng` messages are delivered in the order of sending; with it, it chooses among the visible ones.
    """

    def __init__(
        self,
        clock: Clock,
        fault: Fault | None = None,
        rng: random.Random | None = None,
        visibility_ms: int = 30_000,
        max_receives: int = 5,
    ) -> None:
        self._clock = clock
        self._fault = fault or never
        self._rng = rng
        self._visibility_ms = visibility_ms
        self._max_receives = max_receives
        self._queues: dict[str, list[_Message]] = {}
        self._sent = 0
        self._deliveries = 0

    def send(self, messages: Sequence[Outgoing]) -> None:
        by_queue: dict[str, list[Outgoing]] = {}
        for message in messages:
            by_queue.setdefault(message.queue, []).append(message)
        for queue, group in by_queue.items():
            for first in range(0, len(group), BATCH):
                with effect(self._fault, "queues.send"):
                    for message in group[first : first + BATCH]:
                        self._put(queue, message)

    def depth(self, queue: str) -> int:
        self._fault("queues.depth")
        return len(self._queues.get(queue, []))

    def receive(self, queue: str, most: int = 10, now: int | None = None) -> list[Received]:
        """Up to `most` visible messages, hidden from now on for the visibility timeout."""
        self._fault("queues.receive")
        now = self._clock.now_ms() if now is None else now
        self._redrive(queue, now)
        visible = [message for message in self._queues.get(queue, []) if message.visible_at <= now]
        if self._rng is not None:
            self._rng.shuffle(visible)
        return [self._deliver(message, now) for message in visible[:most]]

    def delete(self, queue: str, receipt: str) -> None:
        """Acknowledge. A receipt of an earlier delivery deletes nothing, as SQS allows itself."""
        with effect(self._fault, "queues.delete"):
            self._queues[queue] = [m for m in self._queues.get(queue, []) if m.receipt != receipt]

    def change_visibility(self, queue: str, receipt: str, visible_at: int) -> None:
        """Hide the delivered message until `visible_at` (milliseconds; now or earlier: visible at once)."""
        with effect(self._fault, "queues.change_visibility"):
            for message in self._queues.get(queue, []):
                if message.receipt == receipt:
                    message.visible_at = visible_at

    def repeat(self, queue: str, id: str) -> None:
        """Deliver an unacknowledged message once more although its visibility has not run out; both receipts count."""
        for message in self._queues.get(queue, []):
            if message.id == id:
                self._copy(queue, message)
                return

    def bodies(self, queue: str) -> list[str]:
        """What is in the queue, in order of sending; delivers nothing."""
        return [message.body for message in self._queues.get(queue, [])]

    def names(self) -> list[str]:
        """Queues that hold something."""
        return [queue for queue, messages in self._queues.items() if messages]

    def next_visible(self, queue: str) -> int | None:
        """When (milliseconds) the first of its messages can be received; None for an empty queue."""
        return min((message.visible_at for message in self._queues.get(queue, [])), default=None)

    def _put(self, queue: str, message: Outgoing) -> None:
        assert 0 <= message.delay_s <= 900, f"SQS takes a delay of 0 to 900 s, not {message.delay_s}"
        self._sent += 1
        visible_at = self._clock.now_ms() + message.delay_s * 1000
        self._queues.setdefault(queue, []).append(_Message(f"m{self._sent}", message.body, visible_at))

    def _copy(self, queue: str, message: _Message) -> None:
        """A second copy under the same id, as when one of SQS's servers has missed the first delivery."""
        twin = _Message(message.id, message.body, self._clock.now_ms(), message.count)
        messages = self._queues[queue]
        messages.insert(messages.index(message) + 1, twin)

    def _deliver(self, message: _Message, now: int) -> Received:
        self._deliveries += 1
        message.count += 1
        message.visible_at = now + self._visibility_ms
        message.receipt = f"r{self._deliveries}"
        return Received(message.id, message.receipt, message.body, message.count)

    def _redrive(self, queue: str, now: int) -> None:
        """Move what was received too often; a dead-letter queue has none of its own."""
        if queue.endswith("-dlq"):
            return
        messages = self._queues.get(queue, [])
        spent = [m for m in messages if m.count >= self._max_receives and m.visible_at <= now]
        if spent:
            ids = {id(message) for message in spent}
            self._queues[queue] = [message for message in messages if id(message) not in ids]
            dead = self._queues.setdefault(f"{queue}-dlq", [])
            dead.extend(_Message(message.id, message.body, now) for message in spent)
