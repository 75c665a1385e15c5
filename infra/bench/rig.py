"""The coordinator in this process over a real Valkey, with quick doubles for AWS or with boto3 and a stand-in."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chalicelib.adapters.aws_clients import AwsClients
from chalicelib.adapters.clock import RandomIds, SystemClock
from chalicelib.adapters.dynamodb import DynamoJournal
from chalicelib.adapters.dynamodb_directory import DynamoDirectory
from chalicelib.adapters.redis.store import RedisRunStore
from chalicelib.adapters.s3 import S3Artifacts
from chalicelib.adapters.sqs import SqsQueues
from chalicelib.config import Settings
from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.limits import Limits
from chalicelib.engine.credentials import issue_callback_token
from chalicelib.engine.plans import PlanStore
from chalicelib.engine.ports import Outgoing, Queues
from chalicelib.engine.runs import StartRequest, start_run
from chalicelib.engine.services import Services
from chalicelib.engine.step import Coordinator
from infra.bench.doubles import NoSchedules, QuickArtifacts, QuickDirectory, QuickJournal
from infra.bench.meter import AwsCall, Meter, MeteredRedis
from infra.local import aws
from infra.local.children import stop
from infra.local.clients import client as plain_client
from infra.local.environment import Endpoints, child_environment
from infra.local.ports import HOST, free_port
from infra.local.provision import provision
from infra.local.redis_server import RedisServer

Json = Any
SECRET = b"a secret for benchmarks, as long as a real one"
#: Seconds the stand-in for AWS is given to start.
START_S = 30.0


class Outbox:
    """Queues that pass messages on to the real ones, if any, and keep them for the driver."""

    def __init__(self, inner: Queues | None) -> None:
        self._inner = inner
        self.messages: list[Outgoing] = []

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Send and keep."""
        if self._inner is not None:
            self._inner.send(messages)
        self.messages += messages

    def depth(self, queue: str) -> int:
        """Messages kept for this queue."""
        return sum(message.queue == queue for message in self.messages)


@dataclass(frozen=True, slots=True)
class Took:
    """What one batch took: how many signals, seconds by the wall clock, seconds of this process's CPU."""

    signals: int
    wall_s: float
    cpu_s: float


@dataclass(slots=True)
class Rig:
    """A coordinator and what feeds it: tasks are answered at once with their params."""

    services: Services
    outbox: Outbox
    meter: Meter
    redis: MeteredRedis
    #: A plain boto3 client per service, for bare calls; {} with doubles. The engine's own calls are in `aws_calls`.
    clients: dict[str, Any] = field(default_factory=dict)
    aws_calls: list[AwsCall] = field(default_factory=list)
    pending: deque[str] = field(default_factory=deque)
    coordinator: Coordinator = field(init=False)

    def __post_init__(self) -> None:
        self.coordinator = Coordinator(self.services)

    def start(self, document: dict[str, Json], runs: int = 1) -> list[str]:
        """Start so many runs of the document; their first signals are pending."""
        plan = compile_workflow(document, limits=Limits())
        request = StartRequest("bench", "bench", plan, {"name": None, "version": None})
        found = [start_run(self.services, request) for _ in range(runs)]
        self._collect()
        return found

    def step(self, size: int = 10) -> Took:
        """Let the coordinator settle the next `size` signals, and answer the tasks that come of it.

        Raises AssertionError when the coordinator wants a signal again: nothing fails here.
        """
        batch = [self.pending.popleft() for _ in range(min(size, len(self.pending)))]
        wall, cpu = time.perf_counter(), time.process_time()
        failed = self.coordinator.handle(batch)
        took = Took(len(batch), time.perf_counter() - wall, time.process_time() - cpu)
        assert not failed, f"{len(failed)} of {len(batch)} signals failed"
        self._collect()
        return took

    def drain(self, size: int = 10) -> list[Took]:
        """Settle until nothing is pending."""
        found = []
        while self.pending:
            found.append(self.step(size))
        return found

    def status(self, run_id: str) -> str:
        """How a run stands."""
        state = self.services.store.snapshot(run_id, ("meta",))
        return state["meta"]["status"] if state else "MISSING"

    def _collect(self) -> None:
        messages, self.outbox.messages = self.outbox.messages, []
        for message in messages:
            self.pending.append(message.body if message.queue == "completion-signals" else answer(message.body))


