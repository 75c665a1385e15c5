"""Asks the deployment whether the attempt of a task is still waited for (HAZARDS 12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.engine.ports import Clock
from chalicelib.workers.own_api import ApiRefused, OwnApi, answered_json

Json = Any
#: Times it is asked while the API is busy: the other tasks of the batch wait meanwhile.
TRIES = 3


def is_wanted(message: Mapping[str, Json], clock: Clock, pause: Callable[[float], None]) -> bool:
    """What `GET /tasks/{token}` of the task's callback says. Raises TaskError where it says nothing: then the work has
    not begun, and the node's retry policy decides.
    """
    callback = message.get("callback")
    url = callback.get("url") if isinstance(callback, dict) else None
    # The last part of the URL is a credential, which no message may quote.
    base, _, token = url.rpartition("/") if isinstance(url, str) else ("", "", "")
    try:
        found = answered_json(OwnApi(base, clock, pause).call("GET", f"/{token}", "/tasks/{token}", {}, tries=TRIES))
    except ApiRefused as refusal:
        text = f"Graft's own API did not say whether this attempt is waited for: {refusal}"
        raise TaskError("ApiUnavailable", text) from refusal
    if not isinstance(found, dict) or type(found.get("outstanding")) is not bool:
        raise TaskError("ApiUnavailable", "Graft's own API did not say whether this attempt is waited for")
    return bool(found["outstanding"])
