"""Runs a whole Graft on loopback: starts the parts, says when they serve, restarts what dies, and leaves nothing."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.config import Settings
from chalicelib.domain.errors import ConfigurationError, Unavailable
from infra.local import aws, clients, http_server, pollers, redis_server, schedules
from infra.local.apps import load
from infra.local.children import Child, ChildSpec, spawn, stop
from infra.local.environment import Endpoints, child_environment
from infra.local.ports import HOST, free_port, listen
from infra.local.provision import provision

#: issue(secret, sub, tenant, scopes, ttl_s) -> bearer token.
TokenIssuer = Callable[[str, str, str, Sequence[str], int], str]

SCOPES = ("workflows:write", "runs:start", "runs:read", "runs:patch", "runs:control", "approvals", "admin")
#: Seconds the printed token holds: 30 days, longer than a local stack is kept.
TOKEN_TTL_S = 30 * 24 * 3600
DEFAULT_STATE = Path(".graft/local.json")
CONSOLE = "/api/v1/console"
START_TIMEOUT_S = 30.0
#: Seconds between looks at the children.
LOOK_EVERY_S = 0.1
#: Seconds until a dead child is started again: the first time, and at most.
BACKOFF_S, MAX_BACKOFF_S = 0.05, 2.0
#: A child that lived this many seconds is not failing at its start.
SETTLED_S = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a local stack is run."""

    port: int | None = None
    state: Path = DEFAULT_STATE
    aws: str = "ministack"
    app: str = "app:app"
    #: `module:function` of a TokenIssuer.
    issuer: str = "chalicelib.api.auth:issue_token"
    coordinators: int = 2
    workers: int = 2
    #: Batches of one queue that one process works at a time.
    coordinator_instances: int = 2
    worker_instances: int = 8


@dataclass(slots=True)
class Restart:
    """When a dead child is started again, and how often it died young."""

    at: float = 0.0
    failures: int = 0


