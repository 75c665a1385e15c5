"""Schedules with the manual clock: overlap, missed times, races between passes, deaths between any two calls."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections import Counter

import pytest
import redis

from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.errors import Conflict, InvalidInput, NotFound, Unavailable
from chalicelib.domain.limits import Limits
from chalicelib.domain.schedule_rules import definition
from chalicelib.engine import schedule_records as records
from chalicelib.engine import schedules
from chalicelib.engine.catalog import Catalog
from chalicelib.engine.controls import cancel_run
from chalicelib.engine.directory_keys import DUE_SHARDS, due_partition
from chalicelib.engine.run_list import Filter, list_runs
from chalicelib.engine.schedule_runs import KEPT_RUNS, PASS_MS, start_due_runs
from tests.engine.harness import Harness

MINUTE = 60_000
HOUR = 60 * MINUTE
#: A run that stays live until somebody answers.
SLOW = {"nodes": [{"id": "a", "type": "function", "config": {"handler": "echo", "params": {"in": "${input}"}}}]}
QUICK = {"nodes": [{"id": "a", "type": "transform", "config": {"value": "${input}"}}]}


class Dead(BaseException):
    """The process died: nothing catches it."""


def save(harness: Harness, document: dict, name: str = "w", tag: str | None = None) -> int:
    plan = compile_workflow(document, limits=Limits())
    harness.services.plans.save(plan)
    catalog = Catalog(harness.directory, "acme")
    version = catalog.save(name, plan.hash, by="ann", at=harness.clock.now).version
    if tag is not None:
        catalog.tag(name, tag, version, by="ann", at=harness.clock.now)
    return version


def put(harness: Harness, body: dict | None = None, name: str = "s", **more: object) -> records.Record:
    made = definition({"rate": "1 hour", **more} if body is None else body)
    return schedules.set_schedule(harness.services, "acme", "w", name, made, "ann")


def get(harness: Harness, name: str = "s") -> records.Record:
    return records.needed(harness.services, "acme", "w", name)


def tick(harness: Harness, later: int = 0) -> int:
    harness.clock.now += later
    return start_due_runs(harness.services)


def runs(harness: Harness) -> list[dict]:
    """The workflow's runs, oldest first."""
    page = list_runs(harness.directory, "acme", Filter(limit=200), harness.clock.now)
    return list(reversed(page.records))


def entries(harness: Harness) -> list[str]:
    return [sort for shard in range(DUE_SHARDS) for sort, _ in harness.directory.query(due_partition(shard))]


def end_all(harness: Harness) -> None:
    for run in runs(harness):
        if run["status"] in ("PENDING", "RUNNING"):
            cancel_run(harness.services, run["run_id"], actor="ann")
            while harness.settle_batch():
                pass


def test_a_schedule_that_was_set_before_there_were_priorities_starts_its_runs(harness: Harness) -> None:
    save(harness, QUICK)
    there = put(harness)
    old = {name: value for name, value in there.items() if name != "priority"}
    assert records.write(harness.services, there, old) is not None
    tick(harness, HOUR)
    (run,) = runs(harness)
    assert get(harness)["runs"][0]["run_id"] == run["run_id"]


def test_a_schedule_starts_a_run_at_each_of_its_times(harness: Harness) -> None:
    save(harness, QUICK)
    begun = harness.clock.now
    put(harness, input={"at": "${schedule.due_at}"})
    assert tick(harness, HOUR - 1) == 0 and runs(harness) == []
    assert tick(harness, 1) == 1 and tick(harness) == 0
    harness.drain()
    assert tick(harness, HOUR) == 1
    harness.drain()
    assert [run["status"] for run in runs(harness)] == ["COMPLETED"] * 2
    record = get(harness)
    assert [run["due_at"] for run in record["runs"]] == [begun + 2 * HOUR, begun + HOUR]
    assert [run["run_id"] for run in record["runs"]] == [run["run_id"] for run in reversed(runs(harness))]
    assert harness.output(record["runs"][1]["run_id"]) == {"a": {"at": "2027-01-15T09:00:00.000Z"}}
    assert harness.events(record["runs"][0]["run_id"])[0]["actor"] == "schedule:s"
    assert len(entries(harness)) == 1


