"""The engine harness for conformance tests: the same parts as in the engine's own."""

from __future__ import annotations

from tests.engine.conftest import client, harness, redis_server

__all__ = ["client", "harness", "redis_server"]
