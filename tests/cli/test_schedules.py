"""`graft schedules` against a server that answers as the contract says."""

import json

import pytest

AT = "2030-01-31T12:00:00.000Z"
ONE = {
    "workflow": "w",
    "name": "nightly",
    "cron": "0 3 * * *",
    "rate": None,
    "timezone": "Europe/Berlin",
    "state": "ACTIVE",
    "overlap": "skip",
    "priority": 5,
    "next_times": [AT],
    "waiting": AT,
    "last_runs": [{"run_id": "r1", "status": "FAILED", "due_at": AT, "started_at": AT, "by": "ann"}],
    "last_skipped": {"due_at": AT, "at": AT, "reason": "Run r0 has not ended."},
    "last_missed": {"first": AT, "count": 7, "at": AT},
    "last_failed": {"due_at": AT, "at": AT, "reason": "There is no workflow w."},
}
HERE = "/workflows/w/schedules"
ANSWERS = {
    ("GET", HERE): {
        "items": [ONE, {**ONE, "name": "often", "rate": "5 minutes", "cron": None}],
        "next_cursor": "often",
    },
    ("GET", f"{HERE}/nightly"): ONE,
    ("PUT", f"{HERE}/nightly"): ONE,
    ("DELETE", f"{HERE}/nightly"): ONE,
    ("POST", f"{HERE}/nightly/pause"): {**ONE, "state": "PAUSED"},
    ("POST", f"{HERE}/nightly/resume"): ONE,
    ("POST", f"{HERE}/nightly/trigger"): {"run_id": "r2", "waiting": False},
    ("POST", f"{HERE}/busy/trigger"): {"run_id": None, "waiting": True},
}


@pytest.fixture
def ask(scripted):
    return scripted("schedules", ANSWERS)


def test_schedules_are_listed(ask):
    code, out, asked = ask("list", "w", "--limit", "2")
    assert (code, asked[0][2]) == (0, {"limit": "2"})
    assert "0 3 * * * (Europe/Berlin)" in out and "every 5 minutes" in out and "--cursor often" in out
    assert json.loads(ask("list", "w", "--json")[1])["items"][0] == ONE


def test_a_schedule_is_set_with_what_was_given_and_nothing_else(ask):
    words = ["--cron", "0 3 * * *", "--timezone", "Europe/Berlin", "--input", '{"n": 1}', "--tag", "prod"]
    code, _, asked = ask(
        "set", "w", "nightly", *words, "--overlap", "queue", "--until", AT, "--paused", "--priority", "-5"
    )
    assert (code, asked[0][:2]) == (0, ("PUT", f"/api/v1{HERE}/nightly"))
    assert asked[0][3] == {
        "cron": "0 3 * * *",
        "timezone": "Europe/Berlin",
        "input": {"n": 1},
        "tag": "prod",
        "overlap": "queue",
        "end_at": AT,
        "paused": True,
        "priority": -5,
    }
    assert ask("set", "w", "nightly", "--rate", "1 hour", "--version", "3")[2][0][3] == {"rate": "1 hour", "version": 3}
    assert ask("set", "w", "nightly", "--rate", "1 hour", "--input", "{")[0] == 2
    assert ask("set", "w", "nightly", "--rate", "1 hour", "--priority", "101")[0] == 2


def test_a_schedule_shows_what_it_did_and_what_it_left_out(ask):
    code, out, _ = ask("show", "w", "nightly")
    assert code == 0
    for told in (
        "ACTIVE",
        "next:",
        "waiting",
        "Run r0 has not ended.",
        "missed: 7",
        "priority of its runs: 5",
        "There is no workflow w.",
        "r1",
    ):
        assert told in out
    assert json.loads(ask("show", "w", "nightly", "--json")[1]) == ONE


def test_a_schedule_is_paused_resumed_triggered_and_deleted(ask):
    for words, method, told in (
        (("pause", "w", "nightly"), "POST", "PAUSED"),
        (("resume", "w", "nightly"), "POST", "ACTIVE"),
        (("trigger", "w", "nightly"), "POST", "Run r2 has started."),
        (("trigger", "w", "busy"), "POST", "when it has ended"),
        (("delete", "w", "nightly"), "DELETE", "is deleted"),
    ):
        code, out, asked = ask(*words)
        assert (code, asked[0][0]) == (0, method) and told in out, out
        assert json.loads(ask(*words, "--json")[1])
    assert ask("delete", "w", "none")[0] == 2
