"""The index of deadlines: which attempts and runs are due to time out, found without looking at any run.

It spans runs, so no commit can write it: it is a hint that the sweep makes true (DESIGN 2). Members are texts that name
what is due; scores are milliseconds.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import redis

#: Parts of the index, each a ZSET of its own slot, so that no shard of a cluster carries all of it.
PARTS = 8


def deadline_key(part: int) -> str:
    """One part of the index. ZSET member -> due, no TTL; members go when they are dealt with."""
    return f"graft:{{deadlines-{part}}}:due"


def _key_of(member: str) -> str:
    return deadline_key(zlib.crc32(member.encode()) % PARTS)


class RedisDeadlines:
    """Writes and reads the index. Every method is one round trip (per shard in a cluster)."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def put(self, due: Mapping[str, int], *, only_known: bool = False, only_new: bool = False) -> None:
        """Set when members are due; `only_known` moves members that are there and adds none, `only_new` moves none."""
        pipe = self._client.pipeline(transaction=False)
        for member, at in due.items():
            pipe.zadd(_key_of(member), {member: at}, xx=only_known, nx=only_new)
        pipe.execute()

    def due(self, now_ms: int, limit: int) -> list[str]:
        """At most `limit` members of each part that are due, earliest first."""
        pipe = self._client.pipeline(transaction=False)
        for part in range(PARTS):
            pipe.zrangebyscore(deadline_key(part), "-inf", now_ms, start=0, num=limit)
        return [member for members in pipe.execute() for member in members]

    def drop(self, members: Sequence[str]) -> None:
        """Forget members that were dealt with."""
        pipe = self._client.pipeline(transaction=False)
        for member in members:
            pipe.zrem(_key_of(member), member)
        pipe.execute()
