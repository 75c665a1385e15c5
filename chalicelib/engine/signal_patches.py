"""Patches that come with a task's completion: planned here, committed together with it (SPEC 7, HAZARDS 27)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from chalicelib.domain.agent_tools import node_capabilities
from chalicelib.domain.commit import Draft
from chalicelib.domain.errors import GraftError, InvalidDocument, InvalidInput, Problem
from chalicelib.domain.node_kinds import node_at
from chalicelib.domain.outcome import Outcome
from chalicelib.domain.state import ENDED
from chalicelib.engine.patch_terms import PLANNING_HASHES, Change, Planned
from chalicelib.engine.services import Services
from chalicelib.engine.signals import Work

Json = Any
log = logging.getLogger("graft.step")
#: Problems that a node's error carries.
MAX_ERRORS = 20
#: Characters of a reason.
MAX_DESCRIPTION = 4096


def plan_signals(services: Services, works: Iterable[Work], failed: set[int]) -> list[Work]:
    """Plan the patch of every work that brings one; such a work is decided on the patched graph from now on.

    A patch that is refused fails its node with `PatchRefused`. Returns the works that can go on.
    """
    ready: list[Work] = []
    for work in works:
        try:
            if work.patch is not None and work.planned is None:
                _plan(services, work)
            ready.append(work)
        except GraftError:
            log.exception("a signal's patch could not be planned", extra={"run_id": work.job.run_id})
            failed.add(work.origin)
    return ready


def _plan(services: Services, work: Work) -> None:
    # Planning compiles. Few signals bring a patch: without the compiler, a coordinator's cold start is a fifth shorter.
    from chalicelib.engine.patch_planning import plan_patch  # noqa: PLC0415

    state = services.store.snapshot(work.job.run_id, PLANNING_HASHES)
    meta = {} if state is None else state["meta"]
    if state is None or work.token.text not in state["tok"] or meta["status"] in ENDED:
        return  # settled before, or the store lost the run: the commit will tell
    work.job = replace(work.job, gen=meta["gen"], graph=meta["graph"], rev=int(meta["rev"]))
    try:
        plan = services.plans.load(meta["graph"])
        asking = node_at(plan, work.token) if work.token.node in plan.nodes else None
        change = _change(work, node_capabilities(asking))
        planned = plan_patch(services, work.job.run_id, state, change, services.ids.new())
    except (InvalidInput, InvalidDocument) as error:
        _refuse(work, error.detail, error.problems)
        return
    if planned.plan is None:
        work.patch = None
        return
    services.plans.save(planned.plan)
    work.planned = planned
    work.job = replace(work.job, graph=planned.plan.hash, rev=work.job.rev + 1)


def _change(work: Work, caps: Json) -> Change:
    raw = work.patch
    if not isinstance(raw, dict) or "operations" not in raw:
        raise InvalidInput("The signal's patch is not an object with operations and a description.")
    description = raw.get("description") or ""
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION:
        raise InvalidInput(f"The patch's description is not a text of at most {MAX_DESCRIPTION} characters.")
    operations = raw["operations"]
    return Change(lambda plan: operations, description, caps=caps, author=work.token.node)


def _refuse(work: Work, detail: str, problems: tuple[Problem, ...]) -> None:
    error: dict[str, Json] = {"type": "PatchRefused", "message": detail, "retryable": False}
    if problems:
        error["errors"] = [problem.as_json() for problem in problems[:MAX_ERRORS]]
    work.patch, work.outcome = None, Outcome(error=error, job=work.outcome.job, metadata=work.outcome.metadata)


def give_up_patch(work: Work) -> None:
    """The node did not complete after all: what it asked for is not done, and it is decided again without."""
    assert work.planned is not None
    assert work.planned.old is not None
    work.job = replace(work.job, graph=work.planned.old.hash, rev=work.job.rev - 1)
    work.patch = work.planned = None


def merged(planned: Planned, completion: Draft) -> Draft:
    """One draft that patches the run and settles the node on the new graph."""
    planned.draft.meta["gen"] = planned.commit_id
    found = Draft()
    for item in fields(Draft):
        first, second = getattr(planned.draft, item.name), getattr(completion, item.name)
        if isinstance(second, list):
            setattr(found, item.name, [*first, *second])
        elif isinstance(second, dict):
            setattr(found, item.name, {**first, **second})
        else:
            setattr(found, item.name, second)
    return found
