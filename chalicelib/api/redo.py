"""Routes that run a part of a run again, or settle a node from outside."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.api.call import Call
from chalicelib.api.endpoint import operation
from chalicelib.api.problems import Answer
from chalicelib.api.runs import run_answer
from chalicelib.engine import redo
from chalicelib.engine.run_reader import read_state

blueprint = Blueprint(__name__)


@operation(blueprint)
def redrive_run(call: Call) -> Answer:
    """Run again what failed, timed out or was cancelled, and all behind it."""
    call.members()
    read_state(call.services, call.tenant, call.params["run_id"])
    redo.redrive_run(call.services, call.params["run_id"], call.actor)
    return run_answer(call)


@operation(blueprint)
def rerun_node(call: Call) -> Answer:
    """Run a node and all behind it again."""
    call.members()
    read_state(call.services, call.tenant, call.params["run_id"])
    redo.rerun_node(call.services, call.params["run_id"], call.params["node_id"], call.actor)
    return run_answer(call)


@operation(blueprint)
def skip_node(call: Call) -> Answer:
    """Settle a waiting, running or failed node as completed with the output given."""
    body = call.members("output", "job_id")
    read_state(call.services, call.tenant, call.params["run_id"])
    run_id, node_id = call.params["run_id"], call.params["node_id"]
    redo.skip_node(call.services, run_id, node_id, body.get("output"), call.actor, body.get("job_id"))
    return run_answer(call)
