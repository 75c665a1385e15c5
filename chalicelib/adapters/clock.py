"""The real clock and the real source of randomness, the only ones in the deployed product."""

from __future__ import annotations

import os
import random
import time

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_LENGTH = 12


class SystemClock:
    """Clock over the machine's time."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000


class RandomIds:
    """Ids over the operating system's randomness, so that copies of one process never share a sequence."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def new(self) -> str:
        """A fresh id of 12 characters `[a-z0-9]` (62 bits)."""
        number = int.from_bytes(os.urandom(16), "big")
        letters = []
        for _ in range(_LENGTH):
            number, digit = divmod(number, len(_LETTERS))
            letters.append(_LETTERS[digit])
        return "".join(letters)

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()
