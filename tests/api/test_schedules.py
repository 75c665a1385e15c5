"""Schedules by HTTP: set, list, read, pause, resume, trigger, delete."""

from __future__ import annotations

import pytest

from chalicelib.engine.schedule_runs import start_due_runs
from tests.api.client import Api
from tests.api.documents import ONE
from tests.api.test_workflows import save

HOUR = 3_600_000
HERE = "workflows/w/schedules"


def put(api: Api, name: str = "s", **body: object):
    return api.call("PUT", f"{HERE}/{name}", {"rate": "1 hour", **body})


def test_a_schedule_is_set_and_read_with_its_next_times(api: Api) -> None:
    save(api, "w", 1, tag="prod")
    body = {"cron": "30 8 * * MON-FRI", "timezone": "Europe/Berlin", "tag": "prod", "input": {"n": 1}}
    reply = put(api, **body, rate=None, start_at="2027-01-16T00:00:00+01:00")
    assert reply.status == 200, reply.text
    view = {name: value for name, value in reply.json.items() if name not in body}
    assert {name: reply.json[name] for name in body} == body
    assert view == {
        "workflow": "w",
        "name": "s",
        "rate": None,
        "version": None,
        "overlap": "skip",
        "paused": False,
        "priority": 0,
        "start_at": "2027-01-15T23:00:00.000Z",
        "end_at": None,
        "created_at": "2027-01-15T08:00:00.000Z",
        "updated_at": "2027-01-15T08:00:00.000Z",
        "updated_by": "ann",
        "state": "ACTIVE",
        "next_times": [f"2027-01-{day}T07:30:00.000Z" for day in (18, 19, 20, 21, 22)],
        "waiting": None,
        "last_runs": [],
        "last_skipped": None,
        "last_missed": None,
        "last_failed": None,
    }
    assert api.get(f"{HERE}/s").json == reply.json
    assert put(api, **body, rate=None).json["created_at"] == "2027-01-15T08:00:00.000Z"


def test_what_a_schedule_did_is_told(api: Api) -> None:
    save(api, "w", 1)
    api.post("workflows", {"name": "w", "workflow": {**ONE, "name": "w"}})
    put(api, input={"n": 1})
    for later in (2 * HOUR + 5, HOUR):
        api.clock.now += later
        start_due_runs(api.services)
    view = api.get(f"{HERE}/s").json
    [run] = view["last_runs"]
    assert run == {
        "run_id": run["run_id"],
        "due_at": "2027-01-15T10:00:00.000Z",
        "started_at": "2027-01-15T10:00:00.005Z",
        "by": "schedule:s",
        "status": "PENDING",
    }
    assert view["last_missed"] == {"first": "2027-01-15T09:00:00.000Z", "count": 1, "at": "2027-01-15T10:00:00.005Z"}
    assert view["last_skipped"]["due_at"] == "2027-01-15T11:00:00.000Z"
    assert view["last_skipped"]["reason"] == f"Run {run['run_id']} has not ended."
    api.drain()
    assert api.get(f"{HERE}/s").json["last_runs"][0]["status"] == "COMPLETED"
    assert api.get("runs?workflow=w").json["items"][0]["run_id"] == run["run_id"]


def test_schedules_are_listed_by_name_in_pages(api: Api) -> None:
    save(api, "w", 1)
    for name in ("c", "a", "b"):
        put(api, name)
    page = api.get(f"{HERE}?limit=2").json
    assert ([item["name"] for item in page["items"]], page["next_cursor"]) == (["a", "b"], "b")
    page = api.get(f"{HERE}?limit=2&cursor=b").json
    assert ([item["name"] for item in page["items"]], page["next_cursor"]) == (["c"], None)
    assert api.get(f"{HERE}?cursor=c").json == {"items": [], "next_cursor": None}
    assert api.get(f"{HERE}?cursor={'x' * 65}").status == 422
    assert api.get("workflows/none/schedules").status == 404


