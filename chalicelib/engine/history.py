"""A run's state from its journal alone: for runs whose keys are gone, and for rebuilding those that were lost."""

from __future__ import annotations

import json
from collections.abc import Iterator

from chalicelib.domain.fold import State, fold
from chalicelib.domain.journal import Item, parse_item
from chalicelib.engine.ports import JournalItem
from chalicelib.engine.services import Services

#: Items of one journal read.
PAGE = 500


def read_items(services: Services, run_id: str) -> Iterator[JournalItem]:
    """All journal items of a run, in order."""
    after = 0
    last: tuple[int, int] = (0, 0)
    while True:
        page = [i for i in services.journal.read(run_id, after, PAGE) if (i.seq, i.no) > last]
        if not page:
            return
        yield from page
        last = (page[-1].seq, page[-1].no)
        after = page[-1].seq + page[-1].events - 1


def load_items(services: Services, run_id: str) -> list[Item]:
    """All journal items of a run, parsed; what a fork took over is fetched where it is kept apart."""
    items = [parse_item(item.text) for item in read_items(services, run_id)]
    ref = items[0].body.get("snapshot", {}).get("ref") if items else None
    if ref is not None:
        items[0].body["snapshot"] = json.loads(services.artifacts.get(ref))
    return items


def load_state(services: Services, run_id: str) -> State:
    """Fold the journal. An unknown run gives a state with empty meta."""
    return fold(load_items(services, run_id))
