"""Counts what leaves the process: round trips to Redis, calls to AWS, and their bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import redis

Json = Any
#: Calls in order: (service, operation, parameters), as boto3 was given them.
AwsCall = tuple[str, str, dict[str, Json]]


class Meter:
    """Adds up; `counts` holds calls by name, and `<service> bytes` sent."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def since(self, before: Counter[str]) -> Counter[str]:
        """What was added since `before`, a copy of `counts`."""
        return Counter({name: n - before[name] for name, n in self.counts.items() if n > before[name]})

    def watch(self, service: str, client: Any) -> None:  # noqa: ANN401 - boto3 clients have no static type
        """Count this client's calls and the bytes of their bodies."""
        client.meta.events.register("before-send.*", self._on_send(service))

    def _on_send(self, service: str) -> Callable[..., None]:
        def count(request: Any, event_name: str, **_: object) -> None:  # noqa: ANN401 - botocore's
            body = request.body or b""
            self.counts[f"{service}.{event_name.rpartition('.')[2]}"] += 1
            self.counts[f"{service} calls"] += 1
            self.counts[f"{service} bytes"] += len(body) if isinstance(body, str | bytes) else 0

        return count


class MeteredConnection(redis.Connection):
    """A connection that counts: what is sent at once, a command or a pipeline, is one round trip."""

    def __init__(self, *, meter: Meter, **options: Any) -> None:  # noqa: ANN401 - redis-py's own options
        self._meter = meter
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: ANN401 - as redis-py has it
        """Send, and count."""
        parts = [command] if isinstance(command, str | bytes) else command
        self._meter.counts["redis round trips"] += 1
        self._meter.counts["redis bytes"] += sum(map(len, parts))
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


class RecordingPipeline(redis.client.Pipeline):
    """A pipeline that notes what it sends."""

    record: list[list[tuple[Any, ...]]]

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send, and note."""
        self.record.append([tuple(args) for args, _ in self.command_stack])
        rows: list[Any] = super().execute(raise_on_error)
        return rows


class MeteredRedis(redis.Redis):
    """A client whose round trips are counted and whose pipelines are noted in `record`."""

    def __init__(self, port: int, meter: Meter) -> None:
        pool = redis.ConnectionPool(
            connection_class=MeteredConnection, host="127.0.0.1", port=port, decode_responses=True, meter=meter
        )
        super().__init__(connection_pool=pool)
        self.record: list[list[tuple[Any, ...]]] = []

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> RecordingPipeline:  # noqa: ANN401
        """A pipeline that is noted."""
        made = RecordingPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.record = self.record
        return made
