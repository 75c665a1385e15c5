"""Links by which one person decides on one execution of a human node without a token of their own.

A link is a signed token and no record: it works while its node waits and its person has not decided, until it expires.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chalicelib.domain.decisions import Vote, votes_of
from chalicelib.domain.errors import Conflict
from chalicelib.domain.ids import job_id
from chalicelib.domain.journal import timestamp
from chalicelib.domain.records import Began
from chalicelib.domain.state import ENDED
from chalicelib.engine.approvals import Decision, chosen, decide, may_decide, present
from chalicelib.engine.credentials import LinkClaims, issue_link_token
from chalicelib.engine.ports import RunState
from chalicelib.engine.run_reader import read_state
from chalicelib.engine.services import Services
from chalicelib.engine.views import API

Json = Any
#: Seconds that a link is valid: as a rule, at least, at most.
TTL_S, MIN_TTL_S, MAX_TTL_S = 604_800, 60, 2_592_000


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """Whose links for which waiting node. `now_ms`: from when `ttl_s` counts."""

    tenant: str
    run_id: str
    node_id: str
    person: str
    ttl_s: int
    now_ms: int
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What a link's page shows."""

    run_id: str
    node_id: str
    workflow: str | None
    message: str
    form: Json
    #: Votes so far that approve, and how many are needed.
    approvals: int
    quorum: int


def make_links(services: Services, request: LinkRequest) -> dict[str, Json]:
    """`{approve, reject, expires_at, job_id, for}`. Raises NotFound, Conflict or Forbidden where the person may not
    decide now, Unavailable."""
    read_state(services, request.tenant, request.run_id)
    state = _open(services, request.run_id)
    text, began, _ = _waiting(
        services, state, Decision(request.run_id, request.node_id, request.person, True, job=request.job)
    )
    job = job_id(began.job(request.run_id, text), services.secret)
    expires = (request.now_ms // 1000 + request.ttl_s) * 1000
    links = {}
    for name, approved in (("approve", True), ("reject", False)):
        claims = LinkClaims(request.tenant, request.run_id, request.node_id, job, request.person, approved, expires)
        token = issue_link_token(services.secret, claims)
        links[name] = f"{services.public_url}{API}/decisions/{token}"
    return {**links, "for": request.person, "job_id": job, "expires_at": timestamp(expires)}


def question(services: Services, link: LinkClaims) -> Question:
    """What the link would decide. Raises as make_links: Conflict where it was used, or the node is decided."""
    read_state(services, link.tenant, link.run_id)
    state = _open(services, link.run_id)
    decision = Decision(link.run_id, link.node_id, link.sub, link.approved, job=link.job_id)
    _, began, votes = _waiting(services, state, decision)
    data, meta = began.data, state["meta"]
    yes = sum(vote.approved for vote in votes)
    name = meta.get("workflow") or meta.get("name") or None
    return Question(link.run_id, link.node_id, name, data["message"], data.get("form"), yes, data["quorum"])


def use_link(
    services: Services, link: LinkClaims, comment: str | None, data: Json, once: str | None
) -> dict[str, Json]:
    """Decide as the link says. Raises as approvals.decide."""
    read_state(services, link.tenant, link.run_id)
    decision = Decision(link.run_id, link.node_id, link.sub, link.approved, comment, data, link.job_id, once)
    return decide(services, decision)


def _open(services: Services, run_id: str) -> RunState:
    state = present(services, run_id)
    if state["meta"]["status"] in ENDED:
        raise Conflict(f"Run {run_id} is {state['meta']['status']}: nothing in it waits for a decision.")
    return state


def _waiting(services: Services, state: RunState, decision: Decision) -> tuple[str, Began, list[Vote]]:
    """The execution that waits for this person, and the votes on it. Raises NotFound, Conflict, Forbidden."""
    text, began = chosen(services, state, decision)
    votes = votes_of(state["box"], text)
    may_decide(decision.by, decision.node_id, began, votes)
    return text, began, votes
