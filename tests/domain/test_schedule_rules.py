"""What a schedule may be set to."""

from __future__ import annotations

import pytest

from chalicelib.domain.errors import InvalidInput
from chalicelib.domain.schedule_rules import MAX_INPUT, definition, filled, timing

HOURLY = {"cron": "0 * * * *"}


def test_a_definition_has_its_defaults():
    assert definition(HOURLY) == {
        "cron": "0 * * * *",
        "rate": None,
        "timezone": "UTC",
        "input": {},
        "tag": None,
        "version": None,
        "overlap": "skip",
        "start_at": None,
        "end_at": None,
        "paused": False,
        "priority": 0,
    }


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({}, "one_of", "/cron"),
        ({**HOURLY, "rate": "1 hour"}, "one_of", "/cron"),
        ({"cron": "0 25 * * *"}, "bad_cron", "/cron"),
        ({"cron": 5}, "bad_cron", "/cron"),
        ({"rate": "hourly"}, "bad_rate", "/rate"),
        ({"rate": 60}, "bad_rate", "/rate"),
        ({**HOURLY, "timezone": "Berlin"}, "bad_timezone", "/timezone"),
        ({**HOURLY, "timezone": ["UTC"]}, "bad_timezone", "/timezone"),
        ({"rate": "1 hour", "timezone": "UTC"}, "bad_timezone", "/timezone"),
        ({**HOURLY, "tag": "prod", "version": 1}, "both_given", "/tag"),
        ({**HOURLY, "tag": "a b"}, "bad_name", "/tag"),
        ({**HOURLY, "version": True}, "bad_number", "/version"),
        ({**HOURLY, "version": 0}, "bad_number", "/version"),
        ({**HOURLY, "overlap": "cancel"}, "bad_overlap", "/overlap"),
        ({**HOURLY, "overlap": []}, "bad_overlap", "/overlap"),
        ({**HOURLY, "paused": 1}, "wrong_type", "/paused"),
        ({**HOURLY, "priority": 101}, "bad_number", "/priority"),
        ({**HOURLY, "priority": True}, "bad_number", "/priority"),
        ({**HOURLY, "priority": "5"}, "bad_number", "/priority"),
        ({**HOURLY, "start_at": "2027-01-01"}, "bad_time", "/start_at"),
        ({**HOURLY, "end_at": 5}, "bad_time", "/end_at"),
        ({**HOURLY, "end_at": "9999-12-31T00:00:00Z"}, "bad_time", "/end_at"),
        ({**HOURLY, "start_at": "2027-01-02T00:00:00Z", "end_at": "2027-01-01T00:00:00Z"}, "bad_time", "/end_at"),
        ({**HOURLY, "start_at": "2027-01-01T00:10:00Z", "end_at": "2027-01-01T00:20:00Z"}, "never_due", "/end_at"),
        ({**HOURLY, "input": "x" * MAX_INPUT}, "too_large", "/input"),
        ({**HOURLY, "input": {"a": ["${schedule.time}"]}}, "unknown_place", "/input"),
    ],
)
def test_a_wrong_member_is_named(body, code, path):
    with pytest.raises(InvalidInput) as caught:
        definition(body)
    assert (code, path) in [(problem.code, problem.path) for problem in caught.value.problems]


def test_every_problem_is_named_at_once():
    with pytest.raises(InvalidInput) as caught:
        definition({"cron": "x", "timezone": "x", "overlap": "x", "start_at": "x"})
    assert [problem.path for problem in caught.value.problems] == ["/start_at", "/cron", "/timezone", "/overlap"]


def test_the_longest_rate_and_the_last_start_have_times_to_show():
    made = definition({"rate": "366 days", "start_at": "2099-12-31T00:00:00Z"})
    times = timing({**made, "anchor": 0}).times(0)
    first, *_ = [next(times) for _ in range(5)]
    assert first == made["start_at"]
    assert timing({**definition({"cron": "0 0 29 2 *", "start_at": "2099-12-31T00:00:00Z"}), "anchor": 0}).after(0)


def test_places_in_the_input_are_replaced_wherever_a_text_has_them():
    given = {"at": "${schedule.due_at}", "deep": [{"text": "run of ${schedule.name}!"}], "n": 1, "other": "${input.x}"}
    assert filled(given, "nightly", 1_800_000_000_000) == {
        "at": "2027-01-15T08:00:00.000Z",
        "deep": [{"text": "run of nightly!"}],
        "n": 1,
        "other": "${input.x}",
    }
