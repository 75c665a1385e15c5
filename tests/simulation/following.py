"""Lets the reference interpreter settle work in the order in which the engine did, as its journal tells.

Where paths race, the end depends on the order; given the engine's own order, there is one right end again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from chalicelib.domain.ids import Token, parse_token
from chalicelib.domain.journal import parse_item
from chalicelib.engine.ports import JournalItem
from tests.simulation.invariants import require
from tests.simulation.reference_state import Unit


class JournalOrder:
    """A schedule for the reference: which of its outstanding units the engine settled next."""

    def __init__(self, run_id: str, items: Iterable[JournalItem]) -> None:
        self._run_id = run_id
        settled = [parse_item(item.text).body.get("settle") for item in items]
        tokens = [_attempted(parse_token(entry[0]), entry[1]) for entry in settled if entry]
        self._left = deque(t for t in tokens if not t.node.startswith("$") and t.attempt > 0)

    def __call__(self, units: list[Unit]) -> int:
        """The place of the next unit. Raises Violation where engine and reference have parted ways."""
        names = [f"{unit.node}{dict(unit.scope)}#{unit.attempt}" for unit in units]
        require(bool(self._left), f"{self._run_id}: the engine has settled all it had; the reference still has {names}")
        token = self._left.popleft()
        for place, unit in enumerate(units):
            if (unit.node, unit.scope, unit.attempt) == (token.node, token.scope, token.attempt):
                return place
        require(False, f"{self._run_id}: the engine settles {token.text}; the reference has {names} outstanding")
        raise AssertionError


def _attempted(token: Token, status: str) -> Token:
    """The token; of an attempt that failed before it could wait, the attempt's own."""
    failed_early = token.node.startswith("$arm:") and status != "COMPLETED"
    return replace(token, node=token.node.removeprefix("$arm:")) if failed_early else token
