from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from infra.local.redis_server import RedisServer
from tests.engine.harness import Harness


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    client = redis.Redis(port=redis_server.port, decode_responses=True)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def harness(client: redis.Redis) -> Harness:
    return Harness(client)
