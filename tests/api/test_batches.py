"""Batches: a run of a saved workflow for each of many inputs."""

from __future__ import annotations

import json

import pytest

from tests.api.client import Api
from tests.api.documents import ONE


@pytest.fixture
def saved(api: Api) -> Api:
    api.post("workflows", {"name": "one", "workflow": ONE, "tag": "prod"})
    return api


def children(api: Api, run_id: str) -> list[dict]:
    while api.settle_batch():
        pass
    return api.get(f"runs?parent={run_id}").json["items"]


def test_each_input_is_a_run_of_the_version_that_the_batch_chose(saved: Api) -> None:
    reply = saved.post("workflows/one/batches", {"inputs": [{"n": 1}, {"n": 2}, {"n": 3}], "tag": "prod"})
    assert reply.status == 202, reply.text
    saved.post("workflows", {"name": "one", "workflow": {**ONE, "metadata": {"newer": True}}, "tag": "prod"})
    runs = children(saved, reply.json["run_id"])
    assert [run["workflow"] for run in runs] == [{"name": "one", "version": 1}] * 3
    node = saved.get(f"runs/{reply.json['run_id']}/nodes/batch").json
    assert node["items"] == {"total": 3, "completed": 0, "failed": 0, "outstanding": 3}


def test_a_batch_that_is_sent_twice_under_one_key_is_one_batch(saved: Api) -> None:
    body = {"inputs": [{"n": 1}], "max_concurrency": 1}
    first, again = (saved.post("workflows/one/batches", body, Idempotency_Key="k") for _ in range(2))
    assert first.json["run_id"] == again.json["run_id"]
    assert len(children(saved, first.json["run_id"])) == 1


def test_a_cancelled_batch_cancels_its_runs(saved: Api) -> None:
    run_id = saved.post("workflows/one/batches", {"inputs": [{"n": 1}, {"n": 2}]}).json["run_id"]
    assert len(children(saved, run_id)) == 2
    saved.post(f"runs/{run_id}/cancel")
    assert {run["status"] for run in children(saved, run_id)} == {"CANCELLED"}


def test_the_inputs_may_be_an_artifact(saved: Api) -> None:
    ref = saved.artifacts.put(json.dumps([{"n": n} for n in range(5)]).encode())
    run_id = saved.post("workflows/one/batches", {"items_ref": ref, "max_concurrency": 2}).json["run_id"]
    assert len(children(saved, run_id)) == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": 5},
        {"inputs": [], "items_ref": "artifact://sha256/" + "0" * 64},
        {"items_ref": "artifact://sha256/" + "0" * 64},
        {"items_ref": "nowhere"},
        {"inputs": [], "max_concurrency": 0},
        {"inputs": [], "tolerate_failures": []},
        {"inputs": [], "other": 1},
    ],
)
def test_a_batch_without_proper_inputs_is_refused(saved: Api, body: dict) -> None:
    assert saved.post("workflows/one/batches", body).status == 422
    assert saved.get("runs").json["items"] == []


def test_a_batch_of_an_unknown_workflow_is_refused(saved: Api) -> None:
    assert saved.post("workflows/two/batches", {"inputs": []}).status == 404
