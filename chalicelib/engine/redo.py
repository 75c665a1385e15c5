"""Redrive, rerun and skip: running a part of a run again, or settling a node from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from chalicelib.domain.breakpoints import stop_field
from chalicelib.domain.commit import Draft, Emit, Event, compact
from chalicelib.domain.errors import Conflict, InvalidInput, NotFound, Problem, Unavailable
from chalicelib.domain.ids import ARM, Job, Token, job_id, parse_token
from chalicelib.domain.ir import Plan
from chalicelib.domain.patch_board import Board
from chalicelib.domain.records import parse_began
from chalicelib.domain.reset import extent, failed_nodes, reopen, reset_draft
from chalicelib.domain.state import ENDED
from chalicelib.engine.acting import act
from chalicelib.engine.controls import MAX_TRIES, holds, send_waiting
from chalicelib.engine.history import load_state
from chalicelib.engine.ports import Outgoing, RunState
from chalicelib.engine.rebuild import ensure_present
from chalicelib.engine.run_records import RECORD_META
from chalicelib.engine.services import Services

Json = Any
#: Hashes that a reset reads.
HASHES = ("meta", "tok", "st", "done", "dis", "jn", "ed", "last")
Decide = Callable[[Plan, RunState], Draft]
#: States that a run can be redriven from.
REDRIVABLE = frozenset({"FAILED", "TIMED_OUT", "CANCELLED"})


def redrive_run(services: Services, run_id: str, actor: str) -> None:
    """Run again what failed, timed out or was cancelled, and all that is reachable from it; the rest is kept.

    Raises NotFound, Conflict where the run has not ended badly, Unavailable.
    """

    def decide(plan: Plan, state: RunState) -> Draft:
        status = state["meta"]["status"]
        if status not in REDRIVABLE:
            raise Conflict(f"Run {run_id} is {status}: only {', '.join(sorted(REDRIVABLE))} runs can be redriven.")
        roots = failed_nodes(plan, state) or [
            name for name in plan.entries if Board(plan, state).standing(name).token is None
        ]
        return _reopened(services, plan, state, roots, {"from": roots})

    _redo(services, run_id, actor, decide)


def rerun_node(services: Services, run_id: str, node_id: str, actor: str) -> None:
    """Run a node again in its open scope instance, and all that is reachable from it. Raises as redrive_run."""

    def decide(plan: Plan, state: RunState) -> Draft:
        _begun(plan, state, run_id, node_id)
        return _reopened(services, plan, state, [node_id], {"from": [node_id], "rerun": True})

    _redo(services, run_id, actor, decide)


def skip_node(services: Services, run_id: str, node_id: str, output: Json, actor: str, job: str | None = None) -> None:
    """Settle a waiting, running or failed node, or one at its breakpoint, as completed with a substitute output; the
    run goes on from there, a paused one once it is resumed.

    Raises Conflict where the node has not begun, or has completed; with several executions open, `job` says which.
    """
    for _ in range(MAX_TRIES):
        chosen = _chosen(services, run_id, node_id, actor, job)
        if chosen is not None:
            break
    else:
        raise Unavailable(f"Run {run_id} changed too often meanwhile; send the request again.")
    signal = {"version": "1.0", "job_id": chosen, "run_id": run_id, "node_id": node_id, "status": "completed"}
    message = {**signal, "result": output, "metadata": {"skipped_by": actor}}
    services.queues.send([Outgoing("completion-signals", compact(message))])


def _chosen(services: Services, run_id: str, node_id: str, actor: str, job: str | None) -> str | None:
    """The job id of the execution to skip, one that a signal settles; None where the run has changed meanwhile."""
    ensure_present(services, run_id)
    state, plan = _load(services, run_id)
    token = _begun(plan, state, run_id, node_id)
    open_ = _open(state, node_id)
    if not open_:
        if "|COMPLETED|" in state["done"].get(token.text, ""):
            raise Conflict(f"Node {node_id} has completed: rerun it instead.")
        _redo(services, run_id, actor, lambda plan, state: _held(services, plan, state, node_id))
        state, plan = _load(services, run_id)
        open_ = _open(state, node_id)
    if not holds(services, run_id, state["meta"]):  # the signal must not name what may never have been
        raise Unavailable(f"Run {run_id} was rebuilt just now; send the request again.")
    jobs = {job_id(parse_began(state["tok"][text]).job(run_id, text), services.secret): text for text in open_}
    chosen = job or next(iter(jobs)) if job or len(jobs) == 1 else None
    if chosen not in jobs:
        problems = tuple(Problem("choose_job", "/job_id", text) for text in jobs)
        raise Conflict(f"Node {node_id} has {len(jobs)} open executions: name one by job_id.", problems)
    return _begun_waiting(services, run_id, state, jobs[chosen], actor) if jobs[chosen].startswith(ARM) else chosen


def _begun_waiting(services: Services, run_id: str, state: RunState, text: str, actor: str) -> str | None:
    """Let an execution that is about to begin wait for the signal that skips it. Its job id then; None where the run
    has changed meanwhile."""
    arm, meta = parse_token(text), state["meta"]
    token = replace(arm, node=arm.node.removeprefix(ARM))
    draft = Draft(settle=arm, emits=[Emit(token, "h")], drop=[("box", stop_field(text))])
    item = act(services, run_id, actor, meta, draft, fence=False)
    if item is None:
        return None
    job = Job(run_id, token.text, item.no, item.id, meta["gen"], int(meta["rev"]), meta["graph"])
    return job_id(job, services.secret)


def _open(state: RunState, node_id: str) -> list[str]:
    """Attempts of the node that are outstanding or about to begin; a skip under way is none."""
    tokens = {text: parse_token(text) for text in state["tok"]}
    return [text for text, token in tokens.items() if token.attempt and _names(token, node_id)]


def _names(token: Token, node_id: str) -> bool:
    return token.node == node_id or (token.node == ARM + node_id and token.index is None)


def _held(services: Services, plan: Plan, state: RunState, node_id: str) -> Draft:
    return _reopened(services, plan, state, [node_id], {"from": [node_id], "skip": True}, held=node_id)


def _begun(plan: Plan, state: RunState, run_id: str, node_id: str) -> Token:
    if node_id not in plan.nodes:
        raise NotFound(f"Run {run_id} has no node {node_id}.")
    standing = Board(plan, state).standing(node_id)
    if standing.token is None or standing.token.attempt == 0:
        raise Conflict(f"Node {node_id} is {standing.status}: it has not run yet.")
    return standing.token


def _reopened(
    services: Services, plan: Plan, state: RunState, roots: list[str], data: dict[str, Json], held: str | None = None
) -> Draft:
    epoch = int(state["meta"]["epoch"]) + 1
    draft = reset_draft(extent(plan, state, roots), state, epoch, held=held)
    # Whoever journals the commit lists the run as live again.
    draft.meta |= {name: state["meta"][name] for name in RECORD_META if name in state["meta"]}
    return reopen(draft, state, epoch, Event("run_redriven", data=data), services.clock.now_ms())


def _load(services: Services, run_id: str) -> tuple[RunState, Plan]:
    state = bring_back(services, run_id, HASHES)
    return state, services.plans.load(state["meta"]["graph"])


def bring_back(services: Services, run_id: str, hashes: Sequence[str]) -> RunState:
    """These hashes of the run, also of an ended run whose keys are gone: those come back, for it is to go on.

    Raises NotFound, Unavailable.
    """
    state = services.store.snapshot(run_id, hashes)
    if state is None:
        folded = load_state(services, run_id)
        if not folded["meta"]:
            raise NotFound(f"There is no run {run_id}.")
        services.store.install(run_id, folded)
        state = services.store.snapshot(run_id, hashes)
        if state is None:
            raise Unavailable(f"Run {run_id} could not be brought back; send the request again.")
    return state


def _redo(services: Services, run_id: str, actor: str, decide: Decide) -> None:
    """Decide on the whole present state and commit, again where any of it changed meanwhile; then send what begins."""
    for _ in range(MAX_TRIES):
        state, plan = _load(services, run_id)
        if "phase" in state["meta"] or "rollback" in state["meta"]:
            text = f"Run {run_id} was rolled back, or is being so: what was undone does not run again. Start a new run."
            raise Conflict(text)
        try:
            draft = decide(plan, state)
        except Conflict:
            if holds(services, run_id, state["meta"]):
                raise
            continue
        if not draft.emits and state["meta"]["status"] in ENDED:
            raise InvalidInput(f"Nothing in run {run_id} can begin again.")
        if act(services, run_id, actor, state["meta"], draft, reopen=True):
            if draft.meta.get("timeout_at"):
                services.store.put_due({f"run:{run_id}": int(draft.meta["timeout_at"])})
            send_waiting(services, run_id, services.clock.now_ms())
            return
    raise Unavailable(f"Run {run_id} changed too often meanwhile; send the request again.")
