"""A clock that a test moves, and ids that a seed decides."""

from __future__ import annotations

import random

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class ManualClock:
    """Clock that stands still until it is moved."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, milliseconds: int) -> None:
        """Move forward."""
        assert milliseconds >= 0, "time does not run backwards"
        self._now_ms += milliseconds

    def advance_to(self, now_ms: int) -> None:
        """Move forward to this time; a time that is past changes nothing."""
        self._now_ms = max(self._now_ms, now_ms)


class SeededIds:
    """Ids that are the same for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def new(self) -> str:
        return "".join(self._random.choices(_LETTERS, k=12))

    def uniform(self) -> float:
        return self._random.random()
