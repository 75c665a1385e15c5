"""Follows a run's chain through the partitions of its journal."""

from __future__ import annotations

from typing import Protocol

from chalicelib.adapters.dynamodb_items import FLAT_SEQS, SHARDS, WINDOW, shard_of
from chalicelib.engine.ports import JournalItem

#: How much wider each further look of one read is.
GROWTH = 4
#: A read of more items than this wants a whole history, not news.
NEWS = 500
_FIRST_SHARDED_WINDOW = (FLAT_SEQS + 1) // WINDOW


class Query(Protocol):
    """Reads items of one partition in order of seq, consistently."""

    def __call__(self, shard: int, low: int, high: int, descending: bool, most: int, /) -> list[JournalItem]:
        """At most `most` items whose first seq is in low..high."""
        ...


def read_chain(query: Query, after_seq: int, limit: int) -> list[JournalItem]:
    """The items holding events with seq > after_seq, in order, at most `limit`."""
    target = max(after_seq, 0) + 1
    found = _from(query, target, limit)
    if found or target == 1 or limit < 1:
        return found
    first = _across(query, target)
    if first is None:
        return []
    return [first, *_from(query, first.seq + first.events, limit - 1)]


def _from(query: Query, seq: int, limit: int) -> list[JournalItem]:
    """The chain from the item that starts exactly at `seq`; [] when none does.

    Each item says where the next one starts, so a missing one is the end: nothing read beyond it (a writer may be
    appending while the partitions are read one by one) is taken.
    """
    found: list[JournalItem] = []
    # A commit has about two events. Wide at once, each partition is asked once and gives what is wanted.
    start, width = seq, WINDOW if limit <= NEWS else max(WINDOW * SHARDS, 2 * limit)
    while len(found) < limit:
        most = limit - len(found)
        if seq <= FLAT_SEQS:
            high = FLAT_SEQS
            page = query(0, seq, high, False, most)
        else:
            # A look for news costs one query; a long read soon asks every partition once for all that is left.
            high = (seq // WINDOW) * WINDOW + width - 1
            page = _merged(query, seq, high, most)
        for item in page[:most]:
            if item.seq != seq:
                return found
            found.append(item)
            seq = item.seq + item.events
        if seq <= high:
            break
        left = (limit - len(found)) * (seq - start) // len(found)
        width = min(width * GROWTH, max(WINDOW * SHARDS, left))
    return found


def _merged(query: Query, low: int, high: int, most: int) -> list[JournalItem]:
    windows = range(low // WINDOW, min(high // WINDOW, low // WINDOW + SHARDS - 1) + 1)
    pages = [query(shard_of(window * WINDOW + WINDOW - 1), low, high, False, most) for window in windows]
    return sorted((item for page in pages for item in page), key=lambda item: item.seq)


def _across(query: Query, target: int) -> JournalItem | None:
    """The item that starts below `target` and holds it."""
    last = (target - 1) // WINDOW if target - 1 > FLAT_SEQS else -1
    # Back from the nearest partition: the first item that reaches `target` settles it, mostly on the first query.
    for window in range(last, max(last - SHARDS, _FIRST_SHARDED_WINDOW - 1), -1):
        page = query(shard_of(window * WINDOW + WINDOW - 1), FLAT_SEQS + 1, target - 1, True, 1)
        if page and page[0].seq + page[0].events >= target:
            return _holding(page[0], target)
    page = query(0, 1, min(target - 1, FLAT_SEQS), True, 1)
    return _holding(page[0], target) if page else None


def _holding(item: JournalItem, target: int) -> JournalItem | None:
    return item if item.seq + item.events > target else None
