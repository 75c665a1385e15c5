"""Routes that start runs: of a saved workflow, or of a document."""

from __future__ import annotations

from typing import Any

from chalice.app import Blueprint

from chalicelib.api.call import Call, check_count, check_name
from chalicelib.api.compiling import compile_document
from chalicelib.api.endpoint import operation
from chalicelib.api.idempotency import key_of, pinned
from chalicelib.api.problems import Answer
from chalicelib.domain.batch import batch_document
from chalicelib.domain.breakpoints import with_breakpoints
from chalicelib.domain.errors import Conflict, InvalidInput, Problem, TooLarge
from chalicelib.domain.ir import Plan
from chalicelib.domain.limits import lowered
from chalicelib.domain.priorities import priority_problems
from chalicelib.domain.schema import MAX_MS
from chalicelib.engine.catalog import Catalog, Version
from chalicelib.engine.directory_keys import run_head_key
from chalicelib.engine.runs import StartRequest
from chalicelib.engine.runs import start_run as begin
from chalicelib.engine.views import run_links

Json = Any
blueprint = Blueprint(__name__)
_BATCH = (
    "inputs", "items_ref", "run_id", "timeout_ms", "version", "tag", "max_concurrency", "tolerate_failures",
)  # fmt: skip
_MEMBERS = ("input", "run_id", "timeout_ms", "priority", "breakpoints", "version", "tag")
#: Breakpoints of one start.
MAX_BREAKPOINTS = 1000


@operation(blueprint)
def start_saved_run(call: Call) -> Answer:
    """Start a run of the latest version, or of the one chosen by number or tag."""
    body = call.members(*_MEMBERS)
    return _start_version(call, body, _chosen(call, body, call.name("name")))


@operation(blueprint)
def start_run(call: Call) -> Answer:
    """Start a run of a document given here, or of `name`, `name@3`, `name@tag`."""
    body = call.members(*_MEMBERS, required=("workflow",))
    given = body["workflow"]
    if isinstance(given, str):
        return _start_version(call, body, _chosen(call, body, given))
    for name in ("version", "tag"):
        if body.get(name) is not None:
            problem = Problem("no_version", f"/{name}", "Leave it out, or name a saved workflow.")
            raise InvalidInput("A document given here has no versions and tags.", (problem,))
    plan = compile_document(call, given)
    return _start(call, body, plan, {"name": plan.document.get("name"), "version": None})


@operation(blueprint)
def start_batch(call: Call) -> Answer:
    """Start a run that calls a saved workflow for each of many inputs."""
    body = call.members(*_BATCH)
    given = _inputs(call, body)
    version = _chosen(call, body, call.name("name"))
    number = pinned(call, call.scope, "version", version.version)
    policy = {name: body.get(name) for name in ("max_concurrency", "tolerate_failures")}
    plan = compile_document(call, batch_document(version.name, number, **policy))
    started = {"input": given, "run_id": body.get("run_id"), "timeout_ms": body.get("timeout_ms")}
    return _start(call, started, plan, {"name": None, "version": None})


def _inputs(call: Call, body: dict[str, Json]) -> Json:
    """A batch's inputs: a list, or the id of an artifact that is stored. Raises InvalidInput."""
    inputs, ref = body.get("inputs"), body.get("items_ref")
    if ref is None and isinstance(inputs, list):
        return inputs
    if inputs is None and isinstance(ref, str) and call.services.artifacts.exists(ref):
        return ref
    text = "Send a list under inputs, or under items_ref the id of an artifact that is stored: POST /artifacts."
    raise InvalidInput("A batch needs its inputs.", (Problem("no_inputs", "/inputs", text),))


def _chosen(call: Call, body: dict[str, Json], reference: str) -> Version:
    """The version that a name, or `name@…`, and the body's `version` or `tag` mean."""
    catalog = Catalog(call.services.directory, call.tenant)
    number, tag = body.get("version"), body.get("tag")
    if number is None and tag is None:
        return catalog.named(reference[:200])
    if number is not None:
        check_count(number, "/version", 99_999_999)
    return catalog.find(reference[:200], version=number, tag=None if tag is None else check_name(tag, "/tag"))


