"""A directory of records in memory."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from typing import Any

from tests.doubles.faults import Fault, effect, never

Key = tuple[str, str]


class MemoryDirectory:
    """Directory over sorted lists. Records are kept as JSON text, so that no caller shares them."""

    def __init__(self, fault: Fault | None = None) -> None:
        self._fault = fault or never
        self._keys: dict[str, list[str]] = {}
        self._texts: dict[Key, str] = {}
        #: Commit number that a run's own record stands for, where the journal wrote it.
        self._as_of: dict[Key, int] = {}

    def put_new(self, key: Key, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        with effect(self._fault, "directory.put_new"):
            there = self._load(key)
            if there is None:
                self._store(key, record)
        return there

    def put(self, key: Key, record: Mapping[str, Any]) -> None:
        with effect(self._fault, "directory.put"):
            self._store(key, record)

    def replace(self, key: Key, record: Mapping[str, Any], expect: Mapping[str, Any]) -> bool:
        with effect(self._fault, "directory.replace"):
            ok = self._holds(self._load(key), expect)
            if ok:
                self._store(key, record)
        return ok

    def get(self, key: Key) -> Mapping[str, Any] | None:
        self._fault("directory.get")
        return self._load(key)

    def query(
        self, partition: str, *, prefix: str = "", start: str | None = None, descending: bool = False, limit: int = 100
    ) -> list[tuple[str, Mapping[str, Any]]]:
        self._fault("directory.query")
        keys = self._keys.get(partition, [])
        low, high = bisect_left(keys, prefix), len(keys)
        if start and descending:
            high = bisect_left(keys, start)
        elif start:
            low = max(low, bisect_right(keys, start))
        chosen = [key for key in keys[low:high] if key.startswith(prefix)]
        if descending:
            chosen.reverse()
        return [(key, json.loads(self._texts[partition, key])) for key in chosen[: max(limit, 0)]]

    def delete(self, key: Key, expect: Mapping[str, Any] | None = None) -> None:
        with effect(self._fault, "directory.delete"):
            if not self._holds(self._load(key), expect or {}):
                return
            del self._texts[key]
            self._keys[key[0]].remove(key[1])
            self._as_of.pop(key, None)

    def put_as_of(self, key: Key, record: Mapping[str, Any], no: int) -> None:
        """Write in the journal's transaction, unless a later commit of the run has written the record."""
        if self._as_of.get(key, 0) <= no:
            self._store(key, record)
            self._as_of[key] = no

    def _holds(self, there: Mapping[str, Any] | None, expect: Mapping[str, Any]) -> bool:
        return there is not None and all(n in there and _text(there[n]) == _text(v) for n, v in expect.items())

    def _load(self, key: Key) -> Mapping[str, Any] | None:
        return json.loads(self._texts[key]) if key in self._texts else None

    def _store(self, key: Key, record: Mapping[str, Any]) -> None:
        if key not in self._texts:
            insort(self._keys.setdefault(key[0], []), key[1])
        self._texts[key] = _text(dict(record))
        self._as_of.pop(key, None)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
