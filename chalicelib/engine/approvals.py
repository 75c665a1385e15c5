"""Decisions of people on human nodes: listed, checked, and committed once per person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.commit import Draft, Event, compact
from chalicelib.domain.decisions import Vote, verdict, vote_field, vote_text, votes_of
from chalicelib.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, Problem, TooLarge, Unavailable
from chalicelib.domain.ids import job_id, parse_token
from chalicelib.domain.input_schema import input_problems
from chalicelib.domain.journal import timestamp
from chalicelib.domain.records import Began, parse_began
from chalicelib.domain.state import ENDED
from chalicelib.engine.acting import act
from chalicelib.engine.controls import holds
from chalicelib.engine.history import load_state
from chalicelib.engine.ports import Outgoing, RunState
from chalicelib.engine.rebuild import ensure_present
from chalicelib.engine.services import Services
from chalicelib.engine.signals import continue_text

Json = Any
#: What deciding reads of the run.
HASHES = ("meta", "tok", "dis", "box")
#: Times a decision is made again because another person decided at the same moment.
MAX_TRIES = 50
#: Characters of a comment, and bytes of a vote's data as JSON: a commit holds them, and the run's store until the end.
MAX_COMMENT, MAX_DATA = 4096, 32 * 1024
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
    approver; InvalidInput where the data do not fit the form; TooLarge; Unavailable.
    """
    _check_size(decision)
    for _ in range(MAX_TRIES):
        state = present(services, decision.run_id)
        first = state["box"].get(f"said|{decision.once}") if decision.once else None
        if first is not None and not holds(services, decision.run_id, state["meta"]):
            continue
        if first is not None:
            return _repeated(services, decision, state, first)
        try:
            text, began, votes = _awaited(services, decision, state)
        except (NotFound, Conflict, Forbidden):
            if holds(services, decision.run_id, state["meta"]):
                raise
            continue
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


def _awaited(services: Services, decision: Decision, state: RunState) -> tuple[str, Began, list[Vote]]:
    """The execution that the decision is for, and the votes so far, where this person may add one."""
    if state["meta"]["status"] in ENDED:
        raise Conflict(f"Run {decision.run_id} is {state['meta']['status']}: nothing in it waits for a decision.")
    text, began = chosen(services, state, decision)
    return text, began, _checked(decision, began, votes_of(state["box"], text))


def _check_size(decision: Decision) -> None:
    if len(decision.comment or "") > MAX_COMMENT:
        text = f"Send at most {MAX_COMMENT} characters."
        raise InvalidInput("The comment is too long.", (Problem("too_long", "/comment", text),))
    if len(compact(decision.data)) > MAX_DATA:
        raise TooLarge(f"The data of a decision take over {MAX_DATA} bytes as JSON; store them, and send a reference.")


def _answer(services: Services, decision: Decision, text: str, began: Began, votes: list[Vote]) -> dict[str, Json]:
    head = _head(services, decision, text, began)
    done = verdict(began.data, votes) is not None
    if done:
        services.queues.send([Outgoing("completion-signals", continue_text([head["job_id"]]))])
    return {**head, "decided": done, "decisions": [vote_view(vote) for vote in votes]}


def _head(services: Services, decision: Decision, text: str, began: Began) -> dict[str, Json]:
    job = job_id(began.job(decision.run_id, text), services.secret)
    return {"run_id": decision.run_id, "node_id": decision.node_id, "job_id": job, "approved": decision.approved}


def _repeated(services: Services, decision: Decision, state: RunState, text: str) -> dict[str, Json]:
    """The answer to the first try: its vote stands, and perhaps the node has settled by it."""
    record = state["tok"].get(text)
    if record is not None:
        return _answer(services, decision, text, parse_began(record), votes_of(state["box"], text))
    head = _head(services, decision, text, parse_began(state["dis"][text]))
    left = votes_of(state["box"], text)
    if left:  # it was cancelled: nothing has taken its votes
        return {**head, "decided": False, "decisions": [vote_view(vote) for vote in left]}
    return {**head, "decided": True, "decisions": _settled_votes(services, decision.run_id, text)}


