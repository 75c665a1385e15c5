"""Child runs of `workflow` nodes: what a call reaches, starting the child, its end, and stopping it (HAZARDS 16).

The commit that begins a call fixes the child: its id follows from the call's job, the rest is in the token's data.
Whoever comes first writes the child's first journal item: its start, or its cancellation before it began.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from chalicelib.domain.children import CALL, Called, child_run_id, outcome_of, parent_job, parent_text
from chalicelib.domain.commit import compact
from chalicelib.domain.errors import Conflict, GraftError, NotFound, TaskError, Unavailable
from chalicelib.domain.ids import ARM, Job, Token, job_id, parse_token
from chalicelib.domain.ir import Plan
from chalicelib.domain.journal import parse_item
from chalicelib.domain.limits import lowered
from chalicelib.domain.node_kinds import node_at
from chalicelib.domain.outcome import Outcome
from chalicelib.domain.records import parse_began
from chalicelib.domain.state import ENDED
from chalicelib.engine.catalog import Catalog
from chalicelib.engine.controls import cancel_run
from chalicelib.engine.directory_keys import run_head_key
from chalicelib.engine.flush import flush_run
from chalicelib.engine.history import read_items
from chalicelib.engine.outstanding import is_outstanding
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.rebuild import ensure_present
from chalicelib.engine.runs import StartRequest, refuse_run, start_run
from chalicelib.engine.services import Services
from chalicelib.engine.store_calls import ReadCall

Json = Any
log = logging.getLogger("graft.children")


def resolve_call(
    services: Services, plan: Plan, token: Token, meta: Mapping[str, str | None]
) -> Called | TaskError | None:
    """What a call that is about to begin reaches in its tenant's catalog, or its error; None for other tokens.

    Raises NotFound, Unavailable.
    """
    if not token.node.startswith(ARM) or (node := node_at(plan, token)).type != CALL:
        return None
    own = lowered(services.limits, plan.document).child_depth
    left = min(own, int(meta.get("depth_left") or own))
    reference = node.config.value["workflow"]
    try:
        version = Catalog(services.directory, meta["tenant"] or "").named(reference)
    except NotFound as error:
        return TaskError("NotFound", f"{error.detail} Save it, or correct /config/workflow.", retryable=False)
    called = services.plans.load(version.hash)
    schema, most = called.document.get("input_schema"), lowered(services.limits, called.document).artifact_bytes
    return Called(version.name, version.version, version.hash, schema, left, most)


def start_child(services: Services, job: Job) -> None:
    """Start the child of a call that waits, unless it has begun. Repeating it is harmless. Raises Unavailable."""
    answer = services.store.read([ReadCall(job.run_id, 0, meta=("tenant", "actor"), tokens=(job.token,))])[0]
    record = answer.tokens.get(job.token) if answer.found else None
    data = parse_began(record).data if record else {}
    if not data or _has_begun(services, child_run_id(job)):
        return
    try:
        start_run(services, _request(services, job, data, answer.meta))
    except Unavailable:
        raise
    except GraftError as error:
        log.exception("a child run could not be started", extra={"run_id": job.run_id, "token": job.token})
        _fail(services, job, error)


def _has_begun(services: Services, child: str) -> bool:
    """Whether the child's first step was made, so that others look after it: not whether it has a second commit, for an
    event may come before that step."""
    head = services.directory.get(run_head_key(child))
    return head is not None and (head["status"] in ENDED or ensure_present(services, child)["status"] != "PENDING")


def _request(services: Services, job: Job, data: dict[str, Json], meta: Mapping[str, str | None]) -> StartRequest:
    """The same for every repeat: whether it starts the child or refuses it."""
    given = data["input"] if "input" in data else json.loads(services.artifacts.get(data["input_ref"]))
    return StartRequest(
        tenant=meta.get("tenant") or "",
        actor=meta.get("actor") or "graft",
        plan=services.plans.load(data["plan"]),
        workflow={"name": data["workflow"], "version": data["version"]},
        input=given,
        run_id=child_run_id(job),
        name=data["workflow"],
        parent=job,
        left=data["left"],
    )


def _fail(services: Services, job: Job, error: GraftError) -> None:
    """A child that can never start fails its call by a signal of its own."""
    raised = {"type": type(error).__name__, "message": error.detail, "retryable": False}
    head = {"version": "1.0", "job_id": job_id(job, services.secret), "run_id": job.run_id}
    message = {**head, "node_id": parse_token(job.token).node, "status": "failed", "error": raised}
    services.queues.send([Outgoing("completion-signals", compact(message))])


def child_outcome(services: Services, job: Job) -> Outcome | None:
    """What the child's end means to the call; None while it goes on. Raises Unavailable."""
    child = child_run_id(job)
    head = services.directory.get(run_head_key(child))
    if head is None or head["status"] not in ENDED:
        return None
    end = parse_item(services.journal.read(child, head["end_seq"] - 1, 1)[0].text)
    if end.body["meta"].get("parent") != parent_text(job):
        text = f"Run {child} exists, and this node did not start it."
        return Outcome(error={"type": "Conflict", "message": text, "retryable": True})
    return outcome_of(child, end)


def stop_child(services: Services, job: Job) -> None:
    """Cancel the child of a call that waits no more; one that has not begun never will. An end that is there stands.

    Raises Unavailable.
    """
    child = child_run_id(job)
    head = services.directory.get(run_head_key(child))
    if head is not None and head["status"] in ENDED:
        return
    if head is None and not _must_end(services, job):
        return
    meta = ensure_present(services, child)
    if meta.get("parent") != parent_text(job) or meta.get("detached"):
        return
    try:
        cancel_run(services, child, f"run:{job.run_id}")
    except Conflict:
        log.info("a child ended before it was cancelled", extra={"run_id": child})
    flush_run(services, child)  # whoever cancelled it before may have died before the journal knew


def _must_end(services: Services, job: Job) -> bool:
    """Refuse a child that has no journal. True where it was started at the same moment."""
    data = _data_of(services, job)
    if not data:
        return False
    return not refuse_run(services, _request(services, job, data, ensure_present(services, job.run_id)))


def _data_of(services: Services, job: Job) -> dict[str, Json]:
    """What the call's token held, from the journal: the store forgets it with the token."""
    for item in read_items(services, job.run_id):
        if (item.no, item.id) == (job.no, job.commit):
            found = [emit[3] for emit in parse_item(item.text).opened() if emit[0] == job.token]
            return json.loads(found[0]) if found and found[0] else {}
    return {}


def stop_if_orphaned(services: Services, meta: Mapping[str, str]) -> None:
    """End a live child whose call waits no more, though nobody told it (HAZARDS 16). Raises Unavailable."""
    if meta.get("parent") and not meta.get("detached"):
        job = parent_job(meta["parent"])
        if not is_outstanding(services, job):
            stop_child(services, job)
