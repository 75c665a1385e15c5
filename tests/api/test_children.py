"""Child runs over HTTP: links both ways, the list of a run's children, and who may see them."""

from __future__ import annotations

import pytest

from tests.api.client import Api

SUB = {"name": "sub", "nodes": [{"id": "ask", "type": "human", "config": {"message": "?"}}]}
PARENT = {"nodes": [{"id": "call", "type": "workflow", "config": {"workflow": "sub@live", "input": {"n": 1}}}]}


def settle(api: Api) -> None:
    while api.settle_batch():
        pass


@pytest.fixture
def family(api: Api) -> tuple[str, str]:
    """(parent, child), the child at work."""
    assert api.post("workflows", {"name": "sub", "workflow": SUB, "tag": "live"}).status == 201
    run_id = api.post("runs", {"workflow": PARENT}).json["run_id"]
    settle(api)
    (execution,) = api.get(f"runs/{run_id}/nodes/call").json["executions"]
    return run_id, execution["child_run_id"]


def test_parent_and_child_lead_to_each_other(api: Api, family: tuple[str, str]) -> None:
    run_id, child = family
    view = api.get(f"runs/{child}").json
    assert view["parent"] == {"run_id": run_id, "node_id": "call"}
    assert view["links"]["parent"] == f"https://graft.test/api/v1/runs/{run_id}"
    assert (view["workflow"], view["input"]) == ({"name": "sub", "version": 1}, {"n": 1})
    mine = api.get(f"runs/{run_id}").json
    assert mine["parent"] is None and "parent" not in mine["links"]
    assert mine["nodes"]["call"]["status"] == "WAITING"
    waiting = next(e for e in api.get(f"runs/{run_id}/events").json["events"] if e["type"] == "node_waiting")
    assert waiting["data"]["workflow"] == "sub" and waiting["data"]["version"] == 1


def test_a_run_s_children_are_listed(api: Api, family: tuple[str, str]) -> None:
    run_id, child = family
    page = api.get(f"runs?parent={run_id}").json
    assert [(item["run_id"], item["parent"]["node_id"]) for item in page["items"]] == [(child, "call")]
    assert page["next_cursor"] is None
    assert api.get(f"runs?parent={child}").json["items"] == []
    listed = api.get("runs").json["items"]
    assert {item["run_id"]: item["parent"] and item["parent"]["run_id"] for item in listed} == {
        run_id: None,
        child: run_id,
    }


def test_a_long_list_of_children_has_pages(api: Api) -> None:
    api.post("workflows", {"name": "sub", "workflow": SUB, "tag": "live"})
    nodes = [{**PARENT["nodes"][0], "id": f"c{number}"} for number in range(5)]
    run_id = api.post("runs", {"workflow": {"nodes": nodes}}).json["run_id"]
    settle(api)
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = api.get(f"runs?parent={run_id}&limit=2" + (f"&cursor={cursor}" if cursor else "")).json
        found += [item["parent"]["node_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert sorted(found) == [f"c{number}" for number in range(5)]


def test_bad_queries_for_children_are_refused(api: Api, family: tuple[str, str]) -> None:
    run_id, _ = family
    assert api.get("runs?parent=nothing").status == 404
    assert api.get(f"runs?parent={run_id}&status=RUNNING").status == 422
    assert api.get(f"runs?parent={run_id}&cursor=x").status == 422


def test_children_belong_to_their_parent_s_tenant(api: Api, family: tuple[str, str]) -> None:
    run_id, child = family
    rival = api.token(tenant="rival")
    assert api.get(f"runs?parent={run_id}", token=rival).status == 404
    assert api.get(f"runs/{child}", token=rival).status == 404
    other = api.post("runs", {"workflow": PARENT}, token=rival).json["run_id"]
    settle(api)
    error = api.get(f"runs/{other}", token=rival).json["error"]
    assert error["type"] == "NotFound" and "sub has no tag live" in error["message"]


def test_explain_names_the_child_and_how_it_stands(api: Api, family: tuple[str, str]) -> None:
    run_id, child = family
    (entry,) = api.get(f"runs/{run_id}/explain").json["waiting"]
    assert (entry["waits_for"], entry["child_run_id"], entry["child_status"]) == ("child", child, "RUNNING")
    api.client.flushall()
    (entry,) = api.get(f"runs/{run_id}/explain").json["waiting"]
    assert (entry["child_run_id"], entry["child_status"]) == (child, "PENDING")


def test_a_failed_child_is_named_by_its_parent_s_execution(api: Api, family: tuple[str, str]) -> None:
    run_id, child = family
    assert api.post(f"runs/{child}/cancel").status == 200
    api.drain()
    view = api.get(f"runs/{run_id}").json
    assert (view["status"], view["error"]["type"], view["error"]["node_id"]) == ("FAILED", "Cancelled", "call")
    (execution,) = api.get(f"runs/{run_id}/nodes/call").json["executions"]
    assert execution["error"]["child_run_id"] == child == execution["child_run_id"]


def test_cancelling_over_http_cancels_the_child(api: Api, family: tuple[str, str]) -> None:
    run_id, child = family
    assert api.post(f"runs/{run_id}/cancel").json["status"] == "CANCELLED"
    api.drain()
    assert api.get(f"runs/{child}").json["status"] == "CANCELLED"
