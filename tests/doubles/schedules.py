"""One-time wake-ups in memory."""

from __future__ import annotations

from chalicelib.engine.ports import Outgoing, Queues
from tests.doubles.faults import Fault, effect, never


class MemorySchedules:
    """Schedules that send into `queues` when the test fires them."""

    def __init__(self, queues: Queues, fault: Fault | None = None) -> None:
        self._queues = queues
        self._fault = fault or never
        self._pending: dict[str, tuple[int, Outgoing]] = {}

    def once(self, name: str, at_ms: int, message: Outgoing) -> None:
        with effect(self._fault, "schedules.once"):
            at = -(-at_ms // 1000) * 1000 + message.delay_s * 1000
            self._pending.setdefault(name, (at, Outgoing(message.queue, message.body)))

    def next_at(self) -> int | None:
        """When (milliseconds) the first one is due; None without any."""
        return min((at for at, _ in self._pending.values()), default=None)

    def fire(self, now_ms: int) -> int:
        """Send what is due, in order of time and name, and forget it; returns how many."""
        due = sorted((at, name) for name, (at, _) in self._pending.items() if at <= now_ms)
        for _, name in due:
            self._queues.send([self._pending[name][1]])
            del self._pending[name]
        return len(due)
