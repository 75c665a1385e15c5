"""Limits of runs per workflow by HTTP, and priorities of starts."""

from __future__ import annotations

import pytest

from chalicelib.engine.schedule_runs import start_due_runs
from tests.api.client import Api
from tests.api.documents import ONE

HERE = "workflows/w/settings"


def begin(api: Api, target: str = "workflows/w/runs", **body: object) -> str:
    api.clock.now += 1
    reply = api.post(target, {"input": {"n": 1}, **body})
    assert reply.status == 202, reply.text
    while api.settle_batch():
        pass
    return reply.json["run_id"]


@pytest.fixture
def limited(api: Api) -> Api:
    api.post("workflows", {"name": "w", "workflow": ONE, "tag": "prod"})
    reply = api.call("PUT", HERE, {"max_running": 1})
    assert reply.json == {"name": "w", "max_running": 1, "running": [], "waiting": []}
    return api


def test_runs_wait_whatever_route_starts_them_and_begin_by_priority(limited: Api) -> None:
    first = begin(limited)
    waiting = [
        begin(limited, "runs", workflow="w@1", priority=-5),
        begin(limited, "runs", workflow="w@prod"),
        begin(limited, tag="prod", priority=5),
    ]
    limited.call("PUT", "workflows/w/schedules/s", {"rate": "1 minute", "input": {"n": 1}})
    limited.clock.now += 60_000
    start_due_runs(limited.services)
    by_schedule = limited.get("workflows/w/schedules/s").json["last_runs"][0]
    assert by_schedule["status"] == "PENDING"
    low, middle, high = waiting
    view = limited.get(HERE).json
    assert view == {
        "name": "w",
        "max_running": 1,
        "running": [first],
        "waiting": [high, middle, by_schedule["run_id"], low],
    }
    assert [limited.get(f"runs/{run_id}").json["status"] for run_id in (first, high)] == ["RUNNING", "PENDING"]
    assert limited.post(f"runs/{high}/cancel").json["status"] == "CANCELLED"
    limited.post(f"runs/{first}/cancel")
    assert limited.get(HERE).json["running"] == [middle]
    limited.drain()
    assert limited.get(f"runs/{low}").json["status"] == "COMPLETED"
    assert limited.get(HERE).json["waiting"] == []


def test_runs_of_schedules_wait_by_the_priority_that_their_schedule_has_when_it_starts_them(limited: Api) -> None:
    first = begin(limited)
    for name, priority in (("low", -3), ("high", 7), ("changed", -3)):
        body = {"rate": "1 minute", "input": {"n": 1}, "priority": priority}
        reply = limited.call("PUT", f"workflows/w/schedules/{name}", body)
        assert (reply.status, reply.json["priority"]) == (200, priority)
    limited.call("PUT", "workflows/w/schedules/changed", {"rate": "1 minute", "input": {"n": 1}, "priority": 9})
    middle = begin(limited)
    limited.clock.now += 60_000
    start_due_runs(limited.services)
    runs = {
        name: limited.get(f"workflows/w/schedules/{name}").json["last_runs"][0]["run_id"]
        for name in ("low", "high", "changed")
    }
    view = limited.get(HERE).json
    assert view["running"] == [first]
    assert view["waiting"] == [runs["changed"], runs["high"], middle, runs["low"]]


def test_a_document_given_with_the_start_is_no_saved_workflow_and_not_limited(limited: Api) -> None:
    runs = [begin(limited, "runs", workflow={**ONE, "name": "w"}) for _ in range(2)]
    assert [limited.get(f"runs/{run_id}").json["status"] for run_id in runs] == ["RUNNING"] * 2


def test_lifting_the_limit_lets_the_waiting_runs_begin(limited: Api) -> None:
    _, second = begin(limited), begin(limited)
    reply = limited.call("PUT", HERE, {"max_running": None})
    assert (reply.json["max_running"], reply.json["waiting"]) == (None, [])
    limited.drain()
    assert limited.get(f"runs/{second}").json["status"] == "COMPLETED"


@pytest.mark.parametrize("value", [0, -1, 1001, "1", 1.5, True])
def test_a_limit_that_is_none_is_refused(limited: Api, value: object) -> None:
    reply = limited.call("PUT", HERE, {"max_running": value})
    assert (reply.status, reply.json["errors"][0]["path"]) == (422, "/max_running")
    assert limited.get(HERE).json["max_running"] == 1


@pytest.mark.parametrize("value", [101, -101, "1", 0.5, True])
def test_a_priority_that_is_none_is_refused(limited: Api, value: object) -> None:
    reply = limited.post("workflows/w/runs", {"input": {"n": 1}, "priority": value})
    assert (reply.status, reply.json["errors"][0]["path"]) == (422, "/priority")


def test_settings_of_a_workflow_that_is_not_there_are_not_found(api: Api) -> None:
    assert api.get("workflows/none/settings").status == 404
    assert api.call("PUT", "workflows/none/settings", {"max_running": 1}).status == 404
