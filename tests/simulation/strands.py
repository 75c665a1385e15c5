"""Runs pieces of the engine as strands that stop at every I/O call until the scheduler lets them go on.

A strand is a thread that holds a baton: only one of all strands and the scheduler ever runs, so the order of events is
the scheduler's choice alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """The process died here; no engine code may catch it."""


class Strand:
    """One piece of code that runs from stop to stop. `where` names the I/O call it stands at.

    `ended` is called by the scheduler when it is over; `laziness` under 1 makes it a slow one.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[], Any],
        ended: Callable[[Strand], None],
        laziness: float = 1.0,
        born_ms: int = 0,
    ) -> None:
        self.name, self.where, self.ended, self.laziness, self.born_ms = name, "start", ended, laziness, born_ms
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self._body = body
        self._order: BaseException | None = None
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def resume(self, order: BaseException | None = None) -> None:
        """Run to the next stop, or to the end; with an `order`, the stop raises it."""
        self._order = order
        self._go.release()
        self._back.acquire()
        if self.done:
            self._thread.join()

    def stop(self, where: str) -> None:
        """Called in the strand: give the baton back until resumed."""
        self.where = where
        self._back.release()
        self._go.acquire()
        if self._order is not None:
            raise self._order

    def _run(self) -> None:
        self._go.acquire()
        try:
            if self._order is None:
                self.result = self._body()
            else:
                self.error = self._order
        except BaseException as error:  # handed to the scheduler, which judges it
            self.error = error
        finally:
            self.done = True
            self._back.release()


class Strands:
    """The strands of one world, and which of them has the baton."""

    def __init__(self) -> None:
        self.open: list[Strand] = []
        self._current: Strand | None = None

    def add(self, strand: Strand) -> None:
        """Let the scheduler resume it from now on."""
        self.open.append(strand)

    def resume(self, strand: Strand, order: BaseException | None = None) -> None:
        """Give the baton to one of them."""
        self._current = strand
        try:
            strand.resume(order)
        finally:
            self._current = None
            if strand.done:
                self.open.remove(strand)

    def nest(self, lane: Strand, order: BaseException | None = None) -> None:
        """Called in a strand: lend the baton to a lane of its own, up to the lane's next stop."""
        outer, self._current = self._current, lane
        try:
            lane.resume(order)
        finally:
            self._current = outer

    def at(self, where: str) -> None:
        """The hook of all doubles: a strand stops here; the scheduler's own calls pass."""
        if self._current is not None:
            self._current.stop(where)

    @property
    def running(self) -> Strand | None:
        """The strand that has the baton now."""
        return self._current

    def close(self) -> None:
        """End what is still open, so that no thread is left."""
        for strand in list(self.open):
            while not strand.done:
                self.resume(strand, Killed())
