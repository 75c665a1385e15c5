"""What Redis holds, kept and put back: a failover to a copy that misses the last writes, or the loss of everything."""

from __future__ import annotations

import random

import redis

#: Copies kept: the newest, so that a few of the last writes are lost, not half a run.
COPIES = 4


class Memory:
    """The whole of one Redis, byte for byte."""

    def __init__(self, client: redis.Redis) -> None:
        options = client.connection_pool.connection_kwargs
        self._raw = redis.Redis(host=options["host"], port=options["port"])
        self._copies: list[dict[bytes, bytes]] = []

    def names(self) -> list[str]:
        """All keys that are there."""
        return sorted(key.decode() for key in self._raw.keys("*"))

    def keep(self) -> None:
        """Remember how everything is now."""
        names = sorted(self._raw.keys("*"))
        pipe = self._raw.pipeline(transaction=False)
        for name in names:
            pipe.dump(name)
        self._copies = [*self._copies, dict(zip(names, pipe.execute(), strict=True))][-COPIES:]

    def fall_back(self, rng: random.Random) -> None:
        """Everything is as one of the copies has it: nothing in Redis says so."""
        if not self._copies:
            return
        chosen = rng.randrange(len(self._copies))
        copy, self._copies = self._copies[chosen], self._copies[: chosen + 1]
        pipe = self._raw.pipeline(transaction=True)
        pipe.flushall()
        for name, value in copy.items():
            pipe.restore(name, 0, value)
        pipe.execute()

    def wipe(self) -> None:
        """FLUSHALL; no copy outlives it."""
        self._raw.flushall()
        self._copies = []

    def forget_deadlines(self) -> None:
        """The deadline index is gone, the runs are there."""
        names = sorted(name for name in self._raw.keys("*") if b"{deadlines-" in name)
        if names:
            self._raw.delete(*names)

    def close(self) -> None:
        """Give the connection back."""
        self._raw.close()
