"""AWS that answers at once and keeps as little as the engine needs: what is left is the engine's own cost."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.domain.errors import NotFound
from chalicelib.engine.ports import JournalItem, Outgoing, RunRecord

Json = Any


class QuickJournal:
    """Takes every item; counts the calls."""

    def __init__(self) -> None:
        self.calls = 0

    def append(self, items: Sequence[JournalItem], records: Sequence[RunRecord] = ()) -> list[JournalItem]:
        """Take the items."""
        self.calls += bool(items)
        return []

    def read(self, run_id: str, after_seq: int = 0, limit: int = 500) -> list[JournalItem]:
        """Nothing is kept: a benchmark that comes here measures something else. Raises NotFound."""
        raise NotFound(f"The journal of run {run_id} is not kept here.")


class QuickDirectory:
    """Records in a dict."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], Mapping[str, Json]] = {}

    def put_new(self, key: tuple[str, str], record: Mapping[str, Json]) -> Mapping[str, Json] | None:
        """Create, or answer what is there."""
        there = self._records.get(key)
        if there is None:
            self._records[key] = record
        return there

    def put(self, key: tuple[str, str], record: Mapping[str, Json]) -> None:
        """Write."""
        self._records[key] = record

    def replace(self, key: tuple[str, str], record: Mapping[str, Json], expect: Mapping[str, Json]) -> bool:
        """Write if what is there has these members."""
        there = self._records.get(key)
        fits = there is not None and all(there.get(name) == value for name, value in expect.items())
        if fits:
            self._records[key] = record
        return fits

    def get(self, key: tuple[str, str]) -> Mapping[str, Json] | None:
        """Read."""
        return self._records.get(key)

    def query(
        self, partition: str, *, prefix: str = "", start: str | None = None, descending: bool = False, limit: int = 100
    ) -> list[tuple[str, Mapping[str, Json]]]:
        """The partition's records in order."""
        keys = sorted(key for key in self._records if key[0] == partition and key[1].startswith(prefix))
        return [(key[1], self._records[key]) for key in (reversed(keys) if descending else keys)][:limit]

    def delete(self, key: tuple[str, str]) -> None:
        """Remove."""
        self._records.pop(key, None)


class QuickArtifacts:
    """Values in a dict."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}

    def put(self, body: bytes, content_type: str = "application/json") -> str:
        """Keep the bytes under their hash."""
        ref = f"artifact://sha256/{hashlib.sha256(body).hexdigest()}"
        self._bodies[ref] = body
        return ref

    def get(self, ref: str) -> bytes:
        """The bytes. Raises NotFound."""
        if ref not in self._bodies:
            raise NotFound(f"There is no {ref}.")
        return self._bodies[ref]

    def exists(self, ref: str) -> bool:
        """Whether it is here."""
        return ref in self._bodies

    def upload_url(self, sha256: str, size: int) -> str:
        """Nobody uploads here."""
        return f"memory:{sha256}"

    def download_url(self, sha256: str) -> str:
        """Nobody downloads here."""
        return f"memory:{sha256}"


class NoSchedules:
    """The measured workflows wait for nothing."""

    def once(self, name: str, at_ms: int, message: Outgoing) -> None:
        """Refuse: a timer would be lost here. Raises NotFound."""
        raise NotFound(f"There is no scheduler for {name}.")
