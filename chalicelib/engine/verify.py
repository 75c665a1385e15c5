"""Proves a run: its journal is an unbroken chain, folding it gives what the store and its snapshot hold (SPEC 12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from chalicelib.domain.audit import Audit
from chalicelib.domain.journal import Item, expand
from chalicelib.engine.history import read_items, whole
from chalicelib.engine.ports import JournalItem
from chalicelib.engine.run_reader import read_state
from chalicelib.engine.services import Services
from chalicelib.engine.snapshots import newest, recorded

Json = Any


def verify_run(services: Services, tenant: str, run_id: str) -> dict[str, Json]:
    """`GET /runs/{id}/verify`: `{run_id, ok, differences, commits, events, store}`. Raises NotFound, Unavailable.

    A run that moves on meanwhile is verified as of the commit at which the store was read.
    """
    read_state(services, tenant, run_id)
    stored = services.store.snapshot(run_id)
    if stored is not None:  # what the store shows must be in the journal first
        read_state(services, tenant, run_id)
    upto = int(stored["meta"]["no"]) if stored is not None else None
    audit, named = Audit(), recorded(services, run_id)
    for item in _items(services, run_id, upto):
        audit.take(item)
        if named is not None and item.no == named["no"]:
            _check_snapshot(services, run_id, audit)
    if stored is not None:
        audit.compare(stored)
    meta = audit.state["meta"]
    return {
        "run_id": run_id,
        "ok": not audit.findings,
        "differences": audit.findings,
        "commits": audit.commits,
        "events": audit.events,
        "status": meta.get("status"),
        "outstanding": len(audit.state["tok"]),
        "store": "absent" if stored is None else "compared",
    }


def _check_snapshot(services: Services, run_id: str, audit: Audit) -> None:
    """Compare the newest snapshot with the fold at its commit."""
    kept = newest(services, run_id)
    if kept is None:
        audit.find("snapshot_unreadable", audit.state["meta"]["no"])
    elif str(kept.no) == audit.state["meta"]["no"]:  # else there is a newer one by now
        audit.compare_snapshot(kept.state)


def _items(services: Services, run_id: str, upto: int | None) -> Iterator[Item]:
    """The journal's items, up to a commit, each with as many events as it says."""
    for raw in read_items(services, run_id):
        item = _checked(services, raw)
        if upto is not None and item.no > upto:
            return
        yield item


def _checked(services: Services, raw: JournalItem) -> Item:
    """The item as it is folded: with what a fork took over, which may be kept apart, and with the number of events that
    it really holds: another number than it says shows as a gap before the next item.
    """
    item = whole(services, raw)
    return replace(item, events=len(expand(raw.text, raw.run_id, lambda job: job.token)))
