"""Proves a run: its journal is an unbroken chain, and folding it gives what the store holds (SPEC 12)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from chalicelib.domain.audit import Audit
from chalicelib.domain.journal import Item, expand, parse_item
from chalicelib.engine.history import read_items
from chalicelib.engine.ports import JournalItem
from chalicelib.engine.run_reader import read_state
from chalicelib.engine.services import Services

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
    audit = Audit()
    for item in _items(services, run_id, upto):
        audit.take(item)
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
    item = parse_item(raw.text)
    ref = item.body.get("snapshot", {}).get("ref")
    if ref is not None:
        item.body["snapshot"] = json.loads(services.artifacts.get(ref))
    return replace(item, events=len(expand(raw.text, raw.run_id, lambda job: job.token)))
