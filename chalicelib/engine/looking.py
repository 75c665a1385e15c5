"""Looks whether what a waiting node waits for is there: decisions of people, events from outside, the end of a child.

A `continue` message that names the token of a waiting node asks for a look. So does everything that may have changed
the answer, whoever does it again after a death, and the sweep; a look that finds nothing changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.domain.children import CALL
from chalicelib.domain.decisions import decided, timed_out, verdict, vote_field, votes_of
from chalicelib.domain.errors import GraftError
from chalicelib.domain.ids import Job
from chalicelib.domain.ir import Node
from chalicelib.domain.mail import counter_field, letter_for
from chalicelib.domain.map_items import parse_progress, progress_field
from chalicelib.domain.node_kinds import HELD_TYPES, node_at
from chalicelib.domain.outcome import Outcome
from chalicelib.domain.records import Began, parse_began
from chalicelib.engine.children import child_outcome
from chalicelib.engine.effects import Effects
from chalicelib.engine.loading import spent_hops
from chalicelib.engine.maps import gather
from chalicelib.engine.ports import RunState
from chalicelib.engine.rearm import attempt_deadlines
from chalicelib.engine.repeats import gone, recover
from chalicelib.engine.services import Services
from chalicelib.engine.signals import Work
from chalicelib.engine.store_calls import ReadCall

#: What a look reads of the run.
HASHES = ("meta", "tok", "box")
#: What waits for something from outside: where it came in time, it counts also if the timeout is the first to look.
OUTSIDE = ("human", "event")


def look(services: Services, works: Sequence[Work], effects: Effects, failed: set[int]) -> list[Work]:
    """Put the outcome in each work of a waiting node that has one; works that have none yet are done with."""
    out: list[Work] = []
    for work in works:
        try:
            node = _waiting(services, work) if _may_look(work) else None
        except GraftError:
            failed.add(work.origin)
            continue
        out += [work] if node is None else _look(services, work, node, effects, failed)
    return out


def _may_look(work: Work) -> bool:
    if work.token.node.startswith("$") or work.token.attempt == 0:
        return False
    return _is_timeout(work) or (work.kind == "inline" and work.outcome.error is None)


def _is_timeout(work: Work) -> bool:
    return work.kind == "signal" and work.outcome.error is not None and work.outcome.error["type"] == "Timeout"


def _waiting(services: Services, work: Work) -> Node | None:
    """The node if it is one that waits, and this work is for a look at it."""
    plan = services.plans.load(work.job.graph)
    if work.token.node not in plan.nodes or spent_hops(services, plan, work.job.no):
        return None
    node = node_at(plan, work.token)
    if node.type not in HELD_TYPES or (_is_timeout(work) and node.type not in OUTSIDE):
        return None
    return node


def _look(services: Services, work: Work, node: Node, effects: Effects, failed: set[int]) -> list[Work]:
    state = _state(services, work, node)
    if state is None:
        recover(services, work, effects, failed)
        return []
    record = state["tok"].get(work.token.text)
    if record is None:
        gone(work)
        return [work]
    began = parse_began(record)
    if began.kind != "h":
        return [work]
    if not began.data:  # a node that is being skipped: the signal that settles it is on its way
        return []
    # What the node was asked under holds until it is asked anew, whatever a patch has made of it since.
    node = node_at(services.plans.load(began.graph), work.token)
    work.timeout = work.outcome if _is_timeout(work) else None
    job = began.job(work.job.run_id, work.token.text)
    if _child_ended(services, work, job) if node.type == CALL else _found(services, work, node, began, state):
        work.kind, work.looked = "signal", True
        return [work]
    if work.timeout is not None:
        _time_is_up(work, node, began, state)
        return [work]
    if node.type == CALL and state["meta"]["status"] == "PAUSED":  # no child starts: the resumed run looks again
        return []
    effects.wait(job, work.origin, attempt_deadlines(services, node, job, began.at_ms, began.at_ms))
    return []


def _state(services: Services, work: Work, node: Node) -> RunState | None:
    """What the look reads of the run, as its hashes: of a call its own token, since there may be very many."""
    if node.type != CALL:
        return services.store.snapshot(work.job.run_id, HASHES)
    text = work.token.text
    answer = services.store.read([ReadCall(work.job.run_id, 0, meta=("status",), tokens=(text,))])[0]
    record = answer.tokens.get(text)
    tok = {} if record is None else {text: record}
    return {"meta": {"status": answer.meta["status"] or ""}, "tok": tok} if answer.found else None


def _child_ended(services: Services, work: Work, job: Job) -> bool:
    """Put the outcome into the work, if the child has ended."""
    outcome = child_outcome(services, job)
    work.outcome = outcome or work.outcome
    return outcome is not None


def _found(services: Services, work: Work, node: Node, began: Began, state: RunState) -> bool:
    """Put the outcome into the work, if what it waits for is there."""
    if node.type == "human":
        votes = votes_of(state["box"], work.token.text)
        approved = verdict(began.data, votes)
        if approved is not None:
            work.outcome = decided(node, work.token, approved, votes)
            work.drop = _ballot(state, work)
        return approved is not None
    if node.type == "map":
        text = state["box"].get(progress_field(work.token))
        progress = parse_progress(text) if text else None
        if progress is None or not progress.over:
            return False
        work.outcome = gather(services, work.job.run_id, work.token, progress)
        return True
    name = began.data.get("event")  # none where a failed node is about to be skipped
    letter = None if name is None else letter_for(state, work.token.text, name)
    if letter is None:
        return False
    work.outcome = Outcome(output=letter.record.get("o"), ref=letter.record.get("r"))
    work.expect, work.drop = (("box", letter.field, letter.text),), (("box", letter.field),)
    return True


def _time_is_up(work: Work, node: Node, began: Began, state: RunState) -> None:
    """Put into the work what the timeout comes to, if nothing more comes from outside before its commit."""
    work.looked = True
    if node.type == "event":
        counter = counter_field(began.data["event"])
        work.expect = (("box", counter, state["box"].get(counter, "")),)
        return
    votes = votes_of(state["box"], work.token.text)
    work.outcome = timed_out(node, work.token, votes) or work.outcome
    work.expect, work.drop = (("box", vote_field(work.token.text, len(votes) + 1), ""),), _ballot(state, work)


def _ballot(state: RunState, work: Work) -> tuple[tuple[str, str], ...]:
    """The votes on the token: its outcome has taken them over."""
    return tuple(("box", field) for field in state["box"] if field.startswith(f"vote|{work.token.text}|"))


def again(work: Work) -> None:
    """What the look found has changed meanwhile: look again."""
    if work.looked:
        work.kind, work.outcome = ("signal", work.timeout) if work.timeout else ("inline", Outcome())
        work.looked, work.expect, work.drop = False, (), ()