@dataclass(slots=True)
class LocalStack:
    """One stack; `start`, then `watch`, then `stop`, all from the main thread."""

    options: Options
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="graft-local-")))
    children: dict[str, Child] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    _listener: socket.socket | None = None
    _restarts: dict[str, Restart] = field(default_factory=dict)
    _starting: set[str] = field(default_factory=set)

    def start(self, stopping: threading.Event) -> dict[str, Any]:
        """Start everything; returns the ready line's object. Raises ConfigurationError, Unavailable."""
        issue = load_issuer(self.options.issuer)
        self._listener = listen(self.options.port)
        endpoints, servers = self._servers(self._listener.getsockname()[1])
        secret = secrets.token_hex(32)
        env = child_environment(os.environ, endpoints, secret)
        # What is loaded here once, while the servers start, every program has from its first moment.
        os.environ.clear()
        os.environ.update(env)
        for spec in servers(env):
            self._spawn(spec)
        _load_app(self.options.app)
        if not endpoints.own_aws:
            _provision()
        self._await_ready(stopping)
        for spec in self._programs(env):
            self._spawn(spec)
        self._await_ready(stopping)
        console = endpoints.api_url + CONSOLE
        self.info = {
            "api_url": endpoints.api_url,
            "token": issue(secret, "local", "local", SCOPES, TOKEN_TTL_S),
            "redis_url": endpoints.redis_url,
            "aws_endpoint_url": env.get("AWS_ENDPOINT_URL") or clients.endpoint(env.get("LOCALSTACK_HOST", ""), ""),
            "console_url": console if aws.answers(self._listener.getsockname()[1], CONSOLE) else None,
        }
        return self._write_state()

    def watch(self, stopping: threading.Event) -> None:
        """Restart what dies until `stopping` is set."""
        while not stopping.wait(LOOK_EVERY_S):
            for name, child in list(self.children.items()):
                if not child.running():
                    self._revive(name, child)
            try:
                self._look_at_starting()
            except Unavailable as error:  # tried again at the next look
                print(error.detail, file=sys.stderr)

    def stop(self, keep_logs: bool = False) -> None:
        """End the app's processes, then the servers they use, and remove every file of the stack."""
        servers = [child for name, child in self.children.items() if name in ("redis", "aws")]
        stop([child for child in self.children.values() if child not in servers])
        stop(servers)
        self.children.clear()
        if self._listener is not None:
            self._listener.close()
        self._remove_state()
        if keep_logs:
            print(f"The logs are in {self.directory}.", file=sys.stderr)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _servers(self, api_port: int) -> tuple[Endpoints, Callable[[dict[str, str]], list[ChildSpec]]]:
        """Where Redis and AWS are, and how to make the specs of those that are not there yet."""
        redis_port = None if os.environ.get("REDIS_URL") else free_port()
        theirs = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("LOCALSTACK_HOST")
        aws_port = None if theirs else free_port()
        redis_url = f"redis://{HOST}:{redis_port}/0" if redis_port else os.environ["REDIS_URL"]
        aws_url = f"http://{HOST}:{aws_port}" if aws_port else os.environ.get("AWS_ENDPOINT_URL", "")

        def specs(env: dict[str, str]) -> list[ChildSpec]:
            found = []
            if redis_port is not None:
                argv = redis_server.command(redis_port, self._directory("redis"))
                found.append(ChildSpec("redis", env, argv, ready=lambda: redis_server.answers(redis_port)))
            if aws_port is not None:
                directory = self._directory("aws")
                found.append(aws.spec(self.options.aws, aws_port, directory, _provision))
            return found

        return Endpoints(redis_url, aws_url, f"http://{HOST}:{api_port}", not theirs), specs

    def _programs(self, env: dict[str, str]) -> list[ChildSpec]:
        assert self._listener is not None
        options, common = self.options, ["--app", self.options.app]
        served = ["--fd", str(self._listener.fileno())]
        found = [ChildSpec("api", env, main=partial(http_server.main, common + served))]
        groups = (
            ("pollers", "coordinators", options.coordinators, options.coordinator_instances),
            ("workers", "workers", options.workers, options.worker_instances),
        )
        for name, group, processes, instances in groups:
            main = partial(pollers.main, [*common, "--group", group, "--instances", str(instances)])
            found += [ChildSpec(_numbered(name, number), env, main=main) for number in range(processes)]
        return [*found, ChildSpec("schedules", env, main=partial(schedules.main, common))]

    def _directory(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path

    def _spawn(self, spec: ChildSpec) -> None:
        self.children[spec.name] = spawn(spec, self.directory / f"{spec.name}.log", aws.ROOT)
        self._starting.add(spec.name)

    def _await_ready(self, stopping: threading.Event) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._starting:
            self._look_at_starting()
            for name in self._starting:
                child = self.children[name]
                if not child.running() or time.monotonic() > deadline:
                    raise Unavailable(f"{name} did not start:\n{_tail(child.log)}")
            if stopping.wait(0.01):
                raise Unavailable("The start was interrupted.")

    def _look_at_starting(self) -> None:
        for name in list(self._starting):
            child = self.children[name]
            if not child.running() or not child.is_ready():
                continue
            if child.spec.after_start is not None:
                child.spec.after_start()
            self._starting.discard(name)

    def _revive(self, name: str, child: Child) -> None:
        """Start a dead child again, at first at once, then ever later while it keeps dying young."""
        restart = self._restarts.setdefault(name, Restart())
        now = time.monotonic()
        if not restart.at:
            restart.failures = restart.failures + 1 if now - child.started < SETTLED_S else 0
            restart.at = now + min(MAX_BACKOFF_S, BACKOFF_S * 2**restart.failures)
        if now >= restart.at:
            restart.at = 0.0
            stop([child])
            self._spawn(child.spec)
            self._write_state()

    def _write_state(self) -> dict[str, Any]:
        """Write the state file, readable by its owner alone, so that no reader ever sees half of it."""
        self.info["processes"] = {name: child.pid for name, child in self.children.items()}
        path = self.options.state
        path.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(number, "w") as file:
            file.write(json.dumps(self.info) + "\n")
        Path(temporary).replace(path)
        return self.info

    def _remove_state(self) -> None:
        """Remove the state file unless another stack has written it since."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            if json.loads(self.options.state.read_text())["token"] == self.info["token"]:
                self.options.state.unlink()


def up(options: Options) -> int:
    """Run a stack until SIGTERM, SIGINT or SIGHUP, printing its ready line; returns the exit code of SPEC 15."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    stack, failed = LocalStack(options), True
    try:
        print(json.dumps(stack.start(stopping)), flush=True)
        failed = False
        stack.watch(stopping)
    except ConfigurationError as error:
        failed = False
        print(error.detail, file=sys.stderr)
        return 2
    except Unavailable as error:
        failed = not stopping.is_set()
        print(error.detail, file=sys.stderr)
        return 3
    finally:
        stack.stop(keep_logs=failed)
    return 0


def load_issuer(path: str) -> TokenIssuer:
    """The function at `module:function`. Raises ConfigurationError when it is not there."""
    module, _, name = path.partition(":")
    try:
        issuer: TokenIssuer = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"There is no token issuer at {path}: {error}.") from None
    return issuer


def _provision() -> None:
    """Create the stage's queues, table and bucket. Raises Unavailable when AWS does not let that happen."""
    try:
        provision(Settings.from_environment())
    except (BotoCoreError, ClientError) as error:
        raise Unavailable(f"Cannot create the queues, the table and the bucket: {error}") from error


def _load_app(path: str) -> None:
    """Import the app. Raises ConfigurationError when that fails, however it does."""
    try:
        load(path)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"The app {path} cannot be loaded: {type(error).__name__}: {error}") from error


def _numbered(name: str, number: int) -> str:
    return name if number == 0 else f"{name}-{number + 1}"


def _tail(log: Path) -> str:
    with contextlib.suppress(OSError):
        return log.read_text(errors="replace")[-2000:]
    return ""
