"""The errors that end a run at once: of its `fail` nodes, and of its hops."""

from __future__ import annotations

import json
from typing import Any

Json = Any


def spent_error(hops: int) -> dict[str, Json]:
    """Of a run that has had all the commits it may have."""
    message = f"The run has had the {hops} commits that limits.hops allows it: does a loop go on for too long?"
    return {"type": "LimitExceeded", "message": message, "retryable": False}


def fail_error(raw: Json) -> dict[str, Json]:
    """A `fail` node's error: a message, or an object with type and message."""
    given = raw if isinstance(raw, dict) else {"message": raw if isinstance(raw, str) else json.dumps(raw)}
    if raw is None:
        given = {"message": "The workflow ended in a fail node."}
    return {"type": str(given.get("type", "TaskFailed")), "message": str(given.get("message", "")), "retryable": False}
