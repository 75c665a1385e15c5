"""What a schedule does when it is looked at, policy by policy."""

from __future__ import annotations

import pytest

from chalicelib.domain.schedule_rules import definition
from chalicelib.domain.schedule_tick import POLL_MS, ticked, wake_at

HOUR = 3_600_000
DUE = 1_800_000_000_000


def schedule(overlap: str = "skip", **more) -> dict:
    made = definition({"rate": "1 hour", "overlap": overlap})
    return {**made, "anchor": DUE - HOUR, "next_at": DUE, "queued": None, "starting": None, **more}


START = {"starting": {"due_at": DUE, "at": DUE + 5}}


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
def test_a_due_time_starts_a_run_where_none_is_live(overlap):
    assert ticked(schedule(overlap), DUE + 5, None) == {"next_at": DUE + HOUR, **START}


def test_nothing_happens_before_a_time_or_while_paused():
    assert ticked(schedule(), DUE - 1, None) == {}
    assert ticked(schedule(paused=True), DUE, None) == {}


@pytest.mark.parametrize(
    ("overlap", "changes"),
    [
        ("skip", {"skipped": {"due_at": DUE, "at": DUE + 5, "reason": "Run r1 has not ended."}}),
        ("queue", {"queued": DUE}),
        ("allow", START),
    ],
)
def test_a_live_run_is_met_by_the_policy(overlap, changes):
    assert ticked(schedule(overlap), DUE + 5, "r1") == {"next_at": DUE + HOUR, **changes}


def test_only_one_time_waits_and_the_next_is_left_out():
    changes = ticked(schedule("queue", queued=DUE - HOUR), DUE + 5, "r1")
    assert changes["skipped"]["due_at"] == DUE and "waits already" in changes["skipped"]["reason"]
    assert "queued" not in changes and "starting" not in changes


def test_what_waits_begins_before_what_is_due_which_waits_then():
    changes = ticked(schedule("queue", queued=DUE - HOUR), DUE + 5, None)
    assert changes["starting"]["due_at"] == DUE - HOUR and changes["queued"] == DUE
    assert ticked(schedule("queue", queued=DUE - HOUR), DUE - 9, None)["queued"] is None


def test_what_waits_goes_on_waiting_while_paused_and_begins_under_allow():
    assert ticked(schedule("queue", queued=DUE - HOUR, paused=True), DUE, None) == {}
    assert ticked(schedule("allow", queued=DUE - HOUR), DUE - 9, "r1")["starting"]["due_at"] == DUE - HOUR


def test_of_missed_times_the_newest_starts_and_the_others_are_counted():
    now = DUE + 3 * HOUR + 7
    changes = ticked(schedule(), now, None)
    assert changes["starting"]["due_at"] == DUE + 3 * HOUR
    assert changes["missed"] == {"first": DUE, "count": 3, "at": now}
    assert changes["next_at"] == DUE + 4 * HOUR


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({}, DUE),
        ({"paused": True}, None),
        ({"next_at": None}, None),
        ({"next_at": None, "queued": DUE}, DUE - HOUR + POLL_MS),
        ({"queued": DUE}, DUE - HOUR + POLL_MS),
        ({"paused": True, "queued": DUE}, None),
        ({"paused": True, "starting": {}}, DUE - HOUR),
    ],
)
def test_a_schedule_is_looked_at_again_only_when_something_may_come_of_it(more, at):
    assert wake_at(schedule(**more), DUE - HOUR) == at
