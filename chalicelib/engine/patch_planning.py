"""Plans a patch against a run's state: the new graph, the Draft that brings it about, and what that rests on."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.agent_limits import count_agents
from chalicelib.domain.breakpoints import keep_breakpoints
from chalicelib.domain.capabilities import beyond_capabilities
from chalicelib.domain.commit import Draft, Event, compact
from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.errors import InvalidDocument, InvalidInput, Problem
from chalicelib.domain.ir import Plan
from chalicelib.domain.limits import Limits, lowered
from chalicelib.domain.patch_blame import blamed
from chalicelib.domain.patch_board import Board
from chalicelib.domain.patch_diff import Diff, diff_plans, written
from chalicelib.domain.patch_effects import PatchEffects, relied_on
from chalicelib.domain.patch_names import still_named
from chalicelib.domain.patch_operations import Applied, apply_operations
from chalicelib.domain.patch_preview import starting
from chalicelib.domain.patch_rules import Proposal, broken_rules
from chalicelib.domain.patch_shape import kept
from chalicelib.domain.patch_warnings import warnings_of
from chalicelib.engine.patch_terms import Change, Planned
from chalicelib.engine.patch_values import resolve_new_edges
from chalicelib.engine.ports import RunState
from chalicelib.engine.services import Services

Json = Any
#: Bytes of an event's data that a journal item carries; what is larger goes into an artifact.
EVENT_BYTES = 48 * 1024


def plan_patch(services: Services, run_id: str, state: RunState, change: Change, commit_id: str) -> Planned:
    """Plan the patch as commit `commit_id` on this state, which is of a live run.

    Raises InvalidInput or InvalidDocument naming every problem, Unavailable.
    """
    meta = state["meta"]
    old = services.plans.load(meta["graph"])
    limits = lowered(services.limits, old.document)
    operations = change.operations(old)
    applied = apply_operations(old.document, operations, limits.document_bytes)
    new = keep_breakpoints(old, _compiled(services, old, applied, limits))
    revision = int(meta["rev"]) + 1
    if new.hash == old.hash:
        return Planned(_view(run_id, revision - 1, diff_plans(old, new), old, new))
    if revision > limits.patches:
        text = f"The run has {revision - 1} patches, as many as it may have; start a new run with the graph you want."
        raise InvalidInput("The run takes no more patches.", (Problem("limit_exceeded", "/operations", text),))
    proposal = Proposal(old, new, diff_plans(old, new), Board(old, state), applied)
    problems = broken_rules(proposal) + beyond_capabilities(new, proposal.diff, applied, change.caps)
    counted, beyond = count_agents(proposal, limits, meta, change.author)
    _refuse(problems + beyond)
    draft = Draft(meta=counted)
    resolved = resolve_new_edges(services, run_id, proposal, revision, draft)
    PatchEffects(proposal, draft, revision).apply(resolved)
    view = _view(run_id, revision, proposal.diff, old, new)
    view["dispatched"] = starting(new, draft, state["jn"])
    view["warnings"] = [warning.as_json() for warning in warnings_of(proposal, meta["status"])]
    view["patch"] = revision
    _record(services, draft, view, operations, change, old, new)
    _change_run(draft, old, new, meta)
    place = {f"patch:{revision}": f"{commit_id}|{meta['seq']}", "graph": new.hash, "rev": str(revision)}
    draft.meta |= place
    return Planned(view, new, draft, tuple(relied_on(proposal)), commit_id, old)


def _compiled(services: Services, old: Plan, applied: Applied, limits: Limits) -> Plan:
    named = still_named(applied.document, written(old.document), applied)
    if named:
        raise InvalidInput(f"The patch cannot be applied: {named[0].message}", tuple(named))
    try:
        return compile_workflow(
            applied.document, limits=limits, handlers=services.has_handler, queues=services.has_queue
        )
    except InvalidDocument as error:
        raise InvalidDocument(
            f"The patched workflow does not compile: {_count(error.problems)}.", blamed(error.problems, applied)
        ) from None


def _count(problems: tuple[Problem, ...]) -> str:
    return "one problem" if len(problems) == 1 else f"{len(problems)} problems"


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise InvalidInput(f"The patch breaks {_count(tuple(problems)).replace('problem', 'rule')}.", tuple(problems))


def _view(run_id: str, revision: int, diff: Diff, old: Plan, new: Plan) -> dict[str, Json]:
    return {"run_id": run_id, "revision": revision, **diff.view(new, old), "dispatched": [], "warnings": []}


def _record(
    services: Services, draft: Draft, view: dict[str, Json], operations: Json, change: Change, old: Plan, new: Plan
) -> None:
    """The event that history and `GET /runs/{id}/patches` read; first of its commit."""
    data: dict[str, Json] = {
        "patch": view["patch"],
        "description": change.description,
        "graph_before": old.hash,
        "graph_after": new.hash,
    }
    if change.reverts is not None:
        data["reverts"] = change.reverts
    detail = {"operations": kept(operations), "answer": view}
    text = compact(detail)
    data |= detail if len(text) <= EVENT_BYTES else {"detail_ref": services.artifacts.put(text.encode())}
    kind = "patch_applied" if change.reverts is None else "patch_reverted"
    draft.events.insert(0, Event(kind, data=data))


def _change_run(draft: Draft, old: Plan, new: Plan, meta: dict[str, str]) -> None:
    """What a patch changes of the run besides its graph: its timeout, and variables that are new."""
    if old.timeout_ms != new.timeout_ms:
        if new.timeout_ms is None:
            draft.drop.append(("meta", "timeout_at"))
        else:
            draft.meta["timeout_at"] = str(int(meta["created_at"]) + new.timeout_ms)
    known = set(old.vars) | {name for node in old.nodes.values() for name in node.sets}
    draft.vars |= {name: value for name, value in new.vars.items() if name not in known}
