"""Named texts in memory, each written once."""

from __future__ import annotations

from threading import Lock

from tests.doubles.faults import Fault, effect, never


class MemoryNotes:
    """Notes over a dictionary."""

    def __init__(self, fault: Fault | None = None) -> None:
        self._fault = fault or never
        self._lock = Lock()
        self.bodies: dict[str, bytes] = {}

    def create(self, name: str, body: bytes) -> bytes | None:
        with effect(self._fault, "notes.create"), self._lock:
            there = self.bodies.get(name)
            if there is None:
                self.bodies[name] = bytes(body)
        return there

    def get(self, name: str) -> bytes | None:
        self._fault("notes.get")
        return self.bodies.get(name)
