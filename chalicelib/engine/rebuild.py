"""Brings a run that the store lost, or holds in an older state, back from its journal (DESIGN 1, HAZARDS 4)."""

from __future__ import annotations

import logging

from chalicelib.domain.errors import NotFound
from chalicelib.domain.state import ENDED
from chalicelib.engine.history import load_state
from chalicelib.engine.services import Services

log = logging.getLogger("graft.rebuild")


def ensure_present(services: Services, run_id: str) -> dict[str, str]:
    """The run's meta from the store; a live run that is missing there is rebuilt first. Raises NotFound.

    An ended run is never installed again (HAZARDS 17): its meta comes from the journal.
    """
    state = services.store.snapshot(run_id, ("meta",))
    if state is not None:
        return state["meta"]
    folded = load_state(services, run_id)
    if not folded["meta"]:
        raise NotFound(f"There is no run {run_id}.")
    if folded["meta"]["status"] not in ENDED:
        services.store.install(run_id, folded)
        log.warning("a run was rebuilt from its journal", extra={"run_id": run_id, "no": folded["meta"]["no"]})
    return folded["meta"]
