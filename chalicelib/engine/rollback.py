"""Rollback asked for by a person: one commit that cancels what is outstanding; the coordinator undoes the rest."""

from __future__ import annotations

import json
from typing import Any

from chalicelib.domain.commit import Draft, Event
from chalicelib.domain.compensation import PHASE, begun, compensating
from chalicelib.domain.errors import Conflict, Unavailable
from chalicelib.domain.reset import reopen
from chalicelib.domain.state import ENDED
from chalicelib.engine.acting import act, as_begun
from chalicelib.engine.controls import MAX_TRIES, send_waiting
from chalicelib.engine.rebuild import ensure_present
from chalicelib.engine.redo import bring_back
from chalicelib.engine.run_records import RECORD_META
from chalicelib.engine.services import Services

Json = Any
Meta = dict[str, str]


def rollback_run(services: Services, run_id: str, actor: str) -> None:
    """Undo what the run has completed, newest first, and end it FAILED. What is outstanding is cancelled first; a run
    that has ended is taken up again. Asking again meanwhile changes nothing; a rollback that was cut off goes on.

    Raises NotFound, Conflict where the run has been rolled back, Unavailable.
    """
    for _ in range(MAX_TRIES):
        meta = ensure_present(services, run_id)
        if compensating(meta) or _begin(services, run_id, actor, meta):
            send_waiting(services, run_id, services.clock.now_ms())
            return
    raise Unavailable(f"Run {run_id} changed too often meanwhile; send the request again.")


def _begin(services: Services, run_id: str, actor: str, meta: Meta) -> bool:
    """False where the run has changed since `meta` was read."""
    ended = meta["status"] in ENDED
    if ended:
        meta = bring_back(services, run_id, ("meta",))["meta"]
    if "rollback" in meta:
        raise Conflict(f"Run {run_id} has been rolled back already, {meta['rollback']}: start a new run.")
    now = services.clock.now_ms()
    event = Event("run_resumed", data={"phase": PHASE})
    draft = reopen(Draft(cancel_all=True), {"meta": meta}, int(meta["epoch"]), event, now)
    # Whoever journals the commit lists the run as live again.
    draft.meta |= {name: meta[name] for name in RECORD_META if name in meta}
    draft.meta |= begun(meta, _error(meta, actor), now)
    if act(services, run_id, actor, meta, draft, expect=as_begun(meta), reopen=ended) is None:
        return False
    if "timeout_at" in draft.meta:
        services.store.put_due({f"run:{run_id}": int(draft.meta["timeout_at"])})
    return True


def _error(meta: Meta, actor: str) -> dict[str, Json]:
    """What the run ends with. A failure before it stays readable; a rollback that goes on keeps its error."""
    before = json.loads(meta["error"]) if meta.get("error") else None
    if before is not None and "phase" in meta and before["type"] != "Timeout":
        return dict(before)
    text = f"Rolled back by {actor}"
    if before is not None:
        text += f", after {before['type']}: {before.get('message', '')}"
    return {"type": "Cancelled", "message": text, "node_id": (before or {}).get("node_id")}
