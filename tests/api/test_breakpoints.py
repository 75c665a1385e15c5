from __future__ import annotations

import pytest

from tests.api.client import Api
from tests.api.test_runs import start

TWO = {
    "name": "two",
    "nodes": [
        {"id": "a", "type": "function", "config": {"handler": "echo", "params": {"n": 1}}},
        {"id": "b", "type": "function", "config": {"handler": "echo", "params": {"n": 2}}},
    ],
    "edges": [{"from": "a", "to": "b"}],
}


def paused(api: Api, run_id: str) -> dict:
    api.drain()
    run = api.get(f"runs/{run_id}").json
    assert run["status"] == "PAUSED"
    return run


def test_a_run_of_a_document_pauses_before_its_breakpoints_and_goes_on(api: Api) -> None:
    run_id = start(api, TWO, breakpoints=["b", "a", "b"])
    run = paused(api, run_id)
    assert run["breakpoints"] == ["a", "b"] and run["counts"] == {"PENDING": 2}
    api.post(f"runs/{run_id}/resume")
    run = paused(api, run_id)
    assert (run["nodes"]["a"]["status"], run["nodes"]["b"]) == (
        "COMPLETED",
        {"type": "function", "status": "PENDING", "attempts": 0, "iteration": 1, "started_at": None,
         "finished_at": None},
    )  # fmt: skip
    assert api.get(f"runs/{run_id}/nodes/b").json["executions"] == []
    explained = api.get(f"runs/{run_id}/explain").json
    assert [(entry["node_id"], entry["waits_for"]) for entry in explained["waiting"]] == [("b", "breakpoint")]
    events = api.get(f"runs/{run_id}/events?limit=100").json["events"]
    assert [event["data"] for event in events if event["type"] == "run_paused"] == [
        {"breakpoint": "a"}, {"breakpoint": "b"}]  # fmt: skip
    api.post(f"runs/{run_id}/resume")
    api.drain()
    assert api.get(f"runs/{run_id}").json["status"] == "COMPLETED"


def test_a_run_of_a_saved_workflow_has_breakpoints_of_its_own(api: Api) -> None:
    api.post("workflows", {"name": "two", "workflow": TWO})
    run_id = api.post("workflows/two/runs", {"breakpoints": ["b"]}).json["run_id"]
    other = api.post("workflows/two/runs", {}).json["run_id"]
    assert paused(api, run_id)["breakpoints"] == ["b"]
    run = api.get(f"runs/{other}").json
    assert (run["status"], run["breakpoints"]) == ("COMPLETED", [])


def test_the_document_of_a_run_and_its_patches_know_nothing_of_breakpoints(api: Api) -> None:
    run_id = start(api, TWO, breakpoints=["b"])
    paused(api, run_id)
    document = api.get(f"runs/{run_id}/workflow").json
    assert "breakpoint" not in str(document)
    patched = api.post(
        f"runs/{run_id}/patch",
        {"operations": [{"op": "replace", "path": "/nodes/b/config/params", "value": {"n": 7}}]},
    )
    assert patched.json["changed"] == ["b"] and api.get(f"runs/{run_id}").json["breakpoints"] == ["b"]
    same = api.post(f"runs/{run_id}/patch", {"operations": [{"op": "test", "path": "/name", "value": "two"}]})
    assert same.json["revision"] == 1
    api.post(f"runs/{run_id}/resume")
    api.drain()
    assert api.get(f"runs/{run_id}").json["output"] == {"b": {"n": 7}}


@pytest.mark.parametrize("route", ["runs", "workflows/two/runs"])
@pytest.mark.parametrize(
    ("given", "places"),
    [
        (["a", "nope", "b", 7], ["/breakpoints/1", "/breakpoints/3"]),
        ([["a"]], ["/breakpoints/0"]),
        ("a", ["/breakpoints"]),
        ({"a": 1}, ["/breakpoints"]),
        (["a"] * 1001, ["/breakpoints"]),
    ],
)
def test_what_is_no_breakpoint_is_refused_by_its_place(api: Api, route: str, given: object, places: list[str]) -> None:
    api.post("workflows", {"name": "two", "workflow": TWO})
    body = {"breakpoints": given} | ({"workflow": TWO} if route == "runs" else {})
    reply = api.post(route, body)
    assert (reply.status, [error["path"] for error in reply.json["errors"]]) == (422, places)
    assert api.get("runs").json["items"] == []


def test_a_start_under_one_id_with_other_breakpoints_is_another_start(api: Api) -> None:
    start(api, TWO, run_id="mine", breakpoints=["a", "b"])
    assert start(api, TWO, run_id="mine", breakpoints=["b", "a"]) == "mine"
    assert api.post("runs", {"workflow": TWO, "input": {"n": 1}, "run_id": "mine"}).status == 409


def test_the_api_s_description_names_breakpoints_of_both_starts(api: Api) -> None:
    paths = api.get("openapi.json").json["paths"]
    for path in ("/runs", "/workflows/{name}/runs"):
        schema = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert "pauses before" in schema["properties"]["breakpoints"]["description"]
