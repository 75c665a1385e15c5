"""When schedules are due: against a calendar of every minute, across changes of clocks, and in a window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.timing import MAX_COUNTED, Timing, cron_error, is_zone, rate_ms

MINUTE = 60_000
NOW = 1_800_000_000_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def cron(text: str, zone: str = "UTC", **window: int | None) -> Timing:
    return Timing(text, zone, None, 0, **window)


def rate(period_ms: int, anchor: int = NOW, **window: int | None) -> Timing:
    return Timing(None, "UTC", period_ms, anchor, **window)


def local(timing: Timing, since: str, count: int) -> list[str]:
    """The times behind `since` as a clock in the timing's zone shows them, with its offset in hours."""
    zone = ZoneInfo(timing.zone)
    moments = [datetime.fromtimestamp(at / 1000, zone) for at in islice(timing.times(ms(since)), count)]
    return [f"{moment:%d %H:%M} {moment.utcoffset() / timedelta(hours=1):+g}" for moment in moments]


FIELDS = st.tuples(
    st.sampled_from([("*", range(60)), ("*/20", (0, 20, 40)), ("5,50", (5, 50)), ("10-12", (10, 11, 12))]),
    st.sampled_from([("*", range(24)), ("3", (3,)), ("22-23", (22, 23)), ("*/7", (0, 7, 14, 21))]),
    st.sampled_from([("*", range(32)), ("1", (1,)), ("28-31", (28, 29, 30, 31))]),
    st.sampled_from([("*", range(13)), ("2", (2,)), ("JAN,DEC", (1, 12))]),
    st.sampled_from([("*", range(7)), ("MON-FRI", (1, 2, 3, 4, 5)), ("7", (0,))]),
)


def matches(moment: datetime, fields: tuple) -> bool:
    """Cron's own rule: with both day fields given, either of them is enough."""
    minute, hour, day, month, weekday = ((text, tuple(found)) for text, found in fields)
    days = moment.day in day[1], moment.isoweekday() % 7 in weekday[1]
    by_day = all(days) if "*" in (day[0], weekday[0]) else any(days)
    return moment.minute in minute[1] and moment.hour in hour[1] and moment.month in month[1] and by_day


@given(FIELDS, st.integers(0, 2_000_000_000), st.integers(0, 59_999))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_cron_expression_is_due_when_a_calendar_of_minutes_says_so(fields, seconds, rest):
    since = seconds * 1000 + rest
    found = cron(" ".join(text for text, _ in fields)).after(since)
    minute = datetime.fromtimestamp(seconds // 60 * 60, UTC) + timedelta(minutes=1)
    for _ in range(3 * 1440):
        if matches(minute, fields):
            assert found == int(minute.timestamp() * 1000)
            return
        minute += timedelta(minutes=1)
    assert found is not None and found >= int(minute.timestamp() * 1000)


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
#: Around the changes of the clocks in 2026, to the second.
NEAR_CHANGES = st.sampled_from(["2026-03-08T06:00Z", "2026-03-29T00:00Z", "2026-04-04T14:00Z", "2026-10-03T15:00Z",
                                "2026-10-25T00:00Z", "2026-11-01T05:00Z"])  # fmt: skip


@given(FIELDS, st.sampled_from(ZONES), NEAR_CHANGES, st.integers(-3, 4 * 3600))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_times_rise_and_do_not_depend_on_where_one_begins_to_look(fields, zone, change, offset):
    """A pass that comes late, or that works a time twice, must see the same times as the one before."""
    timing = cron(" ".join(text for text, _ in fields), zone)
    begin = ms(change) - 86_400_000
    since = ms(change) + offset * 1000
    times = list(islice(timing.times(begin), 400))
    assert all(one < other for one, other in pairwise(times))
    if times[-1] > since:
        assert timing.after(since) == next(at for at in times if at > since)
    assert timing.after(times[0]) == times[1]


def test_a_time_in_the_hour_that_clocks_leave_out_is_due_as_the_hour_ends():
    assert local(cron("30 2 * * *", "Europe/Berlin"), "2026-03-28T00:00Z", 3) == [
        "28 02:30 +1",
        "29 03:00 +2",
        "30 02:30 +2",
    ]
    assert local(cron("0 2-4 * * *", "Europe/Berlin"), "2026-03-29T00:00Z", 2) == ["29 03:00 +2", "29 04:00 +2"]


def test_a_time_in_the_hour_that_clocks_repeat_is_due_once():
    daily = cron("30 2 * * *", "Europe/Berlin")
    assert local(daily, "2026-10-24T01:00Z", 2) == ["25 02:30 +2", "26 02:30 +1"]
    assert local(daily, "2026-10-25T01:00Z", 1) == ["26 02:30 +1"]


def test_a_time_of_every_hour_is_due_in_both_hours_that_clocks_show_alike():
    assert local(cron("0 * * * *", "Europe/Berlin"), "2026-10-24T23:30Z", 3) == [
        "25 02:00 +2",
        "25 02:00 +1",
        "25 03:00 +1",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 * * * *", "minute field"),
        ("* 24 * * *", "hour field"),
        ("* * 0 * *", "day-of-month field"),
        ("* * * 13 *", "month field"),
        ("* * * * 8", "day-of-week field"),
        ("*/0 * * * *", "minute field"),
        ("5-1 * * * *", "minute field"),
        ("0 0 31 2 *", "day-of-month field"),
        ("² * * * *", "minute field"),
        ("0 " * 200, "characters"),
    ],
)
def test_an_expression_that_cannot_be_used_says_which_field_is_wrong(text, told):
    assert told in cron_error(text)