@pytest.mark.parametrize(
    ("name", "body", "status", "path"),
    [
        ("s", {"rate": None, "cron": "61 * * * *"}, 422, "/cron"),
        ("s", {"timezone": "Mars/Base"}, 422, "/timezone"),
        ("s", {"every": 5}, 422, "/every"),
        ("s", {"priority": -101}, 422, "/priority"),
        ("a b", {}, 422, "/schedule"),
        ("s", {"tag": "none"}, 404, None),
        ("s", {"version": 7}, 404, None),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_and_not_there(api: Api, name, body, status, path) -> None:
    save(api, "w", 1)
    reply = put(api, name.replace(" ", "%20"), **body)
    assert (reply.status, reply.json["errors"][0]["path"] if path else None) == (status, path), reply.text
    assert api.get(HERE).json["items"] == []


def test_a_schedule_is_paused_and_resumed(api: Api) -> None:
    save(api, "w", 1)
    put(api)
    for _ in range(2):
        reply = api.post(f"{HERE}/s/pause")
        assert (reply.status, reply.json["state"], reply.json["next_times"]) == (200, "PAUSED", [])
    reply = api.post(f"{HERE}/s/resume")
    assert (reply.json["state"], reply.json["next_times"][0]) == ("ACTIVE", "2027-01-15T09:00:00.000Z")
    assert api.post(f"{HERE}/s/pause", {"why": 1}).status == 422
    assert put(api, end_at="2027-01-15T09:30:00Z").json["next_times"] == ["2027-01-15T09:00:00.000Z"]
    api.clock.now += 2 * HOUR
    start_due_runs(api.services)
    assert api.get(f"{HERE}/s").json["state"] == "ENDED"


def test_a_trigger_is_answered_with_its_run_and_its_repeat_with_the_same(api: Api) -> None:
    save(api, "w", 1)
    put(api, overlap="allow")
    reply = api.post(f"{HERE}/s/trigger", Idempotency_Key="k")
    assert (reply.status, reply.json["waiting"]) == (202, False)
    assert reply.headers["Location"] == reply.json["links"]["self"]
    # The first try died before its answer was kept.
    for key, record in [(k, api.directory.get(k)) for k in list(api.directory._texts) if k[0].startswith("idem#")]:
        api.directory.put(key, {name: value for name, value in record.items() if name != "answer"})
    api.clock.now += 5000
    assert api.post(f"{HERE}/s/trigger", Idempotency_Key="k").json["run_id"] == reply.json["run_id"]
    assert api.post(f"{HERE}/s/trigger").json["run_id"] != reply.json["run_id"]
    assert len(api.get("runs").json["items"]) == 2
    assert api.get(f"{HERE}/s").json["last_runs"][1]["by"] == "ann"


def test_a_trigger_waits_or_is_refused_while_a_run_is_live(api: Api) -> None:
    save(api, "w", 1)
    put(api, overlap="queue")
    first = api.post(f"{HERE}/s/trigger").json["run_id"]
    api.clock.now += 1
    reply = api.post(f"{HERE}/s/trigger")
    assert (reply.status, reply.json["waiting"], reply.json["run_id"]) == (202, True, None)
    assert api.get(f"{HERE}/s").json["waiting"] == reply.json["due_at"]
    api.clock.now += 1
    reply = api.post(f"{HERE}/s/trigger")
    assert reply.status == 409 and first in reply.json["detail"]


def test_a_deleted_schedule_is_shown_once_more_and_is_gone(api: Api) -> None:
    save(api, "w", 1)
    put(api)
    assert api.call("DELETE", f"{HERE}/s").json["name"] == "s"
    for method, target in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/trigger"),
    ):
        assert api.call(method, f"{HERE}/s{target}").status == 404, (method, target)
    assert api.call("PUT", "workflows/none/schedules/s", {"rate": "1 hour"}).status == 404
