"""The items of maps, kept in pages so that an item's task reads one of them (HAZARDS 32)."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.engine.ports import Artifacts

Json = Any
#: Items, and bytes of their JSON text, of one page; a larger item is a page of its own.
PAGE_ITEMS = 256
PAGE_BYTES = 64 * 1024
#: Pages and lists of pages kept in memory.
KEPT = 64


def store_items(artifacts: Artifacts, items: Sequence[Json]) -> str:
    """Store the items. Returns the artifact that lists the pages: [[first index, artifact], …]. Raises Unavailable."""
    pages = [(first, artifacts.put(text.encode())) for first, text in _pages(items)]
    return artifacts.put(compact(pages).encode())


def _pages(items: Sequence[Json]) -> Iterator[tuple[int, str]]:
    texts: list[str] = []
    first = size = 0
    for index, item in enumerate(items):
        text = compact(item)
        if texts and (len(texts) == PAGE_ITEMS or size + len(text) > PAGE_BYTES):
            yield first, f"[{','.join(texts)}]"
            first, texts, size = index, [], 0
        texts.append(text)
        size += len(text)
    if texts:
        yield first, f"[{','.join(texts)}]"


class ItemPages:
    """Reads items. Pages never change, so what was read is kept."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._kept: OrderedDict[str, Json] = OrderedDict()

    def item(self, pages: str, index: int) -> Json:
        """The item at `index` of those that store_items stored. Raises NotFound, Unavailable."""
        listed = self._load(pages)
        first, ref = listed[bisect_right(listed, index, key=lambda row: row[0]) - 1]
        return self._load(ref)[index - first]

    def _load(self, ref: str) -> Json:
        if ref not in self._kept:
            self._kept[ref] = json.loads(self._artifacts.get(ref))
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(ref)
        return self._kept[ref]