def answer(task: str) -> str:
    """The signal of a worker that does nothing: its params are its result."""
    message = json.loads(task)
    signal = {name: message[name] for name in ("version", "job_id", "run_id", "node_id")}
    return json.dumps({**signal, "status": "completed", "result": message["config"].get("params")})


@contextmanager
def quick_rig() -> Iterator[Rig]:
    """A rig whose AWS costs nothing."""
    with RedisServer() as server:
        meter, outbox = Meter(), Outbox(None)
        client = MeteredRedis(server.port, meter)
        yield Rig(_services(client, outbox, QuickJournal(), QuickDirectory(), QuickArtifacts()), outbox, meter, client)
        client.close()


@contextmanager
def aws_rig() -> Iterator[Rig]:
    """A rig with the real adapters over a stand-in for AWS. Raises ConfigurationError, Unavailable."""
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer())
        settings = stack.enter_context(_stand_in(server.url))
        meter, clients, calls = Meter(), AwsClients(settings), []  # type: ignore[var-annotated]
        client = MeteredRedis(server.port, meter)
        queues = SqsQueues(clients.client("sqs"), settings.queue_prefix)
        dynamodb = clients.client("dynamodb")
        for name in ("sqs", "dynamodb", "s3"):
            meter.watch(name, clients.client(name))
            _record(name, clients.client(name), calls)
        outbox = Outbox(queues)
        services = _services(
            client,
            outbox,
            DynamoJournal(dynamodb, settings.table),
            DynamoDirectory(dynamodb, settings.table),
            S3Artifacts(clients.client("s3"), settings.bucket),
        )
        bare = {name: plain_client(settings, name) for name in ("sqs", "dynamodb")}
        yield Rig(services, outbox, meter, client, bare, calls)
        client.close()


def _services(client: MeteredRedis, outbox: Outbox, journal: Any, directory: Any, artifacts: Any) -> Services:  # noqa: ANN401
    store = RedisRunStore(client)
    return Services(
        stage="bench",
        secret=SECRET,
        public_url="https://abcdefghij.execute-api.us-east-1.amazonaws.com/api",
        limits=Limits(),
        clock=SystemClock(),
        ids=RandomIds(),
        journal=journal,
        directory=directory,
        queues=outbox,
        artifacts=artifacts,
        schedules=NoSchedules(),
        store=store,
        plans=PlanStore(artifacts, directory, store),
        callback_token=partial(issue_callback_token, SECRET),
        has_handler=lambda name: True,
        has_queue=lambda name: True,
        pause=time.sleep,
    )


def _record(service: str, client: Any, calls: list[AwsCall]) -> None:  # noqa: ANN401 - boto3 clients have no static type
    def note(params: dict[str, Json], model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        calls.append((service, model.name, dict(params)))

    client.meta.events.register("provide-client-params.*", note)


@contextmanager
def _stand_in(redis_url: str) -> Iterator[Settings]:
    """A ministack with the stage's queues, table and bucket; the environment names it meanwhile."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="graft-bench-") as folder:
        port = free_port()
        child = aws.start("ministack", port, Path(folder))
        try:
            deadline = time.monotonic() + START_S
            while not child.is_ready():
                if not child.running() or time.monotonic() > deadline:
                    raise Unavailable(f"The stand-in for AWS did not start: {child.log.read_text()[-500:]}")
                time.sleep(0.02)
            endpoints = Endpoints(redis_url, f"http://{HOST}:{port}", f"http://{HOST}", own_aws=True)
            os.environ.clear()
            os.environ.update(child_environment(before, endpoints, SECRET.decode()))
            settings = Settings.from_environment()
            provision(settings)
            yield settings
        finally:
            os.environ.clear()
            os.environ.update(before)
            stop([child])