def test_the_version_is_the_one_that_the_tag_points_at_when_the_run_starts(harness: Harness) -> None:
    save(harness, QUICK, tag="prod")
    put(harness, tag="prod")
    put(harness, name="fixed", version=1)
    tick(harness, HOUR)
    save(harness, SLOW, tag="prod")
    harness.drain()
    tick(harness, HOUR)
    assert [run["version"] for run in runs(harness)] in ([1, 1, 2, 1], [1, 1, 1, 2])


def test_skip_leaves_a_time_out_while_the_run_before_is_live_and_says_so(harness: Harness) -> None:
    save(harness, SLOW)
    put(harness)
    tick(harness, HOUR)
    tick(harness, HOUR)
    record = get(harness)
    assert len(runs(harness)) == 1
    assert record["skipped"]["due_at"] == harness.clock.now
    assert record["runs"][0]["run_id"] in record["skipped"]["reason"]
    harness.drain()
    tick(harness, HOUR)
    assert len(runs(harness)) == 2


def test_queue_starts_one_waiting_time_soon_after_the_run_before_has_ended(harness: Harness) -> None:
    save(harness, SLOW)
    put(harness, overlap="queue")
    tick(harness, HOUR)
    first = harness.clock.now
    tick(harness, HOUR)
    tick(harness, HOUR)
    tick(harness, MINUTE)
    record = get(harness)
    assert (len(runs(harness)), record["queued"], record["skipped"]["due_at"]) == (1, first + HOUR, first + 2 * HOUR)
    harness.drain()
    tick(harness, MINUTE)
    record = get(harness)
    assert (len(runs(harness)), record["queued"]) == (2, None)
    assert record["runs"][0]["due_at"] == first + HOUR
    assert record["next_at"] == first + 3 * HOUR and len(entries(harness)) == 1


def test_allow_starts_a_run_beside_the_live_one(harness: Harness) -> None:
    save(harness, SLOW)
    put(harness, overlap="allow")
    tick(harness, HOUR)
    tick(harness, HOUR)
    assert [run["status"] for run in runs(harness)] == ["PENDING"] * 2


def test_after_an_outage_the_newest_time_is_caught_up_and_the_missed_are_counted(harness: Harness) -> None:
    save(harness, QUICK)
    put(harness)
    begun = harness.clock.now
    tick(harness, 5 * HOUR + MINUTE)
    record = get(harness)
    assert [run["due_at"] for run in record["runs"]] == [begun + 5 * HOUR]
    assert record["missed"] == {"first": begun + HOUR, "count": 4, "at": harness.clock.now}
    assert record["next_at"] == begun + 6 * HOUR


def test_a_window_begins_and_ends_a_schedule(harness: Harness) -> None:
    save(harness, QUICK)
    body = {"rate": "1 hour", "start_at": "2027-01-15T12:00:00Z", "end_at": "2027-01-15T13:30:00Z"}
    put(harness, body)
    for _ in range(10):
        tick(harness, HOUR)
        harness.drain()
    assert [run["due_at"] for run in get(harness)["runs"]] == [1_800_018_000_000, 1_800_014_400_000]
    assert (get(harness)["next_at"], entries(harness)) == (None, [])


def test_a_paused_schedule_starts_nothing_and_goes_on_with_its_next_time(harness: Harness) -> None:
    save(harness, QUICK)
    begun = harness.clock.now
    put(harness)
    for _ in range(2):
        schedules.pause_schedule(harness.services, "acme", "w", "s", "bob", paused=True)
    assert (get(harness)["updated_by"], entries(harness)) == ("bob", [])
    assert tick(harness, 3 * HOUR + MINUTE) == 0
    schedules.pause_schedule(harness.services, "acme", "w", "s", "bob", paused=False)
    assert tick(harness) == 0
    assert get(harness)["next_at"] == begun + 4 * HOUR
    tick(harness, HOUR)
    assert len(runs(harness)) == 1 and get(harness)["missed"] is None


def test_setting_a_schedule_again_keeps_its_times_unless_they_are_decided_otherwise(harness: Harness) -> None:
    save(harness, QUICK)
    begun = harness.clock.now
    put(harness)
    harness.clock.now += HOUR + 1
    put(harness, overlap="allow")
    assert get(harness)["next_at"] == begun + HOUR
    tick(harness)
    assert len(runs(harness)) == 1
    put(harness, rate="2 hours")
    assert get(harness)["next_at"] == begun + 3 * HOUR + 1
    assert len(get(harness)["runs"]) == 1 and len(entries(harness)) == 1


