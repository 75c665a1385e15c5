"""What the engine's tests of human and event nodes share: documents, short ways to vote and send, how a run stands."""

from __future__ import annotations

import json
from typing import Any

from chalicelib.domain.ids import parse_token
from chalicelib.domain.records import parse_began
from chalicelib.engine.approvals import Decision, decide
from chalicelib.engine.history import load_state
from chalicelib.engine.run_events import send_event
from chalicelib.engine.supervise import detect_timeouts
from chalicelib.engine.verify import verify_run
from tests.engine.harness import Harness

Json = Any


def human(id: str = "ask", config: Json = None, **more: Json) -> Json:
    return {"id": id, "type": "human", "config": {"message": "?", **(config or {})}, **more}


def event(id: str = "e", name: str = "e", **more: Json) -> Json:
    return {"id": id, "type": "event", "config": {"name": name}, **more}


def begin(harness: Harness, document: Json, input: Json = None) -> str:
    run_id = harness.start(document, input)
    harness.drain()
    return run_id


def vote(
    harness: Harness, run_id: str, by: str = "ann", approved: bool = True, node: str = "ask", **more: Json
) -> Json:
    answer = decide(harness.services, Decision(run_id, node, by, approved, **more))
    harness.drain()
    return answer


def send(harness: Harness, run_id: str, payload: Json, name: str = "e", once: str | None = None) -> int:
    number = send_event(harness.services, run_id, name, payload, "shop", once)["number"]
    harness.drain()
    return int(number)


def waiting(harness: Harness, run_id: str) -> dict[str, str]:
    """Token -> the message or event that it waits for."""
    state = harness.store.snapshot(run_id)
    found = {}
    for text, record in state["tok"].items() if state else ():
        began = parse_began(record)
        if began.kind == "h":
            found[text] = began.data.get("message", began.data.get("event"))
    return found


def nodes_waiting(harness: Harness, run_id: str) -> list[str]:
    return sorted(parse_token(text).node for text in waiting(harness, run_id))


def pass_time(harness: Harness, ms: int) -> None:
    harness.clock.now += ms
    detect_timeouts(harness.services)
    harness.drain()


def ended(harness: Harness, run_id: str, status: str = "COMPLETED") -> Json:
    """The output of a run that has ended so, and is whole; its error where it failed."""
    state = harness.store.snapshot(run_id) or load_state(harness.services, run_id)
    meta = state["meta"]
    assert meta["status"] == status, meta
    answer = verify_run(harness.services, "acme", run_id)
    assert answer["ok"], answer["differences"]
    assert status != "COMPLETED" or not [field for field in state["box"] if field.startswith("vote|")]
    if status != "COMPLETED":
        return meta.get("error")
    ref = meta.get("output_ref")
    return json.loads(harness.artifacts.get(ref) if ref else meta["output"])
