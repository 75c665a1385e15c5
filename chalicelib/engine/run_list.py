"""Lists a tenant's runs, newest first, over one set of partitions per day."""

from __future__ import annotations

import base64
import heapq
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

from chalicelib.domain.children import parent_view
from chalicelib.domain.errors import InvalidInput, Problem
from chalicelib.domain.journal import timestamp
from chalicelib.engine import directory_keys as keys
from chalicelib.engine.ports import Directory

Json = Any
#: Most entries looked at for one page; past it the page ends with a cursor, though runs may match further on.
MAX_SCAN = 1000
#: Most days looked at for one page.
MAX_DAYS = 31
_PAGE = 100
_DAY_MS = 86_400_000
_POSITION = re.compile(rf"[0-9]{{{keys.TIME_DIGITS}}}#([A-Za-z0-9][A-Za-z0-9_.-]{{0,63}})?")


@dataclass(frozen=True, slots=True)
class Filter:
    """What a page of runs holds. `since` in milliseconds; `after` is a cursor of an earlier page."""

    workflow: str | None = None
    status: str | None = None
    since: int = 0
    limit: int = 50
    after: str | None = None

    def matches(self, record: Mapping[str, Json]) -> bool:
        """Whether the entry is asked for, `since` aside."""
        if self.workflow is not None and record.get("workflow") != self.workflow:
            return False
        return self.status is None or record.get("status") == self.status


@dataclass(slots=True)
class Page:
    """Entries, newest first, and the cursor of the next page; None at the end."""

    records: list[Mapping[str, Json]] = field(default_factory=list)
    next: str | None = None


def run_list_record(run_id: str, meta: Mapping[str, str]) -> dict[str, Json]:
    """A run's list entry from the store's `meta` hash (or the first commit's): times in milliseconds."""
    created = int(meta["created_at"])
    return {
        "run_id": run_id,
        "tenant": meta["tenant"],
        "workflow": meta.get("workflow") or None,
        "version": int(meta["version"]) if meta.get("version") else None,
        "status": meta.get("status", "PENDING"),
        "created_at": created,
        "started_at": int(meta["started_at"]) if meta.get("started_at") else None,
        "finished_at": int(meta["finished_at"]) if meta.get("finished_at") else None,
        "parent": parent_view(meta),
        "end_seq": int(meta["end_seq"]) if meta.get("end_seq") else None,
        **({name: meta[name] for name in ("limited", "priority") if meta.get("limited")}),
        "list_key": list(keys.run_list_key(meta["tenant"], created, run_id)),
    }


def announce_day(directory: Directory, tenant: str, created_ms: int) -> None:
    """Note that the tenant starts runs on this day. To be called before the run's list entry is written."""
    _announce(cast(Any, directory), tenant, keys.day_of(created_ms))


@lru_cache(maxsize=1000)
def _announce(directory: Directory, tenant: str, day: str) -> None:
    """Once per process is enough; a failure is not remembered."""
    directory.put_new((keys.run_days(tenant), day), {})


def list_runs(directory: Directory, tenant: str, wanted: Filter, now_ms: int) -> Page:
    """One page. Bounded work: with a rare filter a page may be short, and its cursor goes on from there."""
    before = _decode(wanted.after) if wanted.after else keys.run_position(now_ms + _DAY_MS, "")
    page, position, scanned = Page(), before, 0
    days = _days(directory, tenant, before, wanted.since, now_ms)
    for day in days[:MAX_DAYS]:
        for sort, record in _entries(directory, tenant, day, before):
            if record["created_at"] < wanted.since:
                return page
            if scanned == MAX_SCAN or (len(page.records) == wanted.limit and wanted.matches(record)):
                page.next = _encode(position)
                return page
            scanned, position = scanned + 1, sort
            if wanted.matches(record):
                page.records.append(record)
    if len(days) > MAX_DAYS:
        page.next = _encode(keys.run_position(_start_of(days[MAX_DAYS - 1]), ""))
    return page


def list_children(directory: Directory, parent: str, limit: int, after: str | None) -> Page:
    """One page of the runs that a run has called, oldest first. `after` is a cursor of an earlier page."""
    start = _decode(after) if after else None
    found = directory.query(keys.children(parent), start=start, limit=limit + 1)
    page = Page([record for _, record in found[:limit]])
    if len(found) > limit:
        page.next = _encode(found[limit - 1][0])
    return page


def list_item(record: Mapping[str, Json], links: Mapping[str, str]) -> dict[str, Json]:
    """An entry as `GET /runs` shows it."""
    times = {name: _time(record.get(name)) for name in ("created_at", "started_at", "finished_at")}
    name, version = record.get("workflow"), record.get("version")
    head = {"run_id": record["run_id"], "workflow": {"name": name, "version": version}, "status": record["status"]}
    return {**head, **times, "parent": record.get("parent"), "links": dict(links)}


def _time(ms: int | None) -> str | None:
    return None if ms is None else timestamp(ms)


def _days(directory: Directory, tenant: str, before: str, since: int, now_ms: int) -> list[str]:
    """Days to look at, newest first. A run that is just being started may be ahead of its day's note."""
    newest = keys.day_of(int(before[: keys.TIME_DIGITS]))
    noted = directory.query(keys.run_days(tenant), start=newest + keys.AFTER, descending=True, limit=MAX_DAYS + 1)
    recent = {keys.day_of(now_ms), keys.day_of(now_ms - _DAY_MS)}
    oldest = keys.day_of(since)
    days = {day for day, _ in noted} | recent
    return sorted((day for day in days if oldest <= day <= newest), reverse=True)


def _entries(directory: Directory, tenant: str, day: str, before: str) -> Iterator[tuple[str, Mapping[str, Json]]]:
    shards = [_shard(directory, keys.run_partition(tenant, day, shard), before) for shard in range(keys.RUN_SHARDS)]
    return heapq.merge(*shards, key=lambda entry: entry[0], reverse=True)


def _shard(directory: Directory, partition: str, before: str) -> Iterator[tuple[str, Mapping[str, Json]]]:
    start = before
    while True:
        page = directory.query(partition, start=start, descending=True, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        start = page[-1][0]


def _start_of(day: str) -> int:
    moment = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def _encode(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        position = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        position = ""
    # Times beyond the year 9999 are none that a list ever gave out.
    if not _POSITION.fullmatch(position) or int(position[: keys.TIME_DIGITS]) > 253_402_300_799_999:
        problem = Problem("bad_cursor", "/cursor", "Send a next_cursor as it was given, or none.")
        raise InvalidInput("cursor is not one that this list gave out.", (problem,))
    return position