def test_a_deleted_schedule_starts_nothing_and_its_run_goes_on(harness: Harness) -> None:
    save(harness, SLOW)
    put(harness)
    tick(harness, HOUR)
    schedules.delete_schedule(harness.services, "acme", "w", "s")
    assert tick(harness, HOUR) == 0 and entries(harness) == []
    harness.drain()
    assert [run["status"] for run in runs(harness)] == ["COMPLETED"]
    with pytest.raises(NotFound):
        schedules.delete_schedule(harness.services, "acme", "w", "s")


def test_a_schedule_of_what_is_not_there_or_does_not_fit_is_refused(harness: Harness) -> None:
    with pytest.raises(NotFound):
        put(harness)
    save(harness, {**QUICK, "input_schema": {"type": "object", "required": ["n"]}})
    for more in ({"tag": "prod"}, {"version": 9}):
        with pytest.raises(NotFound):
            put(harness, **more)
    with pytest.raises(InvalidInput):
        put(harness)
    put(harness, input={"n": 1})


def test_a_start_that_is_refused_is_noted_and_the_schedule_goes_on(harness: Harness) -> None:
    """The latest version came to want another input than the schedule has."""
    save(harness, QUICK)
    put(harness)
    save(harness, {**QUICK, "input_schema": {"type": "object", "required": ["n"]}})
    tick(harness, HOUR)
    record = get(harness)
    assert record["failed"]["due_at"] == harness.clock.now and "input_schema" in record["failed"]["reason"]
    assert (record["starting"], record["runs"]) == (None, [])
    save(harness, SLOW)
    tick(harness, HOUR)
    assert len(runs(harness)) == 1


def test_one_schedule_that_cannot_be_worked_does_not_hold_up_the_others(harness: Harness, caplog) -> None:
    save(harness, QUICK)
    for name in ("a", "b", "c"):
        put(harness, name=name)
    broken = get(harness, "b")
    records.write(harness.services, broken, {**broken, "cron": "never", "rate": None})
    assert tick(harness, HOUR) == 2
    assert "could not be worked" in caplog.text


def test_a_pass_that_took_long_leaves_the_rest_to_the_next(harness: Harness) -> None:
    save(harness, QUICK)
    for name in ("a", "b", "c"):
        put(harness, name=name)
    harness.clock.now += HOUR
    real = harness.services.clock

    class Slow:
        def now_ms(self) -> int:
            real.now += PASS_MS // 4
            return real.now

    worked = start_due_runs(dataclasses.replace(harness.services, clock=Slow()))
    assert 0 < worked < 3
    assert worked + tick(harness) == 3


def test_the_newest_runs_are_kept(harness: Harness) -> None:
    save(harness, QUICK)
    put(harness, overlap="allow")
    for _ in range(KEPT_RUNS + 3):
        tick(harness, HOUR)
    due = [run["due_at"] for run in get(harness)["runs"]]
    assert due == [harness.clock.now - n * HOUR for n in range(KEPT_RUNS)]


# --- Triggers -------------------------------------------------------------------------------------------------------


def trigger(harness: Harness, at: int | None = None) -> str | None:
    return schedules.trigger_schedule(harness.services, "acme", "w", "s", at or harness.clock.now, "bob")


def test_a_trigger_starts_a_run_now_though_the_schedule_is_paused(harness: Harness) -> None:
    save(harness, QUICK)
    put(harness, paused=True)
    at = harness.clock.now
    run_id = trigger(harness)
    assert [run["run_id"] for run in runs(harness)] == [run_id]
    assert harness.events(run_id)[0]["actor"] == "bob"
    harness.clock.now += 500
    assert trigger(harness, at) == run_id
    harness.drain()
    assert trigger(harness, at) == run_id and len(runs(harness)) == 1
    assert trigger(harness) != run_id


def test_a_trigger_keeps_to_the_overlap_policy(harness: Harness) -> None:
    save(harness, SLOW)
    put(harness)
    first = trigger(harness)
    harness.clock.now += 1
    with pytest.raises(Conflict, match=first):
        trigger(harness)
    put(harness, overlap="queue")
    at = harness.clock.now
    assert trigger(harness) is None and trigger(harness, at) is None
    harness.clock.now += 1
    with pytest.raises(Conflict, match="waits"):
        trigger(harness)
    end_all(harness)
    tick(harness, MINUTE)
    assert get(harness)["runs"][0]["due_at"] == at
    assert trigger(harness, at) == get(harness)["runs"][0]["run_id"]
    put(harness, overlap="allow")
    assert trigger(harness) is not None


