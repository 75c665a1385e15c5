"""Says which queue the tasks of a node go to."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.node_types import QUEUES

Json = Any


def queue_of(raw: dict[str, Json]) -> str:
    """The logical queue that the tasks of a node, or of a body, go to; "" for what runs in the coordinator or waits."""
    config = raw.get("config")
    config = config if isinstance(config, dict) else {}
    if raw["type"] == "queue":
        return str(config.get("queue", ""))
    if raw["type"] == "transform" and asks_http(config.get("pipeline")):
        # The coordinator has no way to the internet.
        return QUEUES["http"]
    return QUEUES.get(raw["type"], "")


def asks_http(steps: Json) -> bool:
    """Whether a step of a pipeline is an `http_request`."""
    return isinstance(steps, list) and any(isinstance(s, dict) and s.get("step") == "http_request" for s in steps)
