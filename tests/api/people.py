"""What the tests of routes for people share: documents that wait, and short ways to ask."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.client import Api, Reply

Json = Any
FORM = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


def asks(config: Json = None, **node: Json) -> Json:
    """A document whose one person decides whether `ship` runs."""
    human = {"id": "ask", "type": "human", "config": {"message": "Ship ${input.id}?", **(config or {})}, **node}
    ship = {"id": "ship", "type": "function", "config": {"handler": "echo", "params": "${ctx.ask.output}"}}
    return {"name": "ship", "nodes": [human, ship], "edges": [{"from": "ask", "to": "ship"}]}


def started(api: Api, document: Json, **more: Json) -> str:
    reply = api.post("runs", {"workflow": document, "input": {"id": 7}}, **more)
    assert reply.status == 202, reply.text
    api.drain()
    return str(reply.json["run_id"])


def decide(api: Api, run_id: str, by: str = "ann", approved: bool = True, key: str = "", **body: Json) -> Reply:
    headers = {"Idempotency_Key": key} if key else {}
    token = api.token(["approvals"], sub=by)
    return api.post(f"runs/{run_id}/nodes/ask/decision", {"approved": approved, **body}, token=token, **headers)


def approvals(api: Api, query: str = "", **token: Json) -> list[Json]:
    reply = api.get(f"approvals{query}", token=api.token(["approvals"], **token))
    assert reply.status == 200, reply.text
    return list(reply.json["items"])


def run(api: Api, run_id: str) -> Json:
    return api.get(f"runs/{run_id}").json


def path_of(link: str) -> str:
    """A link's path, as the app is asked for it."""
    return re.sub(r"^https://[^/]+", "", link)


def dying(api: Api, port: str, name: str, call: Callable[[], Any], *, after: bool = False) -> None:
    """Let the process die at its first call of a port, before or after the call has its effect."""
    target = getattr(api, port)
    whole = getattr(target, name)

    def die(*given: Any, **named: Any) -> Any:
        setattr(target, name, whole)
        if after:
            whole(*given, **named)
        raise KeyboardInterrupt

    setattr(target, name, die)
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        setattr(target, name, whole)
