"""Routes that run a part of a run again, or settle a node from outside."""

from __future__ import annotations

from typing import Any

from chalice.app import Blueprint

from chalicelib.api.call import Call, check_count
from chalicelib.api.endpoint import operation
from chalicelib.api.idempotency import key_of
from chalicelib.api.problems import Answer
from chalicelib.api.runs import run_answer
from chalicelib.domain.errors import InvalidInput, Problem
from chalicelib.domain.ids import derived_run_id
from chalicelib.engine import redo
from chalicelib.engine.forks import ForkRequest, fork_run
from chalicelib.engine.patch_terms import Change
from chalicelib.engine.run_reader import read_state
from chalicelib.engine.views import run_links

Json = Any
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


@operation(blueprint)
def fork_run_from(call: Call) -> Answer:
    """Start a new run from a point of this one."""
    body = call.members("from_seq", "from_node", "input", "operations", "description")
    read_state(call.services, call.tenant, call.params["run_id"])
    if (body.get("from_seq") is None) == (body.get("from_node") is None):
        problem = Problem("no_point", "/from_seq", "Send one of from_seq and from_node.")
        raise InvalidInput("A fork needs one point to begin from.", (problem,))
    new_id = _fork_id(call)
    request = ForkRequest(
        call.tenant,
        call.actor,
        call.params["run_id"],
        None if body.get("from_seq") is None else check_count(body["from_seq"], "/from_seq", 1 << 50),
        body.get("from_node"),
        "input" in body,
        body.get("input"),
        _change(body),
    )
    fork_run(call.services, request, new_id)
    links = run_links(call.services.public_url, new_id)
    status = read_state(call.services, call.tenant, new_id)["meta"]["status"]
    return Answer({"run_id": new_id, "status": status, "links": links}, 202, {"Location": links["self"]})


def _fork_id(call: Call) -> str:
    """Fresh, or the one that the first try under the same Idempotency-Key made."""
    key = key_of(call)
    if key is None:
        return f"r{call.services.ids.new()}{call.services.ids.new()}"
    return derived_run_id(call.tenant, f"{call.route.method} {call.path} {call.pins['at']} {key}")


def _change(body: dict[str, Json]) -> Change | None:
    operations = body.get("operations")
    return None if operations is None else Change(lambda plan: operations, str(body.get("description") or ""))
