"""Schedules on a whole local stack: a time that is due starts its run, and a pass that is killed loses nothing."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.client import REAL, RUN_S, Api, document, function
from tests.e2e.conftest import eventually

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack(start_stack):
    running = start_stack(*REAL, GRAFT_LOCAL_SCHEDULE_S="0.2")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def api(stack):
    found = Api(stack)
    params = {"at": "${input.at}"}
    saved = found.post("/workflows", {"name": "w", "workflow": document(function("a", params=params)), "tag": "prod"})
    assert saved.status == 201, saved.raw
    return found


def soon(seconds=1.5):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def last_runs(api, name):
    return api.get(f"/workflows/w/schedules/{name}").json["last_runs"]


def test_a_due_time_starts_one_run_with_its_time_as_input(api):
    body = {"rate": "1 day", "start_at": soon(), "tag": "prod", "input": {"at": "${schedule.due_at}"}}
    reply = api.call("PUT", "/workflows/w/schedules/daily", body)
    assert (reply.status, reply.json["next_times"][0]) == (200, reply.json["start_at"]), reply.raw
    [begun] = eventually(lambda: last_runs(api, "daily"), RUN_S, "the start")
    run = api.finish(begun["run_id"])
    assert (run["status"], run["workflow"]) == ("COMPLETED", {"name": "w", "version": 1})
    assert run["output"] == {"a": {"at": reply.json["start_at"]}}
    assert [item["run_id"] for item in api.get("/runs?workflow=w").json["items"]] == [begun["run_id"]]
    assert api.get("/workflows/w/schedules").json["items"][0]["name"] == "daily"


def test_times_that_come_due_while_the_schedules_are_killed_each_start_one_run(api, stack):
    names = [f"s{n}" for n in range(6)]
    for n, name in enumerate(names):
        body = {"rate": "1 day", "start_at": soon(1 + n / 5), "input": {"at": name}}
        assert api.call("PUT", f"/workflows/w/schedules/{name}", body).status == 200
    killed = set()

    def kill_and_look():
        pid = stack.pids["schedules"]
        if pid not in killed and len(killed) < 4:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        return all(last_runs(api, name) for name in names)

    eventually(kill_and_look, RUN_S, "every start")
    assert killed
    for name in names:
        [begun] = last_runs(api, name)
        assert api.finish(begun["run_id"])["output"] == {"a": {"at": name}}
    started = [item["run_id"] for item in api.get("/runs?workflow=w&limit=200").json["items"]]
    assert len(started) == len(set(started)) == len(names) + 1


def test_a_trigger_starts_a_run_and_a_deleted_schedule_is_gone(api):
    assert api.call("PUT", "/workflows/w/schedules/t", {"rate": "1 day", "input": {"at": "x"}}).status == 200
    reply = api.post("/workflows/w/schedules/t/trigger")
    assert reply.status == 202, reply.raw
    assert api.finish(reply.json["run_id"])["status"] == "COMPLETED"
    assert api.call("DELETE", "/workflows/w/schedules/t").status == 200
    assert api.get("/workflows/w/schedules/t").status == 404


def test_a_limit_holds_on_a_whole_stack_and_every_run_ends(api):
    saved = api.post("/workflows", {"name": "narrow", "workflow": document(function("a"), function("b"))})
    assert saved.status == 201, saved.raw
    assert api.call("PUT", "/workflows/narrow/settings", {"max_running": 2}).status == 200
    started = [api.post("/workflows/narrow/runs", {"priority": n}).json["run_id"] for n in range(12)]

    def ended():
        view = api.get("/workflows/narrow/settings").json
        assert len(view["running"]) <= 2
        return not view["running"] and not view["waiting"]

    eventually(ended, RUN_S, "the end of all runs")
    assert {api.run(run_id)["status"] for run_id in started} == {"COMPLETED"}
