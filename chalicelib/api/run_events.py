"""The route by which events from outside reach a run's event nodes."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.api.call import Call
from chalicelib.api.endpoint import operation
from chalicelib.api.idempotency import once_of
from chalicelib.api.problems import Answer
from chalicelib.engine import run_events
from chalicelib.engine.run_reader import read_state

blueprint = Blueprint(__name__)


@operation(blueprint)
def send_event(call: Call) -> Answer:
    """Keep the event for the node that waits for its name, now or later."""
    payload, run_id, name = call.json(), call.params["run_id"], call.params["name"]
    read_state(call.services, call.tenant, run_id)
    return Answer(run_events.send_event(call.services, run_id, name, payload, call.actor, once_of(call)), 202)
