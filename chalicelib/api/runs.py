"""Routes that read runs: the list, one run, one node, the graph."""

from __future__ import annotations

from typing import Any, Final

from chalice.app import Blueprint

from chalicelib.api.call import Call, refused
from chalicelib.api.endpoint import operation
from chalicelib.api.problems import Answer
from chalicelib.domain.errors import NotFound
from chalicelib.domain.ids import job_id
from chalicelib.domain.state import RUN_TRANSITIONS
from chalicelib.engine.artifact_access import grant
from chalicelib.engine.execution_input import execution_input, item_reader
from chalicelib.engine.patch_history import graph_at
from chalicelib.engine.run_list import Filter, Page, list_children, list_item
from chalicelib.engine.run_list import list_runs as page_of
from chalicelib.engine.run_reader import NODE_VIEW, RUN_VIEW, read, read_state
from chalicelib.engine.views import artifact_refs, node_view, run_links, run_view

Json = Any
blueprint = Blueprint(__name__)
_STATUSES: Final = ", ".join(RUN_TRANSITIONS)


@operation(blueprint)
def list_runs(call: Call) -> Answer:
    """A page of runs. A page may hold fewer than `limit` and still have a next one."""
    services, status = call.services, call.query.get("status")
    if status is not None and status not in RUN_TRANSITIONS:
        raise refused("status", f"Send one of {_STATUSES}.")
    wanted = Filter(
        workflow=call.query.get("workflow"),
        status=status,
        since=call.time("since"),
        limit=call.whole("limit", 50, 1, 200),
        after=call.query.get("cursor") or None,
    )
    if call.query.get("parent") is not None:
        page = _children(call, call.query["parent"], wanted)
    else:
        page = page_of(services.directory, call.tenant, wanted, services.clock.now_ms())
    url = services.public_url
    items = [list_item(one, run_links(url, one["run_id"], one.get("parent"))) for one in page.records]
    return Answer({"items": items, "next_cursor": page.next})


def _children(call: Call, parent: str, wanted: Filter) -> Page:
    """The runs that one of the tenant's runs has called. Raises NotFound, InvalidInput."""
    for name in ("workflow", "status", "since"):
        if call.query.get(name) is not None:
            raise refused(name, "Leave it out: with parent, the list holds all children of that run.")
    read_state(call.services, call.tenant, parent)
    return list_children(call.services.directory, parent, wanted.limit, wanted.after)


@operation(blueprint)
def get_run(call: Call) -> Answer:
    """One run as it stands."""
    return run_answer(call)


def run_answer(call: Call) -> Answer:
    """The run of the call's path, as every route that gives a run shows it."""
    services, run_id = call.services, call.params["run_id"]
    state, plan = read(services, call.tenant, run_id, RUN_VIEW)
    grant(services.directory, call.tenant, artifact_refs(state["meta"]))
    return Answer(run_view(run_id, state, plan, services.public_url), headers=_etag(state["meta"]))


@operation(blueprint)
def get_graph(call: Call) -> Answer:
    """The run's workflow document, patches included; or as it was at an earlier revision."""
    services, run_id = call.services, call.params["run_id"]
    state, plan = read(services, call.tenant, run_id, ("meta",))
    revision = call.whole("revision", int(state["meta"]["rev"]), 0, 1 << 31)
    if revision != int(state["meta"]["rev"]):
        plan = services.plans.load(graph_at(services, run_id, state["meta"], revision))
    return Answer(plan.document, headers={"ETag": f'"{revision}"'})


@operation(blueprint)
def get_node(call: Call) -> Answer:
    """One node of a run."""
    services, run_id, node_id = call.services, call.params["run_id"], call.params["node_id"]
    state, plan = read(services, call.tenant, run_id, NODE_VIEW)
    if node_id not in plan.nodes:
        raise NotFound(f"Run {run_id} has no node {node_id[:64]}.")
    item_of = item_reader(services.artifacts, state)
    view, refs = node_view(
        run_id,
        state,
        plan,
        node_id,
        lambda job: job_id(job, services.secret),
        lambda token: execution_input(run_id, state, services.plans.load, token, item_of),
    )
    grant(services.directory, call.tenant, refs)
    return Answer(view)


def _etag(meta: dict[str, str]) -> dict[str, str]:
    return {"ETag": f'"{meta["rev"]}"'}
