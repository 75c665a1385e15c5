"""Brings a run that the store lost, or holds in an older state, back from its journal (DESIGN 1, HAZARDS 4)."""

from __future__ import annotations

import logging

from chalicelib.domain.commit import Draft, Event
from chalicelib.domain.errors import GraftError, JournalRefused, NotFound, Unavailable
from chalicelib.domain.fold import State
from chalicelib.domain.state import ENDED
from chalicelib.engine.flush import flush_upto
from chalicelib.engine.history import load_state
from chalicelib.engine.outside import commit_outside
from chalicelib.engine.rearm import rearm
from chalicelib.engine.services import Services

log = logging.getLogger("graft.rebuild")

#: Times a rebuild is begun anew because the run moved on meanwhile.
MAX_TRIES = 5


def ensure_present(services: Services, run_id: str) -> dict[str, str]:
    """The run's meta from the store; a live run that is missing there is rebuilt first. Raises NotFound.

    An ended run is never installed again (HAZARDS 17): its meta comes from the journal.
    """
    state = services.store.snapshot(run_id, ("meta",))
    if state is not None:
        return state["meta"]
    folded = rebuild(services, run_id)
    if not folded["meta"]:
        raise NotFound(f"There is no run {run_id}.")
    state = services.store.snapshot(run_id, ("meta",))
    return folded["meta"] if state is None else state["meta"]


def rebuild(services: Services, run_id: str) -> State:
    """Make the store agree with the journal, and return the run's state as folded.

    What the store has and the journal has not is written first: a healthy run loses nothing. Only where the journal
    refuses it, so that the store must have fallen behind and moved on, is it given up; a journal that does not answer
    now ends the attempt. The store's state is replaced only if it has not changed since it was looked at; that of a run
    which has ended by its journal is removed, so that it is read from there (HAZARDS 17). Raises Unavailable when the
    journal does not answer, or the run changes too often.
    """
    for _ in range(MAX_TRIES):
        stored = services.store.snapshot(run_id, ("meta",))
        if stored is not None:
            _write_tail(services, run_id, stored["meta"])
        folded = load_state(services, run_id)
        if not folded["meta"] or position(stored["meta"] if stored else {}) == position(folded["meta"]):
            return folded
        if folded["meta"]["status"] in ENDED:
            if stored is not None:
                services.store.retire(run_id, position(stored["meta"]))
            return folded
        if services.store.install(run_id, folded, replaces=position(stored["meta"] if stored else {})):
            _announce(services, run_id, folded)
            return folded
    raise Unavailable(f"Run {run_id} changed too often while it was being rebuilt.")


def give_way(services: Services, run_id: str) -> None:
    """The journal refused what the store holds of a run: the store fell behind and moved on, so the journal's state
    replaces it. Where that cannot be done now, the next refusal or the sweep does it.
    """
    try:
        rebuild(services, run_id)
    except GraftError:
        log.exception("a run that is behind its journal could not be rebuilt", extra={"run_id": run_id})


def behind_journal(services: Services, run_id: str, meta: dict[str, str]) -> bool:
    """Whether the journal went another way than to `meta`, or went on without the store: a store that lost its last
    writes shows no other sign of it (HAZARDS 1). `meta` is all flushed; a run that has moved on since is not behind.
    """
    items = [f"{item.no}|{item.id}" for item in services.journal.read(run_id, int(meta["lseq"]) - 1, 2)]
    if items[:1] != [position(meta)]:
        return True
    now = services.store.snapshot(run_id, ("meta",)) if items[1:] else None
    return now is not None and position(now["meta"]) == position(meta)


def position(meta: dict[str, str]) -> str:
    """Where a state stands; empty for none."""
    return f"{meta['no']}|{meta['cid']}" if meta else ""


def _write_tail(services: Services, run_id: str, meta: dict[str, str]) -> None:
    if int(meta["mark"]) < int(meta["no"]):
        try:
            flush_upto(services, run_id, int(meta["no"]))
        except JournalRefused:
            log.warning("the journal does not take what the store holds", extra={"run_id": run_id})


def _announce(services: Services, run_id: str, folded: State) -> None:
    """A new generation: what was decided on the lost state is decided again (HAZARDS 6)."""
    log.warning("a run was rebuilt from its journal", extra={"run_id": run_id, "no": folded["meta"]["no"]})
    event = Event("run_rebuilt", data={"no": int(folded["meta"]["no"])})
    commit_outside(services, run_id, "graft", folded["meta"], Draft(events=[event]))
    rearm(services, run_id)
