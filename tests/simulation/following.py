"""Lets the reference interpreter settle work in the order in which the engine did, as its journal tells.

Where paths race, the end depends on the order; given the engine's own order, there is one right end again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import replace

from chalicelib.domain.ids import Token, parse_token
from chalicelib.domain.journal import parse_item
from chalicelib.engine.ports import JournalItem
from tests.simulation.invariants import require
from tests.simulation.reference_state import Unit, named


class JournalOrder:
    """A schedule for the reference: which of its outstanding units the engine settled next."""

    def __init__(self, run_id: str, items: Iterable[JournalItem], maps: Collection[str] = ()) -> None:
        self._run_id = run_id
        settled = [parse_item(item.text).body.get("settle") for item in items]
        tokens = [_attempted(parse_token(entry[0]), entry[1]) for entry in settled if entry]
        arms = {f"$arm:{name}" for name in maps}  # the reference begins a map in a step of its own, as the engine does
        own = [t for t in tokens if (t.index is None and t.node in arms) or not t.node.startswith("$")]
        self._left = deque(t for t in own if t.attempt > 0)

    def __call__(self, units: list[Unit]) -> int:
        """The place of the next unit. Raises Violation where engine and reference have parted ways."""
        names = [f"{unit.name}{dict(unit.scope)}#{unit.attempt}" for unit in units]
        require(bool(self._left), f"{self._run_id}: the engine has settled all it had; the reference still has {names}")
        token = self._left.popleft()
        for place, unit in enumerate(units):
            known = (unit.name, f"$arm:{unit.name}") if unit.arming else (unit.name,)
            name = named(token.node, token.index)
            if name in known and (unit.scope, unit.attempt) == (token.scope, token.attempt):
                return place
        require(False, f"{self._run_id}: the engine settles {token.text}; the reference has {names} outstanding")
        raise AssertionError


def _attempted(token: Token, status: str) -> Token:
    """The token; of an attempt that failed before it could wait, the attempt's own."""
    failed_early = token.node.startswith("$arm:") and status != "COMPLETED"
    return replace(token, node=token.node.removeprefix("$arm:")) if failed_early else token
