"""The dead-letter queues of the harness, taken in as the Lambdas do."""

from __future__ import annotations

from chalicelib.domain.errors import Unavailable
from chalicelib.engine.dead_letters import Arrived, take_in
from chalicelib.engine.letter_records import listed
from tests.engine.harness import Harness

QUEUES = ("completion-signals", "tasks-function", "tasks-http", "tasks-agent")


def take_in_all(harness: Harness) -> int:
    """Deal with every dead letter that can be received now. Returns how many stay in their queues."""
    staying = 0
    for queue in QUEUES:
        for message in harness.queues.receive(f"{queue}-dlq"):
            sent = int(message.id[1:])  # the doubles count their messages
            letter = Arrived(message.id, queue, message.body, harness.clock.now_ms() + sent, message.count)
            try:
                done = take_in(harness.services, harness.coordinator.handle, letter)
            except Unavailable:
                done = False
            if done:
                harness.queues.delete(f"{queue}-dlq", message.receipt)
            else:
                staying += 1
    return staying


def letters(harness: Harness, tenant: str = "acme") -> list[dict]:
    return listed(harness.services, tenant, 50, None)[0]


def spend_receives(harness: Harness, queue: str) -> None:
    """Receive what is in the queue until SQS gives it up: every process that took it died."""
    for _ in range(6):
        harness.queues.receive(queue)
        harness.clock.now += 31_000
    harness.queues.receive(queue)
