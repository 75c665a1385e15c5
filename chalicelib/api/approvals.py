"""Routes by which people see what waits for them, and decide."""

from __future__ import annotations

from typing import Any

from chalice.app import Blueprint

from chalicelib.api.call import Call, refused
from chalicelib.api.endpoint import operation
from chalicelib.api.idempotency import once_of
from chalicelib.api.problems import Answer
from chalicelib.domain.errors import InvalidInput, Problem
from chalicelib.engine.approval_list import POSITION, Wanted
from chalicelib.engine.approval_list import list_approvals as page_of
from chalicelib.engine.approvals import Decision, decide
from chalicelib.engine.run_reader import read_state

Json = Any
blueprint = Blueprint(__name__)


@operation(blueprint)
def list_approvals(call: Call) -> Answer:
    """A page of what waits for people; for a token bound to a run, of that run."""
    assert call.claims is not None, "the route needs a scope"
    after, mine = call.query.get("cursor") or None, call.query.get("mine", "false")
    if after is not None and not POSITION.fullmatch(after):
        raise refused("cursor", "Send a next_cursor as it was given.")
    if mine not in ("true", "false"):
        raise refused("mine", "Send true or false.")
    limit = call.whole("limit", 50, 1, 200)
    wanted = Wanted(call.tenant, call.claims.run_id, call.actor if mine == "true" else None, limit, after)
    items, following = page_of(call.services, wanted)
    return Answer({"items": items, "next_cursor": following})


@operation(blueprint)
def decide_node(call: Call) -> Answer:
    """Commit the caller's decision."""
    body = call.members("comment", "data", "job_id", required=("approved",))
    run_id, node_id = call.params["run_id"], call.params["node_id"]
    approved = body["approved"]
    if not isinstance(approved, bool):
        problem = Problem("wrong_type", "/approved", "Send true to approve, false to reject.")
        raise InvalidInput("approved is not a flag.", (problem,))
    comment, job = text_member(body, "comment"), text_member(body, "job_id")
    read_state(call.services, call.tenant, run_id)
    decision = Decision(run_id, node_id, call.actor, approved, comment, body.get("data"), job, once_of(call))
    return Answer(decide(call.services, decision))


def text_member(body: dict[str, Json], name: str) -> str | None:
    """A member that is a text, or absent or null. Raises InvalidInput."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        problem = Problem("wrong_type", f"/{name}", "Send a text, or leave it out.")
        raise InvalidInput(f"{name} is not a text.", (problem,))
    return value or None
