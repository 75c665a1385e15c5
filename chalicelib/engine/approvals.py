"""Decisions of people on human nodes: listed, checked, and committed once per person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chalicelib.domain.commit import Draft, Event
from chalicelib.domain.decisions import Vote, verdict, vote_field, vote_text, votes_of
from chalicelib.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, Problem, Unavailable
from chalicelib.domain.ids import job_id, parse_token
from chalicelib.domain.input_schema import input_problems
from chalicelib.domain.journal import timestamp
from chalicelib.domain.records import Began, parse_began
from chalicelib.domain.state import ENDED
from chalicelib.engine.acting import act
from chalicelib.engine.controls import holds
from chalicelib.engine.ports import Outgoing, RunState
from chalicelib.engine.rebuild import ensure_present
from chalicelib.engine.services import Services
from chalicelib.engine.signals import continue_text

Json = Any
#: What deciding reads of the run.
HASHES = ("meta", "tok", "dis", "box")
#: Times a decision is made again because another person decided at the same moment.
MAX_TRIES = 20
#: Votes on one node: a bound for open votes, far above any quorum.
MAX_VOTES = 2000


@dataclass(frozen=True, slots=True)
class Decision:
    """What one person says of one waiting node. `job` chooses among several executions."""

    run_id: str
    node_id: str
    by: str
    approved: bool
    comment: str | None = None
    data: Json = None
    job: str | None = None
    #: Names the request among all of its route, where it carries an Idempotency-Key.
    once: str | None = None


def decide(services: Services, decision: Decision) -> dict[str, Json]:
    """Commit the decision, and let the coordinator go on where it was the last one needed.

    Returns `{run_id, node_id, job_id, approved, decided, decisions}`. Raises NotFound; Conflict where the node does not
    wait, the person has decided before, or several executions wait and none is named; Forbidden where the person is no
    approver; InvalidInput where the data do not fit the form; Unavailable.
    """
    for _ in range(MAX_TRIES):
        state = _present(services, decision.run_id)
        first = state["box"].get(f"said|{decision.once}") if decision.once else None
        if first is not None and not holds(services, decision.run_id, state["meta"]):
            continue
        if first is not None:
            return _repeated(services, decision, state, first)
        if state["meta"]["status"] in ENDED:
            raise Conflict(f"Run {decision.run_id} is {state['meta']['status']}: nothing in it waits for a decision.")
        text, began = _chosen(services, state, decision)
        votes = _checked(decision, began, votes_of(state["box"], text))
        vote = Vote(decision.by, decision.approved, decision.comment, decision.data, _now(services))
        field = vote_field(text, len(votes) + 1)
        event = Event("node_waiting", parse_token(text), {"decision": {"by": vote.by, "approved": vote.approved}})
        draft = Draft(put=[("box", field, vote_text(vote))], events=[event])
        if decision.once:
            draft.put.append(("box", f"said|{decision.once}", text))
        expect = (("box", field, ""), ("tok", text, state["tok"][text]))
        if act(services, decision.run_id, decision.by, state["meta"], draft, expect=expect, fence=False):
            return _answer(services, decision, text, began, [*votes, vote])
        services.pause(0.01 * services.ids.uniform())
    raise Unavailable(f"Run {decision.run_id} changed too often meanwhile; send the decision again.")


def _answer(services: Services, decision: Decision, text: str, began: Began, votes: list[Vote]) -> dict[str, Json]:
    job = job_id(began.job(decision.run_id, text), services.secret)
    done = verdict(began.data, votes) is not None
    if done:
        services.queues.send([Outgoing("completion-signals", continue_text([job]))])
    head = {"run_id": decision.run_id, "node_id": decision.node_id, "job_id": job, "approved": decision.approved}
    return {**head, "decided": done, "decisions": [vote_view(vote) for vote in votes]}


def _repeated(services: Services, decision: Decision, state: RunState, text: str) -> dict[str, Json]:
    """The answer to the first try: its vote stands, and perhaps the node has settled by it."""
    record = state["tok"].get(text) or state["dis"][text]
    began, votes = parse_began(record), votes_of(state["box"], text)
    answer = _answer(services, decision, text, began, votes)
    return answer if text in state["tok"] else {**answer, "decided": True}


def vote_view(vote: Vote) -> dict[str, Json]:
    """A vote as the API shows it."""
    return {"by": vote.by, "approved": vote.approved, "comment": vote.comment, "data": vote.data, "at": vote.at}


def _now(services: Services) -> str:
    return timestamp(services.clock.now_ms())


def _present(services: Services, run_id: str) -> RunState:
    meta = ensure_present(services, run_id)
    return services.store.snapshot(run_id, HASHES) or {"meta": meta, "tok": {}, "dis": {}, "box": {}}


def _chosen(services: Services, state: RunState, decision: Decision) -> tuple[str, Began]:
    """The waiting execution that the decision is for."""
    plan = services.plans.load(state["meta"]["graph"])
    if decision.node_id not in plan.nodes:
        raise NotFound(f"Run {decision.run_id} has no node {decision.node_id}.")
    waiting = {
        text: parse_began(record)
        for text, record in state["tok"].items()
        if parse_token(text).node == decision.node_id and "|h|" in record
    }
    waiting = {text: began for text, began in waiting.items() if began.kind == "h" and "quorum" in began.data}
    jobs = {job_id(began.job(decision.run_id, text), services.secret): text for text, began in waiting.items()}
    if not jobs:
        raise Conflict(f"Node {decision.node_id} does not wait for a decision now.")
    chosen = decision.job or (next(iter(jobs)) if len(jobs) == 1 else None)
    if chosen not in jobs:
        problems = tuple(Problem("choose_job", "/job_id", job) for job in list(jobs)[:50])
        raise Conflict(f"Node {decision.node_id} has {len(jobs)} executions that wait: name one by job_id.", problems)
    return jobs[chosen], waiting[jobs[chosen]]


def _checked(decision: Decision, began: Began, votes: list[Vote]) -> list[Vote]:
    """The votes so far, where this person may add one."""
    approvers, form = began.data.get("approvers"), began.data.get("form")
    if approvers is not None and decision.by not in approvers:
        raise Forbidden(f"{decision.by} is not among the approvers of node {decision.node_id}.")
    if any(vote.by == decision.by for vote in votes):
        raise Conflict(f"{decision.by} has decided on node {decision.node_id} before; a decision stands.")
    if verdict(began.data, votes) is not None or len(votes) >= MAX_VOTES:
        raise Conflict(f"Node {decision.node_id} is decided already.")
    problems = input_problems(form, decision.data, "data") if form is not None and decision.approved else ()
    if problems:
        raise InvalidInput(f"The data do not fit the form of node {decision.node_id}.", problems)
    return votes
