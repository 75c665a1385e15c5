"""What the beginning of a wait asks for: a human node's entry in its tenant's list, a call's child run.

Entries are hints; the runs themselves say what still waits.
"""

from __future__ import annotations

from chalicelib.domain.children import CALL
from chalicelib.domain.ids import Job, parse_token
from chalicelib.domain.node_kinds import node_at
from chalicelib.domain.records import parse_began
from chalicelib.engine.children import start_child
from chalicelib.engine.directory_keys import approval_key
from chalicelib.engine.services import Services


def make_known(services: Services, job: Job) -> None:
    """List a human node that waits, start the child of a call. Repeating it is harmless. Raises Unavailable."""
    token = parse_token(job.token)
    kind = node_at(services.plans.load(job.graph), token).type
    if kind == CALL:
        start_child(services, job)
    if kind != "human":
        return
    state = services.store.snapshot(job.run_id, ("meta", "tok"))
    record = state["tok"].get(job.token) if state else None
    if state is None or record is None:
        return
    began = parse_began(record)
    if "quorum" not in began.data:  # a failed node that is about to be skipped asks nobody
        return
    key = approval_key(state["meta"]["tenant"], began.at_ms, job.run_id, job.token)
    services.directory.put(key, {"run_id": job.run_id, "token": job.token})
