"""Routes of saved workflows: validate, save, list, read."""

from __future__ import annotations

from typing import Any

from chalice.app import Blueprint

from chalicelib.api.call import Call, check_name
from chalicelib.api.compiling import compile_document, graph_view
from chalicelib.api.endpoint import operation
from chalicelib.api.idempotency import pinned
from chalicelib.api.problems import Answer
from chalicelib.api.table import PREFIX
from chalicelib.domain.compiler import check
from chalicelib.domain.errors import InvalidInput, Problem
from chalicelib.domain.ir import Plan
from chalicelib.domain.journal import timestamp
from chalicelib.engine.catalog import Catalog, Version
from chalicelib.engine.run_reader import read_state

Json = Any
blueprint = Blueprint(__name__)


@operation(blueprint)
def validate_workflow(call: Call) -> Answer:
    """Compile, run nothing. The answer is 200 whether the document is valid or not."""
    body = call.json()
    document = body["workflow"] if isinstance(body, dict) and "workflow" in body and "nodes" not in body else body
    services = call.services
    plan, problems, warnings = check(
        document, limits=services.limits, handlers=services.has_handler, queues=services.has_queue
    )
    return Answer(
        {
            "valid": plan is not None,
            "errors": [problem.as_json() for problem in problems],
            "warnings": [warning.as_json() for warning in warnings],
            "graph": None if plan is None else graph_view(plan),
        }
    )


@operation(blueprint)
def save_workflow(call: Call) -> Answer:
    """Save a version: of a document, or of the graph that a run has now. Content that has a version gets that one."""
    body = call.members("workflow", "run_id", "tag", required=("name",))
    name = check_name(body["name"], "/name")
    tag = check_name(body["tag"], "/tag") if body.get("tag") is not None else None
    plan = _given(call, body)
    call.services.plans.save(plan)
    catalog, now = catalog_of(call), call.services.clock.now_ms()
    version = catalog.save(name, plan.hash, by=call.actor, at=now)
    if tag is not None:
        catalog.tag(name, tag, version.version, by=call.actor, at=now)
    return saved_answer(call, version, plan, tag)


def saved_answer(call: Call, version: Version, plan: Plan, tag: str | None = None) -> Answer:
    """What the saving of a version is answered with."""
    view = {**version_view(version), "tag": tag, "warnings": [dict(warning) for warning in plan.warnings]}
    location = f"{call.services.public_url}{PREFIX}/workflows/{version.name}?version={version.version}"
    return Answer(view, 201, {"Location": location, "ETag": f'"{version.version}"'})


def _given(call: Call, body: dict[str, Json]) -> Plan:
    """The document of the body, or that of a run, compiled."""
    if ("workflow" in body) == ("run_id" in body):
        problem = Problem("one_of", "/workflow", "Send one of workflow and run_id.")
        raise InvalidInput("A version is saved from a document or from a run.", (problem,))
    if "workflow" in body:
        return compile_document(call, body["workflow"])
    run_id = check_name(body["run_id"], "/run_id")
    graph = read_state(call.services, call.tenant, run_id)["meta"]["graph"]
    # The run may be patched meanwhile: a repeat saves what the first try has seen.
    return compile_document(call, call.services.plans.load(pinned(call, call.scope, "graph", graph)).document)


@operation(blueprint)
def list_workflows(call: Call) -> Answer:
    """A page of workflows, by name."""
    limit = call.whole("limit", 50, 1, 200)
    found = catalog_of(call).page(limit + 1, call.query.get("cursor") or None)
    items = [
        {
            "name": record["name"],
            "version": record["latest"],
            "hash": record["hash"],
            "updated_at": timestamp(record["updated_at"]),
            "updated_by": record["updated_by"],
        }
        for record in found[:limit]
    ]
    return Answer({"items": items, "next_cursor": items[-1]["name"] if len(found) > limit else None})


@operation(blueprint)
def get_workflow(call: Call) -> Answer:
    """One version with its document and the workflow's tags."""
    name, catalog = call.name("name"), catalog_of(call)
    number = call.whole("version", 0, 1, 99_999_999) or None
    version = catalog.find(name, version=number, tag=call.query.get("tag"))
    plan = call.services.plans.load(version.hash)
    view = {**version_view(version), "tags": catalog.tags(name), "workflow": plan.document}
    return Answer(view, headers={"ETag": f'"{version.version}"'})


def catalog_of(call: Call) -> Catalog:
    """The caller's workflows."""
    return Catalog(call.services.directory, call.tenant)


def version_view(version: Version) -> dict[str, Json]:
    """A version as every answer shows it."""
    return {
        "name": version.name,
        "version": version.version,
        "hash": version.hash,
        "created_at": timestamp(version.created_at),
        "created_by": version.created_by,
    }
