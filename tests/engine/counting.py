"""Counts what a step costs: round trips to Redis, commands run there, AWS calls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import redis

from chalicelib.engine.plans import PlanStore
from chalicelib.engine.ports import JournalItem, Outgoing, RunRecord
from chalicelib.engine.step import Coordinator
from tests.engine.harness import Harness


class CountingConnection(redis.Connection):
    """A connection that counts how often an answer is waited for after something was sent."""

    trips = 0

    def send_packed_command(self, command, check_health=True):
        self._asked = True
        return super().send_packed_command(command, check_health)

    def read_response(self, *args, **options):
        if getattr(self, "_asked", False):
            self._asked = False
            type(self).trips += 1
        return super().read_response(*args, **options)


def counting_client(port: int) -> redis.Redis:
    pool = redis.ConnectionPool(connection_class=CountingConnection, port=port, decode_responses=True)
    return redis.Redis(connection_pool=pool)


class CountingJournal:
    """A journal whose calls are counted."""

    def __init__(self, inner, calls: Counter[str]) -> None:
        self._inner, self._calls = inner, calls

    def append(self, items: Sequence[JournalItem], records: Sequence[RunRecord] = ()) -> list[JournalItem]:
        self._calls["journal.append"] += bool(items)
        return self._inner.append(items, records)

    def read(self, run_id: str, after_seq: int = 0, limit: int = 500) -> list[JournalItem]:
        self._calls["journal.read"] += 1
        return self._inner.read(run_id, after_seq, limit)


class TappedQueues:
    """Queues whose messages can be looked at, and whose calls of ten are counted per queue."""

    def __init__(self, inner, calls: Counter[str]) -> None:
        self._inner, self._calls = inner, calls
        self.sent: list[Outgoing] = []

    def send(self, messages: Sequence[Outgoing]) -> None:
        self.sent += messages
        for queue, count in Counter(message.queue for message in messages).items():
            self._calls[f"send {queue}"] += -(-count // 10)
        self._inner.send(messages)

    def depth(self, queue: str) -> int:
        return self._inner.depth(queue)

    def take(self, queue: str = "completion-signals") -> list[str]:
        """What was sent there since it was last asked."""
        found = [message.body for message in self.sent if message.queue == queue]
        self.sent = [message for message in self.sent if message.queue != queue]
        return found

    def tasks(self) -> list[dict]:
        return [json.loads(body) for body in self.take("tasks-function")]


class Meter(Harness):
    """A harness whose coordinator is driven message by message, and whose costs are counted.

    The process is warm: scripts are loaded, the plan and the run's input are in memory.
    """

    def __init__(self, client: redis.Redis, port: int, journal=None, directory=None, queues=None) -> None:
        super().__init__(counting_client(port))
        self.plain, self.calls = client, Counter()
        self.tap = TappedQueues(queues or self.queues, self.calls)
        self.services = replace(
            self.services,
            journal=CountingJournal(journal or self.journal, self.calls),
            directory=directory or self.directory,
            queues=self.tap,
            plans=PlanStore(self.artifacts, directory or self.directory, self.store),
        )
        self.coordinator = Coordinator(self.services)

    def begin(self, document: dict, input: object = None, **options: object) -> list[dict]:
        """Start a run, and go on until it has sent tasks."""
        self.start(document, input, **options)
        while bodies := self.tap.take():
            assert self.coordinator.handle(bodies) == set()
        return self.tap.tasks()

    def handle(self, bodies: list[str]) -> Counter[str]:
        """What one batch costs; `commands` are those that Redis ran, inside scripts too."""
        self.calls.clear()
        trips, commands = CountingConnection.trips, self._commands()
        assert self.coordinator.handle(bodies) == set()
        found = Counter(self.calls)
        found["redis"] = CountingConnection.trips - trips
        found["commands"] = self._commands() - commands
        return found

    def hop(self, *tasks: dict, result: object = None) -> Counter[str]:
        """Settle these tasks in one batch."""
        return self.handle([signal(task, result) for task in tasks])

    def _commands(self) -> int:
        return sum(stats["calls"] for name, stats in self.plain.info("commandstats").items() if "info" not in name)


def signal(task: dict, result: object = None, **more: object) -> str:
    """A worker's signal for this task."""
    names = {name: task[name] for name in ("job_id", "run_id", "node_id")}
    return json.dumps({"version": "1.0", **names, "status": "completed", "result": result, **more})
