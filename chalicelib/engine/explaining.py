"""Gathers what an explanation of a run is made of: its state, its task queues' depths, how its children stand."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.children import calls, child_run_id
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.explain import MOST, explain
from chalicelib.domain.explain_facts import Facts
from chalicelib.domain.ids import job_id, parse_token
from chalicelib.domain.ir import Plan
from chalicelib.domain.node_kinds import attempted
from chalicelib.domain.records import parse_began
from chalicelib.domain.state import ENDED
from chalicelib.engine.directory_keys import run_head_key
from chalicelib.engine.ports import RunState
from chalicelib.engine.run_reader import read
from chalicelib.engine.services import Services
from chalicelib.engine.views import run_error

Json = Any
#: What it reads of the run.
HASHES = ("meta", "tok", "dis", "done", "jn", "ed", "box", "ready")


def explain_run(services: Services, tenant: str, run_id: str) -> dict[str, Json]:
    """`GET /runs/{id}/explain`. Raises NotFound, Unavailable."""
    state, plan = read(services, tenant, run_id, HASHES)
    facts = Facts(
        run_id,
        state,
        plan,
        services.clock.now_ms(),
        _depths(services, plan, state),
        lambda job: job_id(job, services.secret),
        services.plans.load,
        _children(services, run_id, plan, state),
    )
    return {**explain(facts), "error": run_error(state["meta"].get("error"))}


def _depths(services: Services, plan: Plan, state: RunState) -> dict[str, int | None]:
    """How many messages are on the queues that outstanding tasks are on."""
    if state["meta"]["status"] in ENDED:
        return {}
    nodes = [attempted(plan, token) for token in map(parse_token, state["tok"])]
    queues = sorted({node.queue for node in nodes if node is not None and node.queue})
    return {queue: _depth(services, queue) for queue in queues}


def _children(services: Services, run_id: str, plan: Plan, state: RunState) -> dict[str, str]:
    """How the children stand that outstanding calls wait for."""
    waiting = calls(plan, state["tok"])[:MOST]
    jobs = {token: parse_began(state["tok"][token]).job(run_id, token) for token in waiting}
    return {token: _status(services, child_run_id(job)) for token, job in jobs.items()}


def _status(services: Services, run_id: str) -> str:
    stored = services.store.snapshot(run_id, ("meta",))
    if stored is not None:
        return stored["meta"]["status"]
    head = services.directory.get(run_head_key(run_id))
    return head["status"] if head else "PENDING"


def _depth(services: Services, queue: str) -> int | None:
    try:
        return services.queues.depth(queue)
    except Unavailable:
        return None
