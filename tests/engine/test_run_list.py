from __future__ import annotations

import random

import pytest

from chalicelib.domain.errors import InvalidInput
from chalicelib.engine import run_list
from chalicelib.engine.directory_keys import run_list_key
from chalicelib.engine.run_list import Filter, announce_day, list_runs, run_list_record
from tests.doubles import MemoryDirectory

DAY = 86_400_000
NOW = 20_000 * DAY + 1234


def add(directory: MemoryDirectory, run_id: str, created: int, tenant: str = "acme", **more: str) -> None:
    meta = {"tenant": tenant, "workflow": "w", "version": "1", "created_at": str(created), "status": "RUNNING", **more}
    announce_day(directory, tenant, created)
    directory.put(run_list_key(tenant, created, run_id), run_list_record(run_id, meta))


def pages(directory: MemoryDirectory, tenant: str = "acme", **wanted: object) -> list[list[str]]:
    found, cursor = [], None
    for _ in range(10_000):
        page = list_runs(directory, tenant, Filter(**wanted, after=cursor), NOW)
        found.append([record["run_id"] for record in page.records])
        cursor = page.next
        if cursor is None:
            return found
    raise AssertionError("the list does not end")


def flat(pages: list[list[str]]) -> list[str]:
    return [run_id for page in pages for run_id in page]


@pytest.mark.parametrize("limit", [1, 3, 50, 200])
def test_pages_hold_every_run_once_newest_first(limit: int) -> None:
    chance = random.Random(limit)
    directory, runs = MemoryDirectory(), []
    for number in range(150):
        created = NOW - chance.choice([0, 1, 5, DAY, DAY + 1, 3 * DAY, 90 * DAY, 400 * DAY]) - chance.randrange(3)
        add(directory, f"r{number}", created)
        runs.append((created, f"r{number}"))
    found = pages(directory, limit=limit)
    assert flat(found) == [run_id for _, run_id in sorted(runs, key=lambda r: f"{r[0]:015d}#{r[1]}", reverse=True)]
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1] or len(found) == 1


def test_filters_hold_on_every_page() -> None:
    directory = MemoryDirectory()
    for number in range(60):
        status = "FAILED" if number % 7 == 0 else "COMPLETED"
        add(directory, f"r{number:02d}", NOW - number * DAY // 4, workflow="wx"[number % 2], status=status)
    assert flat(pages(directory, limit=2, status="FAILED")) == [f"r{n:02d}" for n in range(0, 60, 7)]
    assert flat(pages(directory, limit=4, workflow="x", status="FAILED")) == ["r07", "r21", "r35", "r49"]
    assert flat(pages(directory, limit=3, since=NOW - DAY)) == ["r00", "r01", "r02", "r03", "r04"]
    assert flat(pages(directory, status="CANCELLED")) == []
    assert flat(pages(directory, tenant="other")) == []


def test_a_rare_filter_does_bounded_work_per_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_list, "MAX_SCAN", 10)
    monkeypatch.setattr(run_list, "MAX_DAYS", 3)
    directory = MemoryDirectory()
    for number in range(100):
        add(
            directory, f"r{number:02d}", NOW - number * DAY // 3, status="FAILED" if number in (45, 99) else "COMPLETED"
        )
    queries = []
    query = directory.query
    directory.query = lambda *a, **k: queries.append(a) or query(*a, **k)
    found = pages(directory, status="FAILED", limit=50)
    assert flat(found) == ["r45", "r99"]
    assert len(queries) / len(found) <= 3 * 4 + 1


def test_a_run_shows_before_its_day_is_noted() -> None:
    directory = MemoryDirectory()
    meta = {"tenant": "acme", "created_at": str(NOW)}
    directory.put(run_list_key("acme", NOW, "r1"), run_list_record("r1", meta))
    assert pages(directory) == [["r1"]]


def test_runs_that_start_while_a_list_is_read_do_not_repeat_others() -> None:
    directory = MemoryDirectory()
    for number in range(4):
        add(directory, f"r{number}", NOW - 100 + number)
    first = list_runs(directory, "acme", Filter(limit=2), NOW)
    add(directory, "new", NOW)
    second = list_runs(directory, "acme", Filter(limit=2, after=first.next), NOW)
    assert [r["run_id"] for r in (*first.records, *second.records)] == ["r3", "r2", "r1", "r0"]


@pytest.mark.parametrize("cursor", ["x", "AAAA", "MDAw", "OTk5OTk5OTk5OTk5OTk5Iw", "é", "="])
def test_a_cursor_that_no_list_gave_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput):
        list_runs(MemoryDirectory(), "acme", Filter(after=cursor), NOW)
