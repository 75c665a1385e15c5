from __future__ import annotations

import pytest

from chalicelib.engine.directory_keys import LIVE_SHARDS
from chalicelib.handlers import schedules


@pytest.fixture(autouse=True)
def a_new_process(monkeypatch):
    monkeypatch.setattr(schedules, "_last", [])


def test_a_pass_looks_at_the_slices_that_late_passes_skipped():
    assert list(schedules.due_ticks(100)) == [100]
    assert list(schedules.due_ticks(101)) == [101]
    assert list(schedules.due_ticks(104)) == [102, 103, 104]
    assert list(schedules.due_ticks(104)) == []


def test_passes_of_a_regular_rhythm_come_to_every_slice():
    """With a pass every third or fifth minute, two slices of three, or four of five, were never looked at."""
    for rhythm in (3, 5):
        seen = {tick % LIVE_SHARDS for now in range(0, 60, rhythm) for tick in schedules.due_ticks(now)}
        assert seen == set(range(LIVE_SHARDS))
        schedules._last.clear()


def test_after_a_long_pause_no_slice_is_looked_at_twice():
    schedules.due_ticks(1)
    assert list(schedules.due_ticks(1000)) == list(range(986, 1001))
