from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import redis

from chalicelib.adapters.redis.store import RedisRunStore
from infra.local.ports import HOST
from infra.local.redis_server import RedisServer
from tests.lua.boards import Board, undeclared


class Monitor:
    """What a server does, commands inside scripts included."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=10)
        self._socket.sendall(b"MONITOR\r\n")
        self._data = self._socket.recv(5)
        self._client = redis.Redis(port=port)

    def lines(self) -> list[str]:
        """Everything up to now; the monitor ends."""
        self._client.echo("the monitor ends here")
        while b'"the monitor ends here"\r\n' not in self._data[-200:]:
            self._data += self._socket.recv(1 << 20)
        self.close()
        return self._data.decode("utf-8", "replace").split("\r\n")

    def close(self) -> None:
        self._socket.close()
        self._client.close()


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    client = redis.Redis(port=server.port, decode_responses=True)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(autouse=True)
def no_script_touches_a_key_it_did_not_declare(server: RedisServer) -> Iterator[None]:
    """The server would let it, outside a cluster; in one, it breaks on the day that a slot moves (HAZARDS 39)."""
    monitor = Monitor(server.port)
    try:
        yield
        assert undeclared(monitor.lines()) == []
    finally:
        monitor.close()


@pytest.fixture
def store(client: redis.Redis) -> RedisRunStore:
    return RedisRunStore(client)


@pytest.fixture
def board(store: RedisRunStore) -> Board:
    return Board(store)
