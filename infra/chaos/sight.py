"""Looks at a stack from outside: commits that stand in Redis and not yet in the journal, the journal, queues, keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import boto3
import redis

from chalicelib.adapters.dynamodb import DynamoJournal
from chalicelib.adapters.redis.deadlines import PARTS, deadline_key
from chalicelib.adapters.redis.keys import run_key
from chalicelib.engine.ports import JournalItem
from infra.local.environment import STAGE
from infra.local.provision import DEAD_LETTERS, queues

Json = Any
#: Seconds Redis is given to answer: it is killed now and then.
REDIS_S = 1.0
#: Milliseconds for which a step may write what is unwritten before another takes over (lua/includes/tail.lua).
LEASE_MS = 2000
_PLAN = re.compile(r"graft:plan:")


@dataclass(frozen=True, slots=True)
class Commit:
    """A run's last commit as Redis has it."""

    run_id: str
    no: int
    id: str
    seq: int
    #: When a step took the right to write it, milliseconds of the wall clock.
    leased_ms: int


class Sight:
    """One thread's view of the parts named by the ready line."""

    def __init__(self, ready: dict[str, Json]) -> None:
        self._redis = redis.Redis.from_url(
            ready["redis_url"], decode_responses=True, socket_timeout=REDIS_S, socket_connect_timeout=REDIS_S
        )
        self._sqs, dynamodb = (_client(ready, name) for name in ("sqs", "dynamodb"))
        self._journal = DynamoJournal(dynamodb, f"graft-{STAGE}")
        self._urls: dict[str, str] = {}

    def unmarked(self, run_ids: Iterable[str]) -> list[Commit]:
        """The last commits of those runs whose journaled mark is behind it; [] while Redis is down."""
        wanted = list(run_ids)
        pipe = self._redis.pipeline(transaction=False)
        for run_id in wanted:
            pipe.hmget(run_key(run_id, "meta"), "no", "cid", "lseq", "mark", "lease_until")
        with suppress(redis.RedisError):
            rows = zip(wanted, pipe.execute(), strict=True)
            return [
                Commit(run_id, int(no), commit_id, int(seq), int(until or 0) - LEASE_MS)
                for run_id, (no, commit_id, seq, mark, until) in rows
                if no is not None and int(mark) < int(no)
            ]
        return []

    def unwritten(self, commits: Iterable[Commit]) -> list[Commit]:
        """Those of the commits that the journal does not have."""
        return [one for one in commits if not self._has(one)]

    def _has(self, commit: Commit) -> bool:
        found = self._journal.read(commit.run_id, commit.seq - 1, 1)
        return bool(found) and found[0].id == commit.id

    def items(self, run_id: str) -> Iterator[JournalItem]:
        """A run's whole journal."""
        after = 0
        while page := self._journal.read(run_id, after):
            yield from page
            after = page[-1].seq + page[-1].events - 1

    def depths(self) -> dict[str, int]:
        """Messages waiting, delayed and in flight, per queue that is not empty."""
        names = [spec.name + suffix for spec in queues() for suffix in ("", DEAD_LETTERS)]
        found = {name: self._depth(name) for name in names}
        return {name: depth for name, depth in found.items() if depth}

    def _depth(self, name: str) -> int:
        if name not in self._urls:
            self._urls[name] = self._sqs.get_queue_url(QueueName=f"graft-{STAGE}-{name}")["QueueUrl"]
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        answer = self._sqs.get_queue_attributes(QueueUrl=self._urls[name], AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def keys(self) -> set[str]:
        """All keys but cached plans, which go by themselves."""
        return {key for key in self._redis.scan_iter(count=1000) if not _PLAN.match(key)}

    def lasting_plans(self) -> list[str]:
        """Cached plans without a time to live: they would stay for ever."""
        plans = [key for key in self._redis.scan_iter(count=1000) if _PLAN.match(key)]
        return [key for key in plans if self._redis.ttl(key) == -1]

    def deadlines(self) -> int:
        """Members of the deadline index."""
        return sum(int(self._redis.zcard(deadline_key(part))) for part in range(PARTS))

    def close(self) -> None:
        """Close the connection to Redis."""
        self._redis.close()


def _client(ready: dict[str, Json], service: str) -> Any:  # noqa: ANN401 - boto3 clients have no static type
    return boto3.client(
        service,
        endpoint_url=ready["aws_endpoint_url"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - the stand-in takes any
    )
