"""In place of the pool that runs an agent's tool calls: inside one strand they go on in turns, chosen by chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any

from tests.simulation.strands import Killed, Strand, Strands


class Lanes(Executor):
    """What is submitted runs when the block ends, each piece from I/O call to I/O call, in any order of these."""

    def __init__(self, strands: Strands, rng: random.Random) -> None:
        self._strands, self._rng = strands, rng
        self._open: list[Strand] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        """The piece's future: it has its result once the block has ended."""
        future: Future[Any] = Future()

        def over(lane: Strand) -> None:
            self._open.remove(lane)
            if lane.error is None:
                future.set_result(lane.result)
            else:
                future.set_exception(lane.error)

        self._open.append(Strand(f"call {len(self._open) + 1}", lambda: fn(*args, **more), over))
        return future

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Run all of them. Raises Killed where the process dies, and then none goes on."""
        while self._open:
            lane = self._rng.choice(self._open)
            self._resume(lane, self._order(lane))
            if isinstance(lane.error, Killed):
                for other in list(self._open):
                    while not other.done:
                        self._resume(other, Killed())
                raise lane.error

    def _order(self, lane: Strand) -> BaseException | None:
        """What the scheduler of the world wants of the I/O call that the lane stands at."""
        try:
            self._strands.at(lane.where)
        except BaseException as order:  # the lane has to see it, wherever it stands
            return order
        return None

    def _resume(self, lane: Strand, order: BaseException | None) -> None:
        self._strands.nest(lane, order)
        if lane.done:
            lane.ended(lane)