def test_a_trigger_whose_input_no_longer_fits_is_refused(harness: Harness) -> None:
    save(harness, QUICK)
    put(harness)
    save(harness, {**QUICK, "input_schema": {"type": "object", "required": ["n"]}})
    with pytest.raises(InvalidInput):
        trigger(harness)
    assert runs(harness) == [] and get(harness)["failed"] is None


# --- Deaths and races -----------------------------------------------------------------------------------------------


class Mortal:
    """Services whose calls are counted; the process dies, or the other one comes, before or after one of them."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.at: int | None = None
        self.what = lambda: None
        self.count = 0
        harness.directory._fault = self.fault
        harness.journal._fault = self.fault
        harness.queues._fault = self.fault

    def fault(self, operation: str) -> None:
        if self.at is None:
            return
        self.count += 1
        if self.count == self.at + 1:
            self.at = None
            self.what()

    def once(self, at: int, what) -> None:
        self.count, self.at, self.what = 0, at, what


def die() -> None:
    raise Dead


def unavailable() -> None:
    raise Unavailable("lost")


def disturbed(client: redis.Redis, overlap: str, act, what) -> int:
    """Disturb one call after the other of `act` on a fresh engine, and hold each outcome to the rules."""
    for at in itertools.count():
        client.flushall()
        harness = Harness(client)
        save(harness, SLOW)
        put(harness, overlap=overlap)
        harness.clock.now += HOUR
        mortal = Mortal(harness)
        mortal.once(at, lambda h=harness: what(h))
        with contextlib.suppress(Dead, Unavailable):
            act(harness)
        if mortal.at is not None:
            return at
        mortal.at = None
        check_outcome(harness, at)
    raise AssertionError


def check_outcome(harness: Harness, at: int) -> None:
    """Exactly one run of the due time, the next time in the index, and no entry that never goes."""
    due = 1_800_000_000_000 + HOUR
    harness.clock.now = max(harness.clock.now, due)
    tick(harness)
    tick(harness, 1000)
    assert len(runs(harness)) == 1, f"disturbed at call {at}"
    record = get(harness)
    assert [run["due_at"] for run in record["runs"]] == [due], f"disturbed at call {at}"
    assert (record["starting"], record["next_at"]) == (None, due + HOUR)
    assert any(sort.endswith(record["gen"]) for sort in entries(harness)), f"disturbed at call {at}"
    end_all(harness)
    harness.drain()
    tick(harness, HOUR + records.STRAY_MS)
    assert len(runs(harness)) == 2
    assert len(entries(harness)) == 1, f"disturbed at call {at}"


@pytest.mark.parametrize("what", [lambda _: die(), lambda _: unavailable()], ids=["death", "lost call or answer"])
def test_a_time_whose_pass_dies_at_any_call_starts_exactly_one_run(client: redis.Redis, what) -> None:
    assert disturbed(client, "skip", tick, what) > 20


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
def test_a_time_worked_by_two_passes_at_once_starts_exactly_one_run(client: redis.Redis, overlap: str) -> None:
    """The second pass works the same time wholly between any two calls of the first."""
    assert disturbed(client, overlap, tick, tick) > 20


def test_a_pass_that_comes_a_time_later_than_the_one_it_meets_starts_no_second_run(client: redis.Redis) -> None:
    """The first pass has read that one time is due, the second finds two; under skip one run is live at a time."""
    for at in itertools.count():
        client.flushall()
        harness = Harness(client)
        save(harness, SLOW)
        put(harness)
        mortal = Mortal(harness)
        harness.clock.now += HOUR
        mortal.once(at, lambda h=harness: tick(h, HOUR))
        tick(harness)
        if mortal.at is not None:
            assert at > 20
            return
        tick(harness)
        assert len(runs(harness)) == 1, f"met at call {at}"
        record = get(harness)
        noted = record["missed"] or record["skipped"]
        assert len(record["runs"]) == 1 and noted is not None, f"met at call {at}"


def set_anew(harness: Harness) -> None:
    put(harness, input={"other": 1})


def pause_and_resume(harness: Harness) -> None:
    for paused in (True, False):
        schedules.pause_schedule(harness.services, "acme", "w", "s", "bob", paused=paused)


@pytest.mark.parametrize("other", [set_anew, pause_and_resume])
def test_a_schedule_changed_while_a_pass_works_it_keeps_the_change_and_its_entry(client: redis.Redis, other) -> None:
    """A pause that comes before the start takes the time away; it never leaves a schedule that nobody looks at."""
    for at in itertools.count():
        client.flushall()
        harness = Harness(client)
        save(harness, SLOW)
        put(harness)
        harness.clock.now += HOUR
        mortal = Mortal(harness)
        mortal.once(at, lambda h=harness: other(h))
        tick(harness)
        if mortal.at is not None:
            assert at > 20
            return
        tick(harness)
        assert len(runs(harness)) <= 1
        record = get(harness)
        assert len(record["runs"]) == len(runs(harness)) and record["next_at"] == harness.clock.now + HOUR
        assert (record["input"], record["updated_by"]) in (({"other": 1}, "ann"), ({}, "bob")), at
        assert any(sort.endswith(record["gen"]) for sort in entries(harness)), at


@pytest.mark.parametrize("what", [lambda _: die(), lambda _: unavailable(), tick], ids=["death", "lost", "a pass"])
def test_a_schedule_set_by_a_process_that_dies_at_any_call_is_set_or_is_not(client: redis.Redis, what) -> None:
    for at in itertools.count():
        client.flushall()
        harness = Harness(client)
        save(harness, QUICK)
        mortal = Mortal(harness)
        mortal.once(at, lambda h=harness: what(h))
        with contextlib.suppress(Dead, Unavailable):
            put(harness)
        if mortal.at is not None:
            assert at > 5
            return
        mortal.at = None
        there = records.read(harness.services, "acme", "w", "s")
        tick(harness, HOUR)
        assert len(runs(harness)) == (there is not None), at
        tick(harness, records.STRAY_MS)
        assert len(entries(harness)) == (there is not None), at


def test_an_entry_is_not_taken_away_from_a_writer_that_is_slow(harness: Harness) -> None:
    """The record is written minutes after its entry was due: the entry must be there still."""
    save(harness, QUICK)
    mortal = Mortal(harness)

    def late() -> None:
        for _ in range(14):
            tick(harness, MINUTE)

    calls = next(at for at in itertools.count() if _is_put_new(harness, mortal, at))
    mortal.once(calls, late)
    put(harness, rate="1 minute")
    assert tick(harness) == 1 and len(runs(harness)) == 1


def _is_put_new(harness: Harness, mortal: Mortal, at: int) -> bool:
    """Whether that call of setting a schedule is the creation of its record; it dies there and sets nothing."""
    seen: list[str] = []

    def fault(operation: str) -> None:
        seen.append(operation)
        if len(seen) == at + 1:
            raise Dead

    harness.directory._fault = fault
    with pytest.raises(Dead):
        put(harness, rate="1 minute")
    harness.directory._fault = mortal.fault
    return seen[-1] == "directory.put_new.before"


def test_an_idle_pass_costs_one_query_a_shard(harness: Harness) -> None:
    save(harness, QUICK)
    for n in range(30):
        put(harness, name=f"s{n}")
    calls: list[str] = []
    harness.directory._fault = calls.append
    assert tick(harness, HOUR - 1) == 0
    assert calls == ["directory.query"] * DUE_SHARDS


def test_a_time_costs_its_start_and_the_calls_of_one_claim(harness: Harness) -> None:
    """The other schedules' number does not matter."""
    save(harness, QUICK)
    put(harness, rate="1 minute")
    for n in range(30):
        put(harness, name=f"s{n}")
    calls: list[str] = []
    for ports in (harness.directory, harness.journal, harness.queues):
        ports._fault = calls.append
    assert tick(harness, MINUTE) == 1
    made = Counter(call.removesuffix(".before") for call in calls if not call.endswith(".after"))
    assert made.pop("directory.query") == DUE_SHARDS
    # The claim and the note of it are each an entry, a record on condition, and the end of the old entry.
    assert made == {
        "directory.get": 4,
        "directory.put": 2,
        "directory.replace": 2,
        "directory.delete": 2,
        "directory.put_new": made["directory.put_new"],
        "journal.append": 1,
        "queues.send": 1,
    }
    assert made["directory.put_new"] <= 2  # the day of the runs list, once a process; the plan's place


def test_tenants_have_their_own_schedules(harness: Harness) -> None:
    save(harness, QUICK)
    put(harness)
    with pytest.raises(NotFound):
        records.needed(harness.services, "other", "w", "s")
    assert records.page(harness.directory, "other", "w", 10, None) == []
