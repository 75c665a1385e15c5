"""Turns the items of a journal append into transactions that DynamoDB takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.adapters.dynamodb_items import Item, encode_journal, encode_record, journal_key, size_of
from chalicelib.engine.ports import JournalItem, RunRecord

#: DynamoDB's limit of actions in a transaction.
MAX_ACTIONS = 100
#: Bytes. DynamoDB's limit is 4 MB; the rest is for what it counts besides the items.
MAX_BYTES = 3_500_000

#: A repeat by the same commit is harmless; any other commit at this place is a fork.
FREE_OR_MINE = {
    "ConditionExpression": "attribute_not_exists(pk) OR #id = :id",
    "ExpressionAttributeNames": {"#id": "id"},
}
#: The item before is the one this commit was decided on, and ends where this one starts.
_FOLLOWS = {
    "ConditionExpression": "#id = :id AND #events = :events",
    "ExpressionAttributeNames": {"#id": "id", "#events": "events"},
}
#: A slow repeat must not put an old record over a newer one.
_NOT_OLDER = {
    "ConditionExpression": "attribute_not_exists(#as_of) OR #as_of <= :as_of",
    "ExpressionAttributeNames": {"#as_of": "as_of"},
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit on its way into the journal, with the records that go with it."""

    item: JournalItem
    stored: Item
    records: tuple[Item, ...] = ()
    #: The first of its run in its transaction: its predecessor must be in the table, not in the same call.
    guarded: bool = False

    @property
    def count(self) -> int:
        """How many actions it takes."""
        return 1 + self.guarded + len(self.records)

    def actions(self, table: str) -> list[dict[str, Any]]:
        """The predecessor's check (if guarded), the item, the records, in this order."""
        put = {"TableName": table, "Item": self.stored, "ExpressionAttributeValues": {":id": self.stored["id"]}}
        actions: list[dict[str, Any]] = [{"Put": {**put, **FREE_OR_MINE}}]
        if self.guarded:
            actions.insert(0, {"ConditionCheck": self._check(table)})
        for record in self.records:
            values = {":as_of": record["as_of"]}
            actions.append(
                {"Put": {"TableName": table, "Item": record, "ExpressionAttributeValues": values, **_NOT_OLDER}}
            )
        return actions

    def _check(self, table: str) -> dict[str, Any]:
        item = self.item
        values = {":id": {"S": item.prev_id}, ":events": {"N": str(item.seq - item.prev_seq)}}
        key = journal_key(item.run_id, item.prev_seq)
        return {"TableName": table, "Key": key, "ExpressionAttributeValues": values, **_FOLLOWS}


def batch(items: Sequence[JournalItem], records: Sequence[RunRecord]) -> list[Entry]:
    """Entries in the order of `items`. Raises ValueError when they make no chains, TooLarge for one over 400 KB."""
    last: dict[str, JournalItem] = {}
    for item in items:
        check_place(item, last.get(item.run_id))
        last[item.run_id] = item
    by_run: dict[str, dict[tuple[str, str], Item]] = {run_id: {} for run_id in last}
    for record in records:
        if record.run_id not in last:
            raise ValueError(f"A record of run {record.run_id} comes without an item of that run.")
        stored = encode_record(record.key, record.record, as_of=last[record.run_id].no)
        by_run[record.run_id][record.key] = stored
    return [
        Entry(item, encode_journal(item), tuple(by_run[item.run_id].values()) if last[item.run_id] is item else ())
        for item in items
    ]


def transaction(waiting: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    """As many of the first entries as one transaction takes (at least one), and the others."""
    chunk: list[Entry] = []
    runs: set[str] = set()
    actions = size = 0
    for entry in waiting:
        guarded = entry.item.run_id not in runs and entry.item.prev_seq > 0
        entry = replace(entry, guarded=guarded)  # noqa: PLW2901
        actions += entry.count
        size += size_of(entry.stored) + sum(size_of(record) for record in entry.records)
        if chunk and (actions > MAX_ACTIONS or size > MAX_BYTES):
            break
        chunk.append(entry)
        runs.add(entry.item.run_id)
    return chunk, waiting[len(chunk) :]


def without_refused(chunk: list[Entry], refused: Sequence[bool]) -> list[Entry]:
    """What is left to write when these actions were refused: no entry of a run whose chain refused one of its items,
    and no record that is older than the stored one."""
    lost: set[str] = set()
    left: list[Entry] = []
    position = 0
    for entry in chunk:
        flags = refused[position : position + entry.count]
        position += entry.count
        heads = entry.count - len(entry.records)
        if any(flags[:heads]):
            lost.add(entry.item.run_id)
        fresh = tuple(record for record, old in zip(entry.records, flags[heads:], strict=True) if not old)
        left.append(replace(entry, records=fresh))
    return [entry for entry in left if entry.item.run_id not in lost]


def check_place(item: JournalItem, before: JournalItem | None) -> None:
    """Refuse what could only come from an error in the caller, and would make a chain that cannot be followed."""
    where = f"Item {item.seq} of run {item.run_id}"
    if item.events < 1 or (item.seq == 1) != (item.prev_seq == 0) or item.prev_seq >= item.seq:
        raise ValueError(f"{where} has no place in a chain: {item.events} events after item {item.prev_seq}.")
    if before is not None and (item.prev_seq, item.prev_id, item.seq) != (
        before.seq,
        before.id,
        before.seq + before.events,
    ):
        raise ValueError(f"{where} does not follow item {before.seq}, which comes before it in the same call.")