@given(st.text(alphabet="0123456789*/,-#LW MONJANX²\n", max_size=40))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_any_text_is_an_expression_with_times_or_an_error(text):
    if cron_error(text) is None:
        for zone in ("UTC", "Europe/Berlin"):
            found = cron(text, zone).after(NOW)
            assert found is None or found > NOW


def test_a_leap_day_is_waited_for():
    assert local(cron("0 0 29 2 *"), "2096-03-01T00:00Z", 1) == ["29 00:00 +0"]


@given(st.integers(1, 10_000), st.integers(-(10**9), 10**9), st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_rate_is_due_whole_periods_after_its_anchor(minutes, offset, starts):
    period = minutes * MINUTE
    timing = rate(period, start_ms=NOW if starts else None)
    found = timing.after(NOW + offset)
    assert found > NOW + offset and (found - NOW) % period == 0
    first = NOW if starts else NOW + period
    assert found == first if NOW + offset < first else found - period <= NOW + offset


def test_a_window_holds_its_ends():
    timing = cron("0 * * * *", start_ms=ms("2026-01-01T10:00Z"), end_ms=ms("2026-01-01T11:00Z"))
    assert local(timing, "2025-01-01T00:00Z", 9) == ["01 10:00 +0", "01 11:00 +0"]
    assert timing.after(ms("2026-01-01T11:00Z")) is None
    assert [rate(MINUTE, start_ms=NOW, end_ms=NOW + MINUTE).after(NOW + n) for n in (-1, 0, MINUTE)] == [
        NOW,
        NOW + MINUTE,
        None,
    ]


@given(FIELDS, st.sampled_from(ZONES), st.integers(0, 40 * 86_400_000))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_newest_of_many_missed_times_is_the_last_and_the_others_are_counted(fields, zone, late):
    timing = cron(" ".join(text for text, _ in fields), zone)
    due = timing.after(NOW)
    now = due + late
    times = [due]
    while (following := timing.after(times[-1])) <= now and len(times) < 50:
        times.append(following)
    newest, missed = timing.latest(due, now)
    if len(times) < 50:
        assert (newest, missed) == (times[-1], len(times) - 1)
    else:
        assert newest <= now < timing.after(newest) and missed >= 49


def test_counting_what_was_missed_has_an_end():
    timing = cron("* * * * *")
    due = timing.after(NOW)
    newest, missed = timing.latest(due, due + 400 * 86_400_000)
    assert (newest, missed) == (due + 400 * 86_400_000, MAX_COUNTED)
    ended = cron("* * * * *", end_ms=due + 5 * MINUTE)
    assert ended.latest(due, due + 10**12) == (due + 5 * MINUTE, 5)


def test_zones_are_those_of_the_database():
    assert [is_zone(name) for name in ("Europe/Berlin", "UTC", "America/Argentina/Ushuaia")] == [True] * 3
    wrong = ("", "Mars/Base", "europe/berlin", "America", "../etc/passwd", "/etc/passwd", "\0", "localtime", "x" * 999)
    assert [name for name in wrong if is_zone(name)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1 minute", MINUTE),
        ("5 minutes", 5 * MINUTE),
        ("rate(2 hours)", 120 * MINUTE),
        (" 1 day ", 1440 * MINUTE),
        ("0 minutes", None),
        ("rate(1 day", None),
        ("1 day)", None),
        ("5 seconds", None),
        ("1.5 hours", None),
        ("", None),
        ("366 days", 366 * 1440 * MINUTE),
        ("367 days", None),
        ("9999999 days", None),
    ],
)
def test_rates_are_read(text, found):
    assert rate_ms(text) == found
