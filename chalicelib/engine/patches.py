"""Patching a live run: plan on its present state, commit if that still holds, journal, start what became ready."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.domain.compensation import compensating
from chalicelib.domain.errors import Conflict, Forbidden, NotFound, Unavailable
from chalicelib.domain.ids import Job, job_id
from chalicelib.domain.ir import Plan
from chalicelib.domain.journal import Item
from chalicelib.domain.patch_board import Expectation
from chalicelib.domain.patch_revert import revert_operations
from chalicelib.domain.state import ENDED
from chalicelib.engine.acting import act
from chalicelib.engine.controls import CHUNK, send_waiting
from chalicelib.engine.patch_history import PatchRecord, find_patch, number_of
from chalicelib.engine.patch_planning import plan_patch
from chalicelib.engine.patch_terms import PLANNING_HASHES, Change, Planned
from chalicelib.engine.ports import Outgoing, RunState
from chalicelib.engine.rebuild import ensure_present
from chalicelib.engine.services import Services
from chalicelib.engine.signals import continue_text

Json = Any
#: Times a patch is planned again because what it rests on changed meanwhile.
MAX_TRIES = 25
#: Seconds to wait before the next try, at most: tries of several patchers spread out.
PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class PatchRequest:
    """A patch as it is asked for. `once` names the request, so that a repeat finds the first one's patch."""

    tenant: str
    actor: str
    run_id: str
    change: Change
    #: Revisions that the graph may be at; None for any.
    revisions: tuple[int, ...] | None = None
    dry_run: bool = False
    once: str | None = None


def patch_run(services: Services, request: PatchRequest) -> dict[str, Json]:
    """Patch the run, and return the answer of SPEC 11.

    Raises NotFound, Conflict for a run that has ended or a stale revision (with the present one), InvalidInput and
    InvalidDocument where the patch is refused, Unavailable. A refused patch changes nothing.
    """
    mark = _mark(services, request)
    for _ in range(MAX_TRIES):
        state, commit_id = _present(services, request), f"{mark}-{services.ids.new()}"
        number = number_of(state["meta"], mark)
        if number is not None:
            return _first_answer(services, request, state["meta"], number)
        _check_open(request, state["meta"])
        fence = _attempt(request, state)
        planned = plan_patch(services, request.run_id, state, request.change, commit_id)
        if request.dry_run or planned.plan is None:
            return planned.view
        if _apply(services, request, state, replace(planned, expect=planned.expect + fence), commit_id):
            return planned.view
        services.pause(PAUSE_S * services.ids.uniform())
    raise Unavailable(f"Run {request.run_id} changes too fast for this patch just now; send it again.")


def revert_patch(services: Services, request: PatchRequest, number: int) -> dict[str, Json]:
    """Take patch `number` back by a new patch. Raises as patch_run, NotFound for a patch that is not there, and
    Conflict where a later patch has changed the same parts."""
    record = _record(services, request, number)
    before, after = services.plans.load(record.graph_before), services.plans.load(record.graph_after)

    def operations(plan: Plan) -> Json:
        return revert_operations(before.document, after.document, plan.document, number)

    description = request.change.description or f"Revert patch {number}"
    change = replace(request.change, operations=operations, description=description, reverts=number)
    return patch_run(services, replace(request, change=change))


def _mark(services: Services, request: PatchRequest) -> str:
    """How the ids of this request's commits begin, so that a repeat is known by it (HAZARDS 8). Each try has an id of
    its own: where the store lost the first one's commit, the journal must not take another for the same."""
    if request.once is None:
        return services.ids.new()
    text = f"{request.tenant}\0{request.run_id}\0{request.once}"
    return f"p{hashlib.sha256(text.encode()).hexdigest()[:23]}"


def _present(services: Services, request: PatchRequest) -> RunState:
    """The state to plan on; of a run that has ended and left the store only its meta. Raises NotFound, Unavailable."""
    for _ in range(MAX_TRIES):
        meta = ensure_present(services, request.run_id)
        if meta.get("tenant") != request.tenant:
            raise NotFound(f"There is no run {request.run_id[:64]}.")
        state = services.store.snapshot(request.run_id, PLANNING_HASHES)
        if state is not None or meta["status"] in ENDED:
            return state or {"meta": meta}
    raise Unavailable(f"The store loses run {request.run_id} again and again; send the request again.")


def _check_open(request: PatchRequest, meta: dict[str, str]) -> None:
    revision = int(meta["rev"])
    if meta["status"] in ENDED:
        raise Conflict(
            f"Run {request.run_id} is {meta['status']}: it can no longer be patched. Redrive it, or start a new run.",
            revision=revision,
        )
    if compensating(meta):
        text = (
            f"Run {request.run_id} is being rolled back: its graph stays as it is. Start a new run with your changes."
        )
        raise Conflict(text, revision=revision)
    if request.revisions is not None and revision not in request.revisions:
        text = f"The run's graph is at revision {revision} by now. Read it again, and base the patch on that."
        raise Conflict(text, revision=revision)


def _attempt(request: PatchRequest, state: RunState) -> tuple[Expectation, ...]:
    """What must still be so for the attempt that asks, if one does. Raises Forbidden once that has ended."""
    token = request.change.attempt
    if token is None:
        return ()
    record = state["tok"].get(token)
    if record is None:
        raise Forbidden("The attempt that this token was made for has ended: it changes the run no more.")
    return (("tok", token, record),)


def _apply(services: Services, request: PatchRequest, state: RunState, planned: Planned, commit_id: str) -> bool:
    """Commit, journal, and start what became ready. False where the run has changed since."""
    assert planned.plan is not None
    services.plans.save(planned.plan)
    item = act(
        services,
        request.run_id,
        request.actor,
        state["meta"],
        planned.draft,
        commit_id=commit_id,
        expect=planned.expect,
    )
    if item is None:
        return False
    if state["meta"]["status"] != "PAUSED":
        send_opened(services, request.run_id, item)
    deadline = planned.draft.meta.get("timeout_at")
    if deadline:
        services.store.put_due({f"run:{request.run_id}": int(deadline)})
    return True


def send_opened(services: Services, run_id: str, item: Item) -> None:
    """Let the coordinator go on with the tokens that a patch's commit created."""
    now = {**item.body, **item.body["meta"]}
    jobs = [
        job_id(Job(run_id, emit[0], item.no, item.id, now["gen"], int(now["rev"]), now["graph"]), services.secret)
        for emit in item.opened()
    ]
    parts = [jobs[i : i + CHUNK] for i in range(0, len(jobs), CHUNK)]
    services.queues.send([Outgoing("completion-signals", continue_text(part)) for part in parts])


def _first_answer(services: Services, request: PatchRequest, meta: dict[str, str], number: int) -> dict[str, Json]:
    """A repeat: what the first try began is finished, and its answer given again."""
    record = find_patch(services, request.run_id, meta, number)  # it is in the journal: only now may anything leave
    send_waiting(services, request.run_id, services.clock.now_ms())
    return record.answer


def _record(services: Services, request: PatchRequest, number: int) -> PatchRecord:
    state = _present(services, request)
    return find_patch(services, request.run_id, state["meta"], number)
