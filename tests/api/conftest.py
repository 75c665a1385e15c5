from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from chalicelib.api import context
from infra.local.redis_server import RedisServer
from tests.api.client import Api


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def api(redis_server: RedisServer) -> Iterator[Api]:
    client = redis.Redis(port=redis_server.port, decode_responses=True)
    client.flushall()
    api = Api(client)
    context.use(api.services)
    yield api
    context.use(None)
    client.close()