def _start_version(call: Call, body: dict[str, Json], version: Version) -> Answer:
    """Of the version that a first try under the same key has chosen, though a newer one may be the latest by now."""
    number = pinned(call, call.scope, "version", version.version)
    if number != version.version:
        version = Catalog(call.services.directory, call.tenant).version(version.name, number)
    plan = call.services.plans.load(version.hash)
    workflow = {"name": version.name, "version": version.version}
    return _start(call, body, plan, workflow, limited=version.limited)


def _start(
    call: Call, body: dict[str, Json], plan: Plan, workflow: dict[str, Json], *, limited: bool = False
) -> Answer:
    services = call.services
    _check_size(call, plan)
    key = key_of(call)
    request = StartRequest(
        tenant=call.tenant,
        actor=call.actor,
        plan=with_breakpoints(plan, _breakpoints(body.get("breakpoints"), plan)),
        workflow=workflow,
        input=body.get("input", {}),
        run_id=check_name(body["run_id"], "/run_id") if body.get("run_id") is not None else None,
        # Keys are kept per route and for a day: elsewhere, or used again later, the same key is another run.
        idempotency_key=None if key is None else f"{call.route.method} {call.path} {call.pins['at']} {key}",
        timeout_ms=_timeout(body.get("timeout_ms")),
        name=workflow["name"],
        limited=limited,
        priority=_priority(body.get("priority")),
    )
    try:
        run_id = begin(services, request)
    except Conflict:
        # One sentence for every case: it must not tell another tenant's run from one's own.
        problem = Problem("run_id_taken", "/run_id", "Choose another run_id or Idempotency-Key.")
        raise Conflict("This run_id or key is taken by a run with another body.", (problem,)) from None
    links = run_links(services.public_url, run_id)
    view = {"run_id": run_id, "status": _status(call, run_id), "links": links}
    return Answer(view, 202, {"Location": links["self"]})


def _check_size(call: Call, plan: Plan) -> None:
    """Raises TooLarge where the body is larger than the workflow takes."""
    limit = lowered(call.services.limits, plan.document).body_bytes
    if len(call.raw) > limit:
        raise TooLarge(f"The body has {len(call.raw)} bytes; this workflow's limits allow {limit}.")


def _status(call: Call, run_id: str) -> str:
    """As it stands now: a repeat may find the run at work, or over."""
    state = call.services.store.snapshot(run_id, ("meta",))
    if state is not None:
        return state["meta"]["status"]
    record = call.services.directory.get(run_head_key(run_id))
    return str(record["status"]) if record else "PENDING"


def _timeout(value: Json) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_MS:
        return value
    problem = Problem("bad_number", "/timeout_ms", f"Send milliseconds from 1 to {MAX_MS}.")
    raise InvalidInput("timeout_ms is not a time that a run can take.", (problem,))


def _breakpoints(value: Json, plan: Plan) -> list[str]:
    """The nodes that the run is to pause before. Raises InvalidInput naming each that the workflow does not have."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_BREAKPOINTS:
        problem = Problem("bad_breakpoints", "/breakpoints", f"Send a list of at most {MAX_BREAKPOINTS} node ids.")
        raise InvalidInput("breakpoints is not such a list.", (problem,))
    unknown = [place for place, name in enumerate(value) if not isinstance(name, str) or name not in plan.nodes]
    if unknown:
        text = "Name a node of the workflow by its id."
        problems = tuple(Problem("unknown_node", f"/breakpoints/{place}", text) for place in unknown[:50])
        raise InvalidInput("breakpoints names what is no node of the workflow.", problems)
    return value


def _priority(value: Json) -> int:
    if value is None:
        return 0
    problems = priority_problems(value)
    if problems:
        raise InvalidInput("priority is not such a number.", tuple(problems))
    return int(value)
