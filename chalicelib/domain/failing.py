"""Deciding a failed attempt: retry it, take its failure edges, or fail the run."""

from __future__ import annotations

from dataclasses import replace

from chalicelib.domain.commit import Draft, Emit, Event, compact
from chalicelib.domain.ids import Token
from chalicelib.domain.ir import Node, Plan
from chalicelib.domain.outcome import Moment, Outcome, holds_or_note, value_record, with_own
from chalicelib.domain.retry import backoff_ms, wants_retry
from chalicelib.domain.routing import Router


def fail(plan: Plan, node: Node, token: Token, outcome: Outcome, moment: Moment) -> Draft:
    """The Draft of an attempt that ended with `outcome.error`."""
    return note_timeout(_decide(plan, node, token, outcome, moment), token, outcome)


def note_timeout(draft: Draft, token: Token, outcome: Outcome) -> Draft:
    """The draft of a failed attempt, which says first where it was not answered in time."""
    if outcome.error is not None and outcome.error["type"] in ("Timeout", "HeartbeatLost"):
        draft.events.insert(0, Event("node_timed_out", token, {"error": outcome.error}, outcome.job))
    return draft


def retried(node: Node, token: Token, outcome: Outcome, moment: Moment) -> Draft | None:
    """The Draft by which a failed attempt waits for the next one; None where there is none."""
    error = outcome.error
    assert error is not None
    if not wants_retry(node.retry, token.attempt, error):
        return None
    due = moment.now_ms + backoff_ms(node.retry, token.attempt, moment.chance)
    event = Event("node_retrying", token, {"error": error, "due": due}, outcome.job)
    emit = Emit(replace(token, node=f"$retry:{token.node}", attempt=token.attempt + 1), "r", {"due": due})
    return Draft(settle=token, status="RETRIED", error=error, emits=[emit], events=[event])


def _decide(plan: Plan, node: Node, token: Token, outcome: Outcome, moment: Moment) -> Draft:
    again = retried(node, token, outcome, moment)
    if again is not None:
        return again
    error = outcome.error
    assert error is not None
    draft = Draft(settle=token, status="FAILED", error=error)
    draft.values.append((token, value_record("FAILED", token, outcome)))
    draft.events.append(Event("node_failed", token, {"error": error}, outcome.job))
    values = with_own(moment.values, token, "FAILED", outcome)
    values |= {"output": None, "error": error, "iteration": token.iteration}
    edges = dict.fromkeys(node.out_edges, 0)
    handled = False
    for key in node.out_edges:
        edge = plan.edges[key]
        if edge.kind == "veto" or edge.on == "success":
            continue
        if edge.condition is None or holds_or_note(edge.condition, values, draft, token, f"edge {key}"):
            edges[key] = 1
            handled = handled or edge.on == "failure"
    raise_vetoes(plan, edges)
    router = Router(plan, draft, moment.epoch)
    if not handled and not moment.harmless:
        _note_unhandled(draft, token, compact({**error, "node_id": node.id}))
        draft.cancel_all = plan.on_failure != "finish_branches"
        draft.cut = draft.cancel_all and any(edges.values())
    if draft.cancel_all and not draft.cut:
        return draft  # nothing goes on that an edge could lead to
    ended = node.id if node.loop else None
    router.resolve(edges, token.scope, ended_loop=ended)
    if ended:
        router.end_loop(ended, token.scope)
    return draft


def _note_unhandled(draft: Draft, token: Token, error: str) -> None:
    """The run's error, if it has none yet. A patch may still handle this failure: then another one takes its place."""
    draft.once["error"] = error
    draft.meta |= {f"failed:{token.instance}": error, "failed_last": token.instance}


def may_cut(plan: Plan) -> bool:
    """Whether a failure may cancel all but what its `always` edges start."""
    return plan.on_failure != "finish_branches" and any(edge.on == "always" for edge in plan.edges.values())


def raise_vetoes(plan: Plan, edges: dict[str, int]) -> None:
    """A taken failure edge that leaves a loop's body vetoes that loop node in this scope."""
    for key in edges:
        edge = plan.edges[key]
        if edge.kind == "veto":
            left = [k for k, how in edges.items() if how and edge.target not in plan.nodes[plan.edges[k].target].loops]
            edges[key] = int(bool(left))
