"""Gathers what an explanation of a run is made of: its state, its task queues' depths, when it was paused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.domain.children import calls, child_run_id
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.explain import MOST, Facts, explain
from chalicelib.domain.ids import job_id, parse_token
from chalicelib.domain.ir import Plan
from chalicelib.domain.journal import parse_item
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
#: Newest events that are searched for the pause of a paused run.
BACK = 1000


def explain_run(services: Services, tenant: str, run_id: str) -> dict[str, Json]:
    """`GET /runs/{id}/explain`. Raises NotFound, Unavailable."""
    state, plan = read(services, tenant, run_id, HASHES)
    facts = Facts(
        run_id,
        state,
        plan,
        services.clock.now_ms(),
        _depths(services, plan, state),
        _paused_at(services, run_id, state["meta"]),
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


def _paused_at(services: Services, run_id: str, meta: Mapping[str, str]) -> int | None:
    """When a paused run was paused; None where that is too long ago to look for."""
    if meta["status"] != "PAUSED":
        return None
    after = max(0, int(meta["seq"]) - BACK)
    for item in reversed(services.journal.read(run_id, after)):
        body = parse_item(item.text).body
        if any(event["t"] == "run_paused" for event in json.loads(body.get("ev") or "[]")):
            return int(body["at"])
    return None
