from __future__ import annotations

import json

from tests.api.client import Api
from tests.api.documents import ONE


def test_a_run_is_paused_resumed_and_cancelled(api: Api) -> None:
    run_id = api.post("runs", {"workflow": ONE}).json["run_id"]
    assert api.post(f"runs/{run_id}/pause", {}).json["status"] == "PAUSED"
    assert api.post(f"runs/{run_id}/pause").json["status"] == "PAUSED"
    assert api.post(f"runs/{run_id}/resume").json["status"] in ("PENDING", "RUNNING")
    assert api.post(f"runs/{run_id}/cancel").json["status"] == "CANCELLED"
    assert api.post(f"runs/{run_id}/cancel").json["status"] == "CANCELLED"
    refused = api.post(f"runs/{run_id}/resume")
    assert (refused.status, refused.json["status"]) == (409, 409)
    types = [event["type"] for event in api.get(f"runs/{run_id}/events").json["events"]]
    assert types[:1] == ["run_created"]
    assert types[-1] == "run_cancelled" and types.count("run_paused") == 1
    assert api.get("runs?status=CANCELLED").json["items"][0]["run_id"] == run_id


def test_a_control_body_takes_no_members(api: Api) -> None:
    run_id = api.post("runs", {"workflow": ONE}).json["run_id"]
    reply = api.post(f"runs/{run_id}/cancel", {"why": "no"})
    assert reply.status == 422 and json.dumps(reply.json["errors"]).count("/why") == 1


def test_redrive_rerun_and_skip_refuse_where_they_do_not_apply(api: Api) -> None:
    run_id = api.post("runs", {"workflow": ONE}).json["run_id"]
    assert api.post(f"runs/{run_id}/redrive").status == 409
    assert api.post(f"runs/{run_id}/nodes/nope/rerun").status == 404
    assert api.post(f"runs/{run_id}/nodes/nope/skip", {"output": 1}).status == 404
    node = next(iter(ONE["nodes"]))["id"]
    assert api.post(f"runs/{run_id}/nodes/{node}/rerun").status == 409
    api.post(f"runs/{run_id}/cancel")
    assert api.post(f"runs/{run_id}/redrive").json["status"] == "RUNNING"


def test_a_run_is_forked_once_per_key(api: Api) -> None:
    run_id = api.post("runs", {"workflow": ONE}).json["run_id"]
    first = api.post(f"runs/{run_id}/fork", {"from_seq": 1, "input": {"n": 2}}, Idempotency_Key="k1")
    again = api.post(f"runs/{run_id}/fork", {"from_seq": 1, "input": {"n": 2}}, Idempotency_Key="k1")
    assert first.status == 202 and first.json["run_id"] == again.json["run_id"] != run_id
    fork = api.get(f"runs/{first.json['run_id']}").json
    assert (fork["input"], fork["status"]) == ({"n": 2}, "PENDING")
    for body in ({}, {"from_seq": 1, "from_node": "a"}, {"from_seq": 0}, {"from_seq": 10_000}, {"from_node": "nope"}):
        assert api.post(f"runs/{run_id}/fork", body).status == 422, body


UNDO = {"type": "function", "config": {"handler": "echo", "params": {"undo": "${output.n}"}}}
UNDONE = {"name": "undone", "nodes": [{**ONE["nodes"][0], "compensate": UNDO}]}


def test_a_run_is_rolled_back_once_and_says_meanwhile_that_it_compensates(api: Api) -> None:
    run_id = api.post("runs", {"workflow": UNDONE, "input": {"n": 3}}).json["run_id"]
    assert (api.get(f"runs/{run_id}").json["phase"], api.get(f"runs/{run_id}").json["rollback"]) == (None, None)
    api.drain()
    begun = api.post(f"runs/{run_id}/rollback")
    assert (begun.status, begun.json["status"], begun.json["phase"]) == (200, "RUNNING", "compensating")
    assert api.post(f"runs/{run_id}/rollback", {}).json["phase"] == "compensating"
    refused = api.call("PATCH", f"runs/{run_id}", [{"op": "add", "path": "/metadata", "value": {}}])
    assert refused.status == 409 and "rolled back" in refused.json["detail"]
    api.drain()
    run = api.get(f"runs/{run_id}").json
    assert (run["status"], run["phase"], run["rollback"]) == ("FAILED", None, "done")
    assert run["error"]["type"] == "Cancelled" and api.get("runs?status=FAILED").json["items"][0]["run_id"] == run_id
    events = api.get(f"runs/{run_id}/events?limit=1000").json["events"]
    assert [event["type"] for event in events][-2:] == ["run_rolled_back", "run_failed"]
    [undo] = api.get(f"runs/{run_id}/nodes/a").json["compensations"]
    assert (undo["status"], undo["output"]) == ("COMPLETED", {"undo": 3})
    assert api.get(f"runs/{run_id}/verify").json["ok"]
    for verb in ("rollback", "redrive", "nodes/a/rerun", "nodes/a/skip"):
        assert api.post(f"runs/{run_id}/{verb}").status == 409, verb


def test_a_rollback_needs_the_scope_for_control(api: Api) -> None:
    run_id = api.post("runs", {"workflow": UNDONE}).json["run_id"]
    assert api.post(f"runs/{run_id}/rollback", token=api.token(("runs:read", "runs:patch"))).status == 403
    assert api.post("runs/nope/rollback").status == 404
