"""Starting a run: its first journal item decides repeats, then the store and the coordinator follow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.children import parent_text
from chalicelib.domain.commit import Event, compact
from chalicelib.domain.commit import body as commit_body
from chalicelib.domain.errors import Conflict, InvalidInput, TooLarge, Unavailable
from chalicelib.domain.fold import creation_head, fold
from chalicelib.domain.ids import START, Job, Token, derived_run_id, job_id
from chalicelib.domain.input_schema import input_problems
from chalicelib.domain.ir import Plan
from chalicelib.domain.journal import compose, parse_item
from chalicelib.domain.lifecycle import create_draft
from chalicelib.domain.limits import lowered
from chalicelib.domain.state import ENDED
from chalicelib.engine.directory_keys import run_head_key
from chalicelib.engine.flush import ending_records, journal_item
from chalicelib.engine.places import enter
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.run_list import announce_day
from chalicelib.engine.run_records import run_records
from chalicelib.engine.services import Services
from chalicelib.engine.signals import continue_text

Json = Any


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a start needs. `workflow` is {"name", "version"}; both null for a document given inline."""

    tenant: str
    actor: str
    plan: Plan
    workflow: dict[str, Json]
    input: Json = None
    run_id: str | None = None
    idempotency_key: str | None = None
    timeout_ms: int | None = None
    name: str | None = None
    #: For a child run: the waiting call, and the levels of child runs that may be below the child.
    parent: Job | None = None
    left: int | None = None
    #: Of a saved workflow whose runs may have to wait for a place, the one of the highest priority (-100 to 100) first.
    limited: bool = False
    priority: int = 0

    def digest(self) -> str:
        """What two starts under one key must agree in."""
        parts = [self.plan.hash, self.workflow, self.input, self.timeout_ms, self.name]
        parts += [self.priority] if self.priority else []
        return hashlib.sha256(compact(parts).encode()).hexdigest()


def start_run(services: Services, request: StartRequest) -> str:
    """Create the run, or find the one that the same request created. Returns its id.

    Raises Conflict where the id or key was used with another request, InvalidInput, TooLarge, Unavailable.
    """
    schema = request.plan.document.get("input_schema")
    if schema is not None:
        check_input(schema, request.input)
    run_id = request.run_id or _fresh_id(services, request)
    services.plans.save(request.plan)
    text = _creation(services, request)
    item = parse_item(text)
    announce_day(services.directory, request.tenant, item.body["at"])
    if not services.journal.append([journal_item(run_id, text)], run_records(run_id, item.body["meta"])):
        launch(services, run_id, text)
    else:
        text = _existing(services, request, run_id)
        if not _has_ended(services, run_id):
            launch(services, run_id, text)
    return run_id


def _has_ended(services: Services, run_id: str) -> bool:
    """Whether a repeated start finds its run over: an ended run is never installed again (HAZARDS 17)."""
    record = services.directory.get(run_head_key(run_id))
    return record is not None and record["status"] in ENDED


def _fresh_id(services: Services, request: StartRequest) -> str:
    if request.idempotency_key:
        return derived_run_id(request.tenant, request.idempotency_key)
    return f"r{services.ids.new()}{services.ids.new()}"


def _existing(services: Services, request: StartRequest, run_id: str) -> str:
    """The first item of the run that is there already, if the same request made it."""
    items = services.journal.read(run_id, 0, 1)
    if not items:
        raise Unavailable(f"Run {run_id} is being created by another request; send it again.")
    meta = parse_item(items[0].text).body["meta"]
    if meta["tenant"] != request.tenant or meta["digest"] != request.digest():
        raise Conflict(f"Run {run_id} exists already and was started with another body. Choose another id or key.")
    return items[0].text


def refuse_run(services: Services, request: StartRequest) -> bool:
    """Write the whole history of a run that was cancelled before it began, so that no later start begins it
    (HAZARDS 16). False where it has begun. Raises TooLarge, Unavailable.
    """
    assert request.run_id is not None
    services.plans.save(request.plan)
    text = _creation(services, request, refused=True)
    item = parse_item(text)
    announce_day(services.directory, request.tenant, item.body["at"])
    journaled = journal_item(request.run_id, text)
    return not services.journal.append([journaled], ending_records([journaled]))


def _creation(services: Services, request: StartRequest, *, refused: bool = False) -> str:
    now, commit_id, plan = services.clock.now_ms(), services.ids.new(), request.plan
    draft = create_draft(plan)
    draft.meta = {
        "status": "PENDING",
        "gen": commit_id,
        "graph": plan.hash,
        "rev": "0",
        "epoch": "0",
        "tenant": request.tenant,
        "workflow": str(request.workflow.get("name") or ""),
        "version": str(request.workflow.get("version") or ""),
        "name": request.name or str(request.workflow.get("name") or ""),
        "created_at": str(now),
        "digest": request.digest(),
        "actor": request.actor,
        **run_input(services, request.input, plan),
    }
    if request.parent is not None:
        draft.meta |= {"parent": parent_text(request.parent), "depth_left": str(request.left or 0)}
    if request.limited:
        draft.meta |= {"limited": "1", "priority": str(request.priority)}
    timeout = request.timeout_ms or plan.timeout_ms
    if refused:
        draft.emits, draft.final = [], True
        draft.meta |= {"status": "CANCELLED", "finished_at": str(now)}
        draft.events.append(Event("run_cancelled"))
    elif timeout:
        draft.meta["timeout_at"] = str(now + timeout)
    text = commit_body(draft, commit_id=commit_id, at=now, gen=commit_id, graph=plan.hash, rev=0, actor=request.actor)
    return compose(creation_head(commit_id, len(draft.events)), text)


def run_input(services: Services, value: Json, plan: Plan) -> dict[str, str]:
    """A run's input as meta fields: inline, or a reference where it is large. Raises TooLarge, Unavailable."""
    text, limits = compact(value), lowered(services.limits, plan.document)
    if len(text) > limits.artifact_bytes:
        raise TooLarge(f"The input has {len(text)} bytes; {limits.artifact_bytes} are allowed.")
    if len(text) > limits.input_bytes:
        return {"input_ref": services.artifacts.put(text.encode())}
    return {"input": text}


def launch(services: Services, run_id: str, text: str) -> None:
    """Bring a journaled new run into the store and let the coordinator begin. Repeating it is harmless."""
    item = parse_item(text)
    services.store.install(run_id, fold([item]))
    timeout_at = item.body["meta"].get("timeout_at")
    if timeout_at:
        services.store.put_due({f"run:{run_id}": int(timeout_at)})
    if item.body["meta"].get("limited"):
        enter(services, run_id, item.body["meta"])
        return
    job = Job(run_id, Token(START).text, item.no, item.id, item.id, 0, item.body["graph"])
    message = continue_text([job_id(job, services.secret)])
    services.queues.send([Outgoing("completion-signals", message)])


def check_input(schema: Json, value: Json) -> None:
    """Raises InvalidInput with the places where the run's input breaks the workflow's input_schema."""
    problems = input_problems(schema, value)
    if problems:
        raise InvalidInput("The input does not fit the workflow's input_schema.", problems)
