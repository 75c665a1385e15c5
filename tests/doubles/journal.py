"""A journal of runs in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from chalicelib.adapters.dynamodb_batch import check_place
from chalicelib.engine.ports import JournalItem, RunRecord
from tests.doubles.directory import MemoryDirectory
from tests.doubles.faults import Fault, effect, never


class MemoryJournal:
    """Journal over one list per run. With a `directory`, the records of `append` go there."""

    def __init__(self, directory: MemoryDirectory | None = None, fault: Fault | None = None) -> None:
        self._directory = directory if directory is not None else MemoryDirectory()
        self._fault = fault or never
        self._chains: dict[str, list[JournalItem]] = {}

    @property
    def runs(self) -> list[str]:
        """Ids of the runs that have a journal."""
        return list(self._chains)

    def append(self, items: Sequence[JournalItem], records: Sequence[RunRecord] = ()) -> list[JournalItem]:
        last: dict[str, JournalItem] = {}
        for item in items:
            check_place(item, last.get(item.run_id))
            last[item.run_id] = item
        for record in records:
            if record.run_id not in last:
                raise ValueError(f"A record of run {record.run_id} comes without an item of that run.")
        if not items:
            return []
        with effect(self._fault, "journal.append"):
            refused = {run_id for run_id in last if not self._fits([i for i in items if i.run_id == run_id])}
            for item in items:
                if item.run_id not in refused:
                    self._store(item)
            for record in records:
                if record.run_id not in refused:
                    self._directory.put_as_of(record.key, record.record, last[record.run_id].no)
        return [item for item in items if item.run_id in refused]

    def read(self, run_id: str, after_seq: int = 0, limit: int = 500) -> list[JournalItem]:
        self._fault("journal.read")
        chain = self._chains.get(run_id, [])
        first = bisect_right(chain, max(after_seq, 0), key=lambda item: item.seq + item.events - 1)
        return chain[first : first + max(limit, 0)]

    def _fits(self, items: list[JournalItem]) -> bool:
        """Whether the first's predecessor is there, and no place is taken by another commit."""
        chain = self._chains.get(items[0].run_id, [])
        before = _at(chain, items[0].prev_seq)
        if items[0].prev_seq and (
            before is None or before.id != items[0].prev_id or before.seq + before.events != items[0].seq
        ):
            return False
        return all((there := _at(chain, item.seq)) is None or there.id == item.id for item in items)

    def _store(self, item: JournalItem) -> None:
        chain = self._chains.setdefault(item.run_id, [])
        there = _at(chain, item.seq)
        if there is None:
            chain.append(item)
        else:
            # The table would take other bytes of the same commit; no caller may ever send them.
            assert there == item, f"commit {item.id} of run {item.run_id} is written again with other bytes"


def _at(chain: list[JournalItem], seq: int) -> JournalItem | None:
    position = bisect_right(chain, seq, key=lambda item: item.seq) - 1
    return chain[position] if position >= 0 and chain[position].seq == seq else None
