"""Explain, verify and the dead letters over HTTP."""

from __future__ import annotations

from chalicelib.engine.dead_letters import Arrived, take_in
from chalicelib.engine.ports import Outgoing
from tests.api.client import Api
from tests.api.documents import ONE
from tests.engine.dead import take_in_all

TASK = {"nodes": [{"id": "a", "type": "function", "config": {"handler": "echo"}, "timeout_ms": 1000}]}


def settle_all(api: Api) -> None:
    while api.settle_batch():
        pass


def letter(api: Api, body: str, number: int) -> None:
    message = Arrived(f"m{number}", "tasks-http", body, api.clock.now_ms() + number, 6)
    assert take_in(api.services, api.coordinator.handle, message)


def test_explain_names_the_task_and_its_job_as_the_node_does(api: Api) -> None:
    run_id = api.post("runs", {"workflow": TASK}).json["run_id"]
    settle_all(api)
    answer = api.get(f"runs/{run_id}/explain").json
    [entry] = answer["waiting"]
    assert entry["job_id"] == api.get(f"runs/{run_id}/nodes/a").json["executions"][0]["job_id"]
    assert (answer["waiting_total"], answer["problems"], answer["error"]) == (1, [], None)


def test_explain_shows_a_join_that_waits(api: Api) -> None:
    nodes = [*TASK["nodes"], {"id": "p", "type": "pass"}, {"id": "j", "type": "pass"}]
    edges = [{"from": "a", "to": "j"}, {"from": "p", "to": "j"}]
    run_id = api.post("runs", {"workflow": {"nodes": nodes, "edges": edges}}).json["run_id"]
    settle_all(api)
    entry = api.get(f"runs/{run_id}/explain").json["waiting"][0]
    assert (entry["waits_for"], [edge["state"] for edge in entry["edges"]]) == ("join", ["missing", "taken"])


def test_verify_holds_for_live_redriven_and_forked_runs(api: Api) -> None:
    api.worker = lambda task: {"status": "failed", "error": {"type": "Broken", "message": "no", "retryable": False}}
    run_id = api.post("runs", {"workflow": TASK}).json["run_id"]
    api.drain()
    for verb, body in (("redrive", None), ("fork", {"from_node": "a"})):
        reply = api.post(f"runs/{run_id}/{verb}", body)
        assert reply.status in (200, 201, 202), reply.text
        other = reply.json["run_id"]
        assert api.get(f"runs/{other}/verify").json["ok"] is True
        api.drain()
        answer = api.get(f"runs/{other}/verify").json
        assert (answer["ok"], answer["status"], answer["differences"]) == (True, "FAILED", [])


def test_a_dead_letter_is_seen_by_its_own_tenant_alone(api: Api) -> None:
    run_id = api.post("runs", {"workflow": TASK}).json["run_id"]
    settle_all(api)
    [body] = api.queues.bodies("tasks-function")
    api.queues.send([Outgoing("tasks-function-dlq", body)])
    take_in_all(api)
    settle_all(api)
    [item] = api.get("dead-letters").json["items"]
    assert item["origin"]["run_id"] == run_id and "callback" not in item["message"]
    assert api.get(f"runs/{run_id}").json["error"]["type"] == "Undeliverable"
    stranger = api.token(tenant="other")
    assert api.get("dead-letters", token=stranger).json["items"] == []
    assert api.post("dead-letters/redrive", {"ids": [item["id"]]}, token=stranger).status == 404
    assert api.post("dead-letters/redrive", token=stranger).json["redriven"] == []
    assert api.post("dead-letters/redrive", {"ids": [item["id"]]}).json["redriven"] == [item["id"]]
    assert api.queues.bodies("tasks-function") == [body, body]


def test_pages_of_dead_letters_and_their_refusals(api: Api) -> None:
    for number in range(5):
        letter(api, "{}", number)
    first = api.get("dead-letters?limit=3").json
    rest = api.get(f"dead-letters?limit=3&cursor={first['next_cursor']}").json
    ids = [item["id"] for item in first["items"] + rest["items"]]
    assert len(set(ids)) == 5 and rest["next_cursor"] is None
    for query in ("limit=0", "limit=x", "cursor=!", "cursor=0"):
        assert api.get(f"dead-letters?{query}").status == 422
    for body in ({"ids": []}, {"ids": "x"}, {"ids": [1]}, {"ids": ["x"] * 101}, {"id": "x"}, []):
        assert api.post("dead-letters/redrive", body).status == 422
    assert api.post("dead-letters/redrive", {"ids": ["x" * 3000]}).status == 404
    assert api.post("dead-letters/redrive", {"ids": [ids[0], ids[0]]}).json["redriven"] == [ids[0]]
    assert sorted(api.post("dead-letters/redrive").json["redriven"]) == sorted(ids[1:])
    assert api.post("dead-letters/redrive", {}).json == {"redriven": [], "kept": [], "more": False}


def test_an_unknown_run_is_not_explained_nor_verified(api: Api) -> None:
    api.post("runs", {"workflow": ONE})
    for verb in ("explain", "verify"):
        assert api.get(f"runs/none/{verb}").status == 404
        assert api.get(f"runs/..%2F/{verb}").status == 404