def _settled_votes(services: Services, run_id: str, text: str) -> list[dict[str, Json]]:
    """The votes by which an execution was decided: part of its outcome, which took them out of the box."""
    state = services.store.snapshot(run_id, ("val",)) or load_state(services, run_id)
    outcome = json.loads(state["val"].get(parse_token(text).value_key, "|{}").split("|", 1)[1])
    if "r" in outcome:
        outcome["o"] = json.loads(services.artifacts.get(outcome["r"]))
    found = [outcome.get("o"), outcome.get("e")]
    return next((part["decisions"] for part in found if isinstance(part, Mapping) and "decisions" in part), [])


def vote_view(vote: Vote) -> dict[str, Json]:
    """A vote as the API shows it."""
    return {"by": vote.by, "approved": vote.approved, "comment": vote.comment, "data": vote.data, "at": vote.at}


def _now(services: Services) -> str:
    return timestamp(services.clock.now_ms())


def present(services: Services, run_id: str) -> RunState:
    """The run, from its history where it has ended and left the store: a repeat still finds its first try."""
    ensure_present(services, run_id)
    return services.store.snapshot(run_id, HASHES) or load_state(services, run_id)


def chosen(services: Services, state: RunState, decision: Decision) -> tuple[str, Began]:
    """The waiting execution that the decision is for."""
    plan = services.plans.load(state["meta"]["graph"])
    if decision.node_id not in plan.nodes:
        raise NotFound(f"Run {decision.run_id} has no node {decision.node_id[:80]}.")
    waiting = {text: began for text, began in asked(state) if parse_token(text).node == decision.node_id}
    jobs = {job_id(began.job(decision.run_id, text), services.secret): text for text, began in waiting.items()}
    if not jobs:
        raise Conflict(f"Node {decision.node_id} does not wait for a decision now.")
    job = decision.job or (next(iter(jobs)) if len(jobs) == 1 else "")
    if job in jobs:
        return jobs[job], waiting[jobs[job]]
    problems = tuple(Problem("choose_job", "/job_id", job) for job in list(jobs)[:50])
    if decision.job is not None:
        raise Conflict(f"That execution of node {decision.node_id} does not wait for a decision now.", problems)
    raise Conflict(f"Node {decision.node_id} has {len(jobs)} executions that wait: name one by job_id.", problems)


def asked(state: RunState) -> list[tuple[str, Began]]:
    """(token, record) of every execution that waits for people, the oldest first. Reads the hash `tok`."""
    found = [(text, parse_began(record)) for text, record in state["tok"].items() if "|h|" in record]
    return sorted(
        ((text, began) for text, began in found if began.kind == "h" and "quorum" in began.data),
        key=lambda item: (item[1].no, item[0]),
    )


def may_decide(by: str, node_id: str, began: Began, votes: list[Vote]) -> None:
    """Raises Forbidden or Conflict where this person may not add a vote."""
    approvers = began.data.get("approvers")
    if approvers is not None and by not in approvers:
        raise Forbidden(f"{by} is not among the approvers of node {node_id}.")
    if any(vote.by == by for vote in votes):
        raise Conflict(f"{by} has decided on node {node_id} before; a decision stands.")
    if verdict(began.data, votes) is not None or len(votes) >= MAX_VOTES:
        raise Conflict(f"Node {node_id} is decided already.")


def _checked(decision: Decision, began: Began, votes: list[Vote]) -> list[Vote]:
    """The votes so far, where this person may add one."""
    may_decide(decision.by, decision.node_id, began, votes)
    form = began.data.get("form")
    problems = input_problems(form, decision.data, "data") if form is not None and decision.approved else ()
    if problems:
        raise InvalidInput(f"The data do not fit the form of node {decision.node_id}.", problems)
    return votes
