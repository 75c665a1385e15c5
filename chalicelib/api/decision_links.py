"""Routes of decision links: make them, show what one would decide, and decide by it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from chalice.app import Blueprint

from chalicelib.api.approvals import text_member
from chalicelib.api.call import Call
from chalicelib.api.decision_page import decided_page, question_page
from chalicelib.api.endpoint import operation
from chalicelib.api.idempotency import once_of
from chalicelib.api.json_body import read_json
from chalicelib.api.problems import Answer, Malformed
from chalicelib.domain.errors import Forbidden, InvalidInput, Problem
from chalicelib.domain.journal import timestamp
from chalicelib.engine.credentials import LinkClaims, check_subject
from chalicelib.engine.decision_links import MAX_TTL_S, MIN_TTL_S, TTL_S, LinkRequest, make_links, question, use_link

Json = Any
blueprint = Blueprint(__name__)


@operation(blueprint)
def make_decision_links(call: Call) -> Answer:
    """Two links for one person: to approve, and to reject."""
    assert call.claims is not None, "the route needs a scope"
    body = call.members("for", "ttl_s", "job_id")
    person = call.actor if body.get("for") is None else check_subject(body["for"], "/for")
    if person != call.actor and not call.claims.allows("admin"):
        raise Forbidden("Links for another person need the scope admin.")
    now = int(call.pins.get("at", call.services.clock.now_ms()))
    run_id, node_id, job = call.params["run_id"], call.params["node_id"], text_member(body, "job_id")
    request = LinkRequest(call.tenant, run_id, node_id, person, _ttl(body.get("ttl_s")), now, job)
    return Answer(make_links(call.services, request), 201)


@operation(blueprint)
def show_decision(call: Call) -> Answer:
    """What the link would decide. Programs that follow every link of a mail decide nothing by it."""
    link = _link(call)
    asked = question(call.services, link)
    if call.page:
        return question_page(link, asked)
    shown = {"approved": link.approved, "for": link.sub, "job_id": link.job_id, "expires_at": timestamp(link.exp_ms)}
    return Answer({**asdict(asked), **shown})


@operation(blueprint)
def use_decision_link(call: Call) -> Answer:
    """Decide as the link says."""
    body, link = call.members("comment", "data"), _link(call)
    data = body.get("data")
    if call.form is not None:
        data = _typed(data)
    answer = use_link(call.services, link, text_member(body, "comment"), data, once_of(call))
    return decided_page(link, answer) if call.page else Answer(answer)


def _link(call: Call) -> LinkClaims:
    assert call.link is not None, "a decision route has a decision link"
    return call.link


def _typed(text: str | None) -> Json:
    """What a person typed into the page's field for data. Raises InvalidInput."""
    if text is None or not text.strip():
        return None
    try:
        return read_json(text.encode())
    except Malformed as error:
        raise InvalidInput("The data are not JSON.", (Problem("not_json", "/data", error.detail),)) from None


def _ttl(value: Json) -> int:
    if value is None:
        return TTL_S
    if not isinstance(value, int) or isinstance(value, bool) or not MIN_TTL_S <= value <= MAX_TTL_S:
        problem = Problem("bad_number", "/ttl_s", f"Send a whole number of seconds from {MIN_TTL_S} to {MAX_TTL_S}.")
        raise InvalidInput("ttl_s is not such a number.", (problem,))
    return value
