"""Sends the signals of a batch of tasks on a thread of its own: nobody's result waits for a slow neighbour.

Signals of tasks that end while one call is under way go together with the next, so that a batch of quick tasks takes
two or three calls instead of ten.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread

from chalicelib.domain.errors import Unavailable
from chalicelib.engine.ports import Outgoing

log = logging.getLogger("graft.worker")
#: (position of the task in its batch, its signal); None ends the thread.
_Entry = tuple[int, Outgoing] | None


class SignalSender:
    """One batch's sender: `put` signals, then `close`. `send` raises Unavailable when it could not send all."""

    def __init__(self, send: Callable[[Sequence[Outgoing]], None]) -> None:
        self._send = send
        self._waiting: SimpleQueue[_Entry] = SimpleQueue()
        self._unsent: set[int] = set()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="signals", daemon=True)
        self._thread.start()

    def put(self, position: int, signal: Outgoing) -> None:
        """Have it sent as soon as the call under way is over."""
        self._waiting.put((position, signal))

    def close(self) -> set[int]:
        """Wait until all are sent. Returns the positions that could not be; raises what `send` raised besides."""
        self._waiting.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._unsent

    def _run(self) -> None:
        more = True
        while more:
            found = self._take()
            more = None not in found
            entries = [entry for entry in found if entry is not None]
            if entries:
                self._deliver(entries)

    def _take(self) -> list[_Entry]:
        """At least one entry, and all that wait with it."""
        found = [self._waiting.get()]
        while True:
            try:
                found.append(self._waiting.get_nowait())
            except Empty:
                return found

    def _deliver(self, entries: list[tuple[int, Outgoing]]) -> None:
        try:
            self._send([signal for _, signal in entries])
        except Unavailable:
            log.warning("signals could not be sent; their tasks are delivered again")
            self._unsent |= {position for position, _ in entries}
        except BaseException as error:  # the handler's own thread raises it
            self._error = error
