"""Deadlines of attempts and runs: the members of the deadline index, and writing them anew after a rebuild."""

from __future__ import annotations

import logging

from chalicelib.domain.errors import GraftError
from chalicelib.domain.ids import Job, Token, job_id, parse_token
from chalicelib.domain.ir import Node
from chalicelib.domain.node_kinds import attempted
from chalicelib.domain.pauses import is_held
from chalicelib.domain.records import parse_began
from chalicelib.engine.services import Services

log = logging.getLogger("graft.step")


def attempt_deadlines(services: Services, node: Node, job: Job, at_ms: int, beat_ms: int) -> dict[str, int]:
    """Index members of an attempt that began at `at_ms` and was last heard of at `beat_ms`; {} without limits."""
    if node.timeout_ms is None and node.heartbeat_ms is None:
        return {}
    name = job_id(job, services.secret)
    due: dict[str, int] = {}
    if node.timeout_ms is not None:
        due[f"attempt:{name}"] = at_ms + node.timeout_ms
    if node.heartbeat_ms is not None:
        due[f"heartbeat:{name}"] = beat_ms + node.heartbeat_ms
    return due


def heard_of(services: Services, job: Job, token: Token) -> dict[str, int]:
    """The index member by which an attempt's heartbeat deadline moves, now that its worker was heard of; {} without."""
    try:
        node = attempted(services.plans.load(job.graph), token)
    except GraftError:
        log.warning("a heartbeat was lost: its graph could not be read", extra={"run_id": job.run_id})
        return {}
    if node is None or node.heartbeat_ms is None:
        return {}
    now = services.clock.now_ms()
    due = attempt_deadlines(services, node, job, now, now)
    return {name: at for name, at in due.items() if name.startswith("heartbeat:")}


def rearm(services: Services, run_id: str, *, only_new: bool = False) -> None:
    """Write the deadlines of a rebuilt run. A heartbeat counts from now: beats are not journaled (HAZARDS 18).

    What began in the pause that the run is in gets none, nor does what is not known to be journaled: the step that
    began it does that, and no signal of its end may leave before (DESIGN 1). With `only_new` deadlines that the index
    has stay as they are, and what a pause holds back besides gets none either: it is not known to have been sent.
    """
    state = services.store.snapshot(run_id, ("meta", "tok", "ready"))
    if state is None:
        return
    meta, now = state["meta"], services.clock.now_ms()
    holding = only_new and meta["status"] == "PAUSED"
    due = {f"run:{run_id}": int(meta["timeout_at"])} if meta.get("timeout_at") else {}
    for name, record in state["tok"].items():
        began, token = parse_began(record), parse_token(name)
        node = attempted(services.plans.load(began.graph), token)
        unsent = holding and began.kind == "t" and state["ready"].get(name, "").startswith("r")
        known = began.no <= int(meta["mark"])
        if not known or unsent or is_held(meta, began) or node is None or began.kind not in ("t", "w", "h"):
            continue
        due |= attempt_deadlines(services, node, began.job(run_id, name), began.at_ms, now)
    if due:
        services.store.put_due(due, only_new=only_new)


def disarm(services: Services, run_id: str) -> None:
    """Forget the deadlines of a run that is over, also those that are far off. Repeating it is harmless."""
    state = services.store.snapshot(run_id, ("meta", "dis"))
    if state is None:
        return
    members = [f"run:{run_id}"] if state["meta"].get("timeout_at") else []
    for name, record in state["dis"].items():
        began, token = parse_began(record), parse_token(name)
        node = attempted(services.plans.load(began.graph), token) if began.kind in ("t", "w", "h") else None
        if node is not None:
            members += attempt_deadlines(services, node, began.job(run_id, name), 0, 0)
    if members:
        services.store.drop_due(members)
