"""Starts a new run from a point of an old one, with its completed outputs, and optionally another input or a patch."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.domain.commit import body as commit_body
from chalicelib.domain.commit import compact
from chalicelib.domain.errors import InvalidInput, NotFound, Problem
from chalicelib.domain.fold import State, creation_head, fold
from chalicelib.domain.forking import first_dispatch, fork_draft, snapshot_of
from chalicelib.domain.journal import Item, compose, parse_item
from chalicelib.engine.controls import resume_run, send_waiting
from chalicelib.engine.flush import journal_item
from chalicelib.engine.history import load_items
from chalicelib.engine.patch_planning import plan_patch
from chalicelib.engine.patch_terms import Change
from chalicelib.engine.patches import PatchRequest, patch_run
from chalicelib.engine.rearm import rearm
from chalicelib.engine.run_list import announce_day
from chalicelib.engine.run_records import run_records
from chalicelib.engine.runs import run_input
from chalicelib.engine.services import Services

Json = Any
#: Bytes of a snapshot that the first journal item holds itself; a larger one is an artifact.
SNAPSHOT_BYTES = 200 * 1024


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """Where to fork: exactly one of `from_seq` and `from_node`. `has_input`: `input` replaces the old run's."""

    tenant: str
    actor: str
    run_id: str
    from_seq: int | None = None
    from_node: str | None = None
    has_input: bool = False
    input: Json = None
    #: A patch of the fork, applied before anything of it begins.
    change: Change | None = None


def fork_run(services: Services, request: ForkRequest, new_id: str) -> str:
    """Create the fork under `new_id` and let it begin. Raises NotFound, InvalidInput, Unavailable."""
    items = load_items(services, request.run_id)
    if not items:
        raise NotFound(f"There is no run {request.run_id}.")
    seq = _point(request, items)
    state = fold(item for item in items if item.seq <= seq)
    text = _creation(services, request, state)
    first = parse_item(text)
    if request.change is not None:  # a patch that is refused leaves no run behind
        plan_patch(services, new_id, _state(services, first), request.change, services.ids.new())
    announce_day(services.directory, request.tenant, first.body["at"])
    refused = services.journal.append([journal_item(new_id, text)], run_records(new_id, first.body["meta"]))
    if not refused:
        services.store.install(new_id, _state(services, first))
        rearm(services, new_id)
    if request.change is None:
        send_waiting(services, new_id, services.clock.now_ms())
        return new_id
    patch_run(services, PatchRequest(request.tenant, request.actor, new_id, request.change, once="fork"))
    resume_run(services, new_id, request.actor)
    return new_id


def _state(services: Services, first: Item) -> State:
    """What the fork begins as."""
    snapshot = first.body["snapshot"]
    if "ref" in snapshot:
        snapshot = json.loads(services.artifacts.get(snapshot["ref"]))
    return fold([replace(first, body={**first.body, "snapshot": snapshot})])


def _point(request: ForkRequest, items: list[Item]) -> int:
    """The last seq that the fork takes over; one inside a commit is rounded to the commit's end."""
    if request.from_node is not None:
        seq = first_dispatch(items, request.from_node)
        if seq is None:
            problem = Problem("not_begun", "/from_node", "Name a node that has begun in this run.")
            raise InvalidInput(f"Node {request.from_node} never began in run {request.run_id}.", (problem,))
        return seq
    last = items[-1].seq + items[-1].events - 1
    seq = request.from_seq if request.from_seq is not None else last
    if not 1 <= seq <= last:
        problem = Problem("bad_seq", "/from_seq", f"Send a seq from 1 to {last}.")
        raise InvalidInput(f"Run {request.run_id} has no event {seq}.", (problem,))
    return seq


def _creation(services: Services, request: ForkRequest, state: State) -> str:
    now, commit_id = services.clock.now_ms(), services.ids.new()
    meta = state["meta"]
    plan = services.plans.load(meta["graph"])
    origin = {"run_id": request.run_id, "seq": int(meta["seq"])}
    draft = fork_draft(plan, state, origin)
    if "phase" in meta or "rollback" in meta:
        text = f"Run {request.run_id} was being rolled back at that point: fork from an earlier one."
        raise InvalidInput(text)
    if not draft.emits:
        raise InvalidInput(f"Nothing was outstanding in run {request.run_id} at that point: fork from an earlier one.")
    draft.meta |= {
        "gen": commit_id,
        "graph": plan.hash,
        "rev": "0",
        "tenant": request.tenant,
        "created_at": str(now),
        "actor": request.actor,
        "forked_from": compact(origin),
        "forked_no": meta["no"],
    }
    if request.has_input:
        draft.meta = {name: value for name, value in draft.meta.items() if name not in ("input", "input_ref")}
        draft.meta |= run_input(services, request.input, plan)
    if request.change is not None:
        draft.meta["status"] = "PAUSED"
    draft.snapshot = _kept(services, state)
    text = commit_body(draft, commit_id=commit_id, at=now, gen=commit_id, graph=plan.hash, rev=0, actor=request.actor)
    events = json.loads(text)["n"]
    return compose(creation_head(commit_id, events, no=int(meta["no"]) + 1), text)


def _kept(services: Services, state: State) -> dict[str, Json]:
    """The snapshot itself, or where it is."""
    snapshot = snapshot_of(state)
    text = compact(snapshot)
    return snapshot if len(text) <= SNAPSHOT_BYTES else {"ref": services.artifacts.put(text.encode())}
