"""Sets a batch of ten hops beside the bare calls that it cannot avoid: the same commits, items and messages.

A twin of each run, with an id of the same length, gets every call that the engine made for the first: what is timed is
one pipeline of EVALSHA, one TransactWriteItems and one SendMessageBatch that do the same work on the same sizes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
from botocore.exceptions import ClientError

from chalicelib.adapters.redis.scripts import load
from infra.bench import documents
from infra.bench.meter import AwsCall
from infra.bench.results import Section
from infra.bench.rig import Rig, Took, aws_rig
from infra.bench.sizes import Sizes

Json = Any
#: Runs, and so signals in a batch.
BATCH = 10
#: The design's bound on the time of ten hops over the time of their bare calls.
MARK = 1.5
_METHODS = {
    "TransactWriteItems": "transact_write_items",
    "PutItem": "put_item",
    "SendMessageBatch": "send_message_batch",
}


@dataclass(slots=True)
class Twin:
    """Repeats on other runs what a rig did on its own."""

    rig: Rig
    client: redis.Redis
    ids: Mapping[str, str]
    _redis_seen: int = 0
    _aws_seen: int = 0
    _pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        self._pattern = re.compile("|".join(map(re.escape, self.ids)))

    def follow(self) -> None:
        """Do, untimed, all that the rig did since the last look."""
        pipelines, calls = self._news()
        for commands in pipelines:
            self._pipeline(commands)
        for service, name, params in calls:
            if name in _METHODS and service in self.rig.clients:
                self._call(service, name, params)

    def repeat(self) -> tuple[Took, int]:
        """Do what one step did, timed: its commits, its journal write, its messages. Returns also how many calls.

        What else the step asked of Redis is done before, and not timed: a bare caller would not need it.
        """
        pipelines, calls = self._news()
        sha = load("commit").sha
        commits = [command for commands in pipelines for command in commands if command[1] == sha]
        for commands in pipelines:
            if commands[0][1] != sha:
                self._pipeline(commands)
        ready = [
            (getattr(self.rig.clients[service], _METHODS[name]), params)
            for service, name, params in calls
            if name in _METHODS
        ]
        wall, cpu = time.perf_counter(), time.process_time()
        self._pipeline(commits)
        for method, params in ready:
            method(**params)
        took = Took(len(commits), time.perf_counter() - wall, time.process_time() - cpu)
        return took, 1 + len(ready)

    def _news(self) -> tuple[list[list[tuple[Any, ...]]], list[AwsCall]]:
        pipelines, calls = self.rig.redis.record[self._redis_seen :], self.rig.aws_calls[self._aws_seen :]
        self._redis_seen += len(pipelines)
        self._aws_seen += len(calls)
        return self._renamed(pipelines), self._renamed(calls)

    def _renamed(self, value: Json) -> Any:  # noqa: ANN401 - of the same type as `value`
        """A copy that names the twins."""
        if isinstance(value, str):
            return self._pattern.sub(lambda found: self.ids[found[0]], value)
        if isinstance(value, dict):
            return {name: self._renamed(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._renamed(item) for item in value)
        return value

    def _pipeline(self, commands: list[tuple[Any, ...]]) -> None:
        pipe = self.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        pipe.execute()

    def _call(self, service: str, name: str, params: dict[str, Json]) -> None:
        try:
            getattr(self.rig.clients[service], _METHODS[name])(**params)
        except ClientError as error:
            # What a start creates once for all runs is there already.
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


def measure(sizes: Sizes) -> Section:
    """The times of both, their ratio, and the calls of both."""
    section = Section(
        "bare",
        "Ten hops of ten runs in one batch, and right after it the same EVALSHAs, TransactWriteItems and "
        "SendMessageBatch without the engine: real Valkey, plain boto3 clients, ministack, one process.",
    )
    pairs: list[tuple[Took, Took]] = []
    calls: set[tuple[int, int]] = set()
    with aws_rig() as rig:
        for _ in range(sizes.repeats):
            _run(rig, sizes.chain, pairs, calls)
    engine_calls, bare_calls = max(calls)
    section.count("calls of the engine a batch", engine_calls, "calls", 3)
    section.count("bare calls a batch", bare_calls, "calls")
    for name, of in (("wall clock", _wall), ("CPU of the process", _cpu)):
        section.times(f"ten hops, {name}", [1000 * of(engine) for engine, _ in pairs], "ms")
        section.times(f"bare calls, {name}", [1000 * of(bare) for _, bare in pairs], "ms")
        section.times(f"ten hops : bare calls, {name}", [of(e) / of(b) for e, b in pairs], "x", MARK)
    return section


def _wall(took: Took) -> float:
    return took.wall_s


def _cpu(took: Took) -> float:
    return took.cpu_s


def _run(rig: Rig, length: int, pairs: list[tuple[Took, Took]], calls: set[tuple[int, int]]) -> None:
    """Ten chains from start to end; each batch between the first two and the last is measured."""
    rig.redis.record.clear()
    rig.aws_calls.clear()
    port = rig.redis.connection_pool.connection_kwargs["port"]
    client = redis.Redis(port=port, decode_responses=True)
    ids = rig.start(documents.chain(length), BATCH)
    twin = Twin(rig, client, {run_id: _twin_id(run_id) for run_id in ids})
    rig.step()
    rig.step()
    twin.follow()
    for _ in range(length - 3):
        before = rig.meter.counts.copy()
        engine = rig.step()
        since = rig.meter.since(before)
        bare, number = twin.repeat()
        assert engine.signals == bare.signals == BATCH
        pairs.append((engine, bare))
        calls.add((_calls(since), number))
    rig.drain()
    assert {rig.status(run_id) for run_id in ids} == {"COMPLETED"}
    client.close()


def _calls(since: Mapping[str, int]) -> int:
    names = ("redis round trips", "dynamodb calls", "sqs calls", "s3 calls")
    return sum(since.get(name, 0) for name in names)


def _twin_id(run_id: str) -> str:
    """Another id of the same length: the bytes stay as many."""
    return "t" + run_id[1:]
