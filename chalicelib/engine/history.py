"""A run's state from its journal alone: for runs whose keys are gone, and for rebuilding those that were lost."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

from chalicelib.domain.errors import GraftError
from chalicelib.domain.fold import State, apply, fold
from chalicelib.domain.journal import Item, parse_item
from chalicelib.engine.ports import JournalItem
from chalicelib.engine.services import Services
from chalicelib.engine.snapshots import EVERY, Snapshot, keep, newest, recorded, spacing_of

log = logging.getLogger("graft.snapshots")

#: Items of one journal read, and of the first: a run that is no longer is folded at once, whatever else is kept of it.
PAGE, FIRST_PAGE = 1000, 100
#: A run is behind with its snapshots when so many spacings of events have no part in one: a commit is about two events.
BEHIND = 4


def read_items(services: Services, run_id: str, after: int = 0) -> Iterator[JournalItem]:
    """The journal items of a run that hold events with seq > `after`, in order."""
    size = PAGE if after else FIRST_PAGE
    while True:
        page = services.journal.read(run_id, after, size)
        yield from page
        if len(page) < size:
            return
        after, size = page[-1].seq + page[-1].events - 1, PAGE


def parsed_items(services: Services, run_id: str, after: int = 0) -> Iterator[Item]:
    """The same, parsed; what a fork took over is fetched where it is kept apart."""
    for raw in read_items(services, run_id, after):
        yield whole(services, raw)


def whole(services: Services, raw: JournalItem) -> Item:
    """An item as it is folded. Raises NotFound where what a fork took over is gone."""
    item = parse_item(raw.text)
    ref = item.body.get("snapshot", {}).get("ref")
    if ref is not None:
        item.body["snapshot"] = json.loads(services.artifacts.get(ref))
    return item


def load_items(services: Services, run_id: str) -> list[Item]:
    """All journal items of a run."""
    return list(parsed_items(services, run_id))


def load_state(services: Services, run_id: str) -> State:
    """Fold the journal, from the newest snapshot on. An unknown run gives a state with empty meta."""
    items = parsed_items(services, run_id)
    first = list(islice(items, FIRST_PAGE))
    if len(first) == FIRST_PAGE:
        kept = newest(services, run_id)
        left = _after(services, run_id, kept)
        if kept is not None and left is not None:
            return _folded(kept.state, left)
    return _folded(fold(()), chain(first, items))


def advance_snapshot(services: Services, run_id: str) -> None:
    """Make the run's next snapshot if one is due, from the last one and the journal after it.

    Bounded: it goes at most two spacings on, so a run without snapshots gets there in several calls. It is never
    wrong, whoever dies or does the same meanwhile: the journal's items do not change. What fails is left to the next.
    """
    try:
        _advance(services, run_id)
    except GraftError:
        log.exception("a snapshot could not be made; the next step or sweep tries again", extra={"run_id": run_id})


def catch_up(services: Services, run_id: str, meta: Mapping[str, str]) -> None:
    """Make a snapshot of a live run where the steps that should have died or failed. Costs a look where none is due."""
    if int(meta["seq"]) < BEHIND * EVERY:
        return
    named = recorded(services, run_id)
    seq, spacing = (0, EVERY) if named is None else (named["seq"], spacing_of(named["size"]))
    if int(meta["seq"]) - seq >= BEHIND * spacing:
        advance_snapshot(services, run_id)


def _advance(services: Services, run_id: str) -> None:
    kept = newest(services, run_id)
    spacing = kept.spacing if kept is not None else EVERY
    items = _after(services, run_id, kept)
    state = kept.state if kept is not None and items is not None else fold(())
    items = parsed_items(services, run_id) if items is None else items
    last, count = None, 0
    for last in islice(items, 2 * spacing):
        apply(state, last)
        count += 1
    if last is not None and count >= spacing:
        keep(services, run_id, last, state)


def _after(services: Services, run_id: str, kept: Snapshot | None) -> Iterator[Item] | None:
    """The items after a snapshot; None where there is no snapshot, or none of a commit that the journal has."""
    if kept is None:
        return None
    items = parsed_items(services, run_id, kept.seq - 1)
    at = next(items, None)
    if at is None or (at.no, at.id) != (kept.no, kept.id):
        log.error("a snapshot is of a commit that the journal does not have", extra={"run_id": run_id, "no": kept.no})
        return None
    return items


def _folded(state: State, items: Iterable[Item]) -> State:
    for item in items:
        apply(state, item)
    return state
