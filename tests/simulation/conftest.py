from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from infra.local.redis_server import RedisServer
from tests.simulation.check import REDIS_OPTIONS


@pytest.fixture(scope="session")
def world_redis() -> Iterator[redis.Redis]:
    """One Valkey per test process; every world empties it first."""
    with RedisServer(options=REDIS_OPTIONS) as server:
        client = redis.Redis(port=server.port, decode_responses=True)
        yield client
        client.close()
