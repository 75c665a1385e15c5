"""Sends heartbeats on a thread of its own while a model or a tool is waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

#: Heartbeats in the time after which the work counts as lost.
PER_TIMEOUT = 3
#: Seconds between two heartbeats.
SHORTEST_S, LONGEST_S = 0.05, 60.0


@contextmanager
def beating(beat: Callable[[], None], heartbeat_ms: int | None) -> Iterator[None]:
    """Beat until the block ends; not at all for a node without `heartbeat_ms`."""
    if heartbeat_ms is None:
        yield
        return
    seconds = min(LONGEST_S, max(SHORTEST_S, heartbeat_ms / 1000 / PER_TIMEOUT))
    over = Event()

    def run() -> None:
        beat()
        while not over.wait(seconds):
            beat()

    thread = Thread(target=run, name="agent heartbeats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
