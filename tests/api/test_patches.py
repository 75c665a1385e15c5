from __future__ import annotations

import json

import pytest

from tests.api.client import Api
from tests.api.documents import ONE

ECHO = {"handler": "echo", "params": {}}
NEW = {"op": "add", "path": "/nodes/-", "value": {"id": "n", "type": "function", "config": ECHO}}
EDGE = {"op": "add", "path": "/edges/-", "value": {"from": "a", "to": "n"}}


@pytest.fixture
def run_id(api: Api) -> str:
    """A run whose node `a` is at work."""
    found = api.post("runs", {"workflow": ONE, "input": {"n": 1}}).json["run_id"]
    api.settle_batch()
    api.get(f"runs/{found}")  # what is committed is journaled by now
    return found


def test_a_patch_is_applied_shown_listed_and_reverted(api: Api, run_id: str) -> None:
    body = {"operations": [NEW, EDGE], "description": "one more step", "base_revision": 0}
    reply = api.post(f"runs/{run_id}/patch", body, token=api.token(sub="pat"))
    assert reply.status == 200, reply.text
    assert reply.headers["ETag"] == '"1"'
    view = reply.json
    names = ("run_id", "revision", "added", "removed", "changed", "dispatched", "warnings")
    assert {name: view[name] for name in names} == {
        "run_id": run_id, "revision": 1, "added": ["n"], "removed": [], "changed": [], "dispatched": [], "warnings": [],
    }  # fmt: skip
    assert [node["id"] for node in api.get(f"runs/{run_id}/workflow").json["nodes"]] == ["a", "n"]
    (item,) = api.get(f"runs/{run_id}/patches").json["items"]
    assert (item["patch"], item["author"], item["description"]) == (1, "pat", "one more step")
    assert item["operations"] == [NEW, EDGE]
    event = api.get(f"runs/{run_id}/events").json["events"][-1]
    assert (event["type"], event["actor"], event["data"]["description"]) == ("patch_applied", "pat", "one more step")
    reply = api.post(f"runs/{run_id}/patches/1/revert")
    assert (reply.status, reply.json["revision"], reply.json["removed"]) == (200, 2, ["n"])
    assert [item["reverts"] for item in api.get(f"runs/{run_id}/patches").json["items"]] == [None, 1]
    assert api.get(f"runs/{run_id}/events").json["events"][-1]["type"] == "patch_reverted"
    api.drain()
    assert api.get(f"runs/{run_id}").json["output"] == {"a": {"n": 1}}
    assert api.post(f"runs/{run_id}/patch", {"operations": [NEW]}).status == 409


@pytest.mark.parametrize("path", ["", "/patch"])
@pytest.mark.parametrize("tag", ['"0"', "0", "*", None, 'W/"0"', '"7", "0"'])
def test_json_patch_documents_take_if_match_in_all_its_forms(api: Api, run_id: str, path: str, tag: str | None) -> None:
    headers = {} if tag is None else {"If_Match": tag}
    reply = api.call("PATCH", f"runs/{run_id}{path}", [NEW], Content_Type="application/json-patch+json", **headers)
    assert (reply.status, reply.json["revision"], reply.json["dispatched"]) == (200, 1, ["n"]), reply.text


@pytest.mark.parametrize("tag", ['"3"', "3", '"1", "2"'])
def test_a_stale_revision_is_409_with_the_present_one(api: Api, run_id: str, tag: str) -> None:
    for reply in (
        api.call("PATCH", f"runs/{run_id}", [NEW], If_Match=tag),
        api.post(f"runs/{run_id}/patch", {"operations": [NEW]}, If_Match=tag),
        api.post(f"runs/{run_id}/patch", {"operations": [NEW], "base_revision": 3}),
    ):
        assert (reply.status, reply.json["revision"]) == (409, 0)
    assert api.get(f"runs/{run_id}").json["revision"] == 0


def test_a_dry_run_changes_nothing(api: Api, run_id: str) -> None:
    before = api.store.snapshot(run_id)
    dry = api.post(f"runs/{run_id}/patch", {"operations": [NEW], "dry_run": True})
    assert api.store.snapshot(run_id)["meta"]["rev"] == before["meta"]["rev"] == "0"
    assert dry.json == api.post(f"runs/{run_id}/patch", {"operations": [NEW]}).json


def test_a_key_makes_a_repeat_harmless_by_post_and_by_patch(api: Api, run_id: str) -> None:
    first = api.post(f"runs/{run_id}/patch", {"operations": [NEW], "base_revision": 0}, Idempotency_Key="k")
    again = api.post(f"runs/{run_id}/patch", {"operations": [NEW], "base_revision": 0}, Idempotency_Key="k")
    assert (again.status, again.json) == (first.status, first.json)
    more = [{**NEW, "value": {**NEW["value"], "id": "m"}}]
    first = api.call("PATCH", f"runs/{run_id}", more, If_Match='"1"', Idempotency_Key="k")
    again = api.call("PATCH", f"runs/{run_id}", more, If_Match='"1"', Idempotency_Key="k")
    assert first.status == again.status == 200
    assert first.json == again.json
    assert api.get(f"runs/{run_id}").json["revision"] == 2
    assert api.post(f"runs/{run_id}/patch", {"operations": []}, Idempotency_Key="k").status == 409


def test_a_repeat_after_a_lost_answer_finds_its_own_patch(api: Api, run_id: str) -> None:
    """The commit stood, its reply did not arrive: the repeat is not a conflict with itself."""
    send, api.queues.send = api.queues.send, lambda messages: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        api.post(f"runs/{run_id}/patch", {"operations": [NEW], "base_revision": 0}, Idempotency_Key="k")
    api.queues.send = send
    reply = api.post(f"runs/{run_id}/patch", {"operations": [NEW], "base_revision": 0}, Idempotency_Key="k")
    assert (reply.status, reply.json["revision"], reply.json["dispatched"]) == (200, 1, ["n"])
    api.drain()
    assert api.get(f"runs/{run_id}").json["nodes"]["n"]["status"] == "COMPLETED"


def test_a_dispatched_tasks_job_id_is_the_one_that_its_event_names(api: Api, run_id: str) -> None:
    api.post(f"runs/{run_id}/patch", {"operations": [NEW]})
    api.settle_batch()
    tasks = [json.loads(message.body) for message in api.queues.receive("tasks-function")]
    (sent,) = [task["job_id"] for task in tasks if task["node_id"] == "n"]
    events = api.get(f"runs/{run_id}/events").json["events"]
    assert [e["job_id"] for e in events if e["type"] == "node_dispatched" and e["node_id"] == "n"] == [sent]


def test_a_run_bound_token_with_capabilities_patches_its_run_within_them(api: Api, run_id: str) -> None:
    other = api.post("runs", {"workflow": ONE, "input": {"n": 1}}).json["run_id"]
    token = api.token(["runs:patch"], run_id=run_id, caps={"node_types": ["function"], "functions": ["echo"]})
    assert api.post(f"runs/{run_id}/patch", {"operations": [NEW]}, token=token).status == 200
    assert api.post(f"runs/{other}/patch", {"operations": [NEW]}, token=token).status == 403
    value = {"id": "m", "type": "function", "config": {"handler": "send_email"}}
    reply = api.post(f"runs/{run_id}/patch", {"operations": [{**NEW, "value": value}]}, token=token)
    assert (reply.status, reply.json["errors"][0]["code"]) == (422, "not_allowed")


def test_large_patches_keep_their_details_beside_the_journal(api: Api, run_id: str) -> None:
    text = "x" * 60_000
    api.post(f"runs/{run_id}/patch", {"operations": [{"op": "add", "path": "/metadata", "value": {"text": text}}]})
    (item,) = api.get(f"runs/{run_id}/patches").json["items"]
    assert item["operations"][0]["value"] == {"text": text}
    assert api.post(f"runs/{run_id}/patches/1/revert").json["revision"] == 2


def test_patches_are_listed_by_pages_also_from_the_history(api: Api, run_id: str) -> None:
    for number in range(5):
        api.post(f"runs/{run_id}/patch", {"operations": [{"op": "add", "path": "/metadata", "value": {"n": number}}]})
    page = api.get(f"runs/{run_id}/patches?limit=3").json
    rest = api.get(f"runs/{run_id}/patches?limit=3&cursor={page['next_cursor']}").json
    assert [item["patch"] for item in page["items"] + rest["items"]] == [1, 2, 3, 4, 5]
    assert rest["next_cursor"] is None
    api.drain()
    api.client.flushall()
    assert api.get(f"runs/{run_id}/patches?limit=3").json == page
    assert api.post(f"runs/{run_id}/patches/1/revert").status == 409


BAD = [
    ({}, "missing", "/operations"),
    ({"operations": {}}, "wrong_type", "/operations"),
    ({"operations": None}, "wrong_type", "/operations"),
    ({"operations": [5]}, "wrong_type", "/operations/0"),
    ({"operations": [{"op": "boom", "path": ""}]}, "unknown_op", "/operations/0/op"),
    ({"operations": [{"op": ["add"], "path": ""}]}, "unknown_op", "/operations/0/op"),
    ({"operations": [{"op": "add", "value": 1}]}, "bad_pointer", "/operations/0/path"),
    ({"operations": [{"op": "add", "path": "nodes", "value": 1}]}, "bad_pointer", "/operations/0/path"),
    ({"operations": [{"op": "add", "path": "/a~2", "value": 1}]}, "bad_pointer", "/operations/0/path"),
    ({"operations": [{"op": "add", "path": "/x"}]}, "missing", "/operations/0/value"),
    ({"operations": [{"op": "move", "path": "/x"}]}, "bad_pointer", "/operations/0/from"),
    ({"operations": [{"op": "copy", "from": "/zz", "path": "/x"}]}, "path_not_found", "/operations/0/from"),
    ({"operations": [{"op": "remove", "path": "/nodes/zz"}]}, "unknown_node", "/operations/0/path"),
    ({"operations": [{"op": "remove", "path": "/nodes/9"}]}, "path_not_found", "/operations/0/path"),
    ({"operations": [{"op": "remove", "path": "/nodes/-"}]}, "bad_index", "/operations/0/path"),
    ({"operations": [{"op": "remove", "path": "/nodes/01"}]}, "unknown_node", "/operations/0/path"),
    ({"operations": [{"op": "remove", "path": "/edges/a:b"}]}, "unknown_edge", "/operations/0/path"),
    ({"operations": [{"op": "remove", "path": "/edges/ab"}]}, "bad_pointer", "/operations/0/path"),
    ({"operations": [{"op": "remove", "path": ""}]}, "path_not_found", "/operations/0/path"),
    ({"operations": [{"op": "replace", "path": "", "value": [1]}]}, "wrong_type", "/operations/0/path"),
    ({"operations": [{"op": "test", "path": "/name", "value": "two"}]}, "test_failed", "/operations/0/path"),
    ({"operations": [{"op": "move", "from": "/nodes", "path": "/nodes/0/x"}]}, "move_into_itself", "/operations/0/path"),  # noqa: E501
    ({"operations": [NEW] * 1001}, "limit_exceeded", "/operations"),
    ({"operations": [NEW, NEW]}, "duplicate_id", "/nodes/2/id"),
    ({"operations": [{"op": "add", "path": "/nodes/-", "value": {"id": "n", "type": "nope"}}]}, None, "/nodes/1/type"),
    ({"operations": [], "base_revision": -1}, "bad_number", "/base_revision"),
    ({"operations": [], "base_revision": True}, "bad_number", "/base_revision"),
    ({"operations": [], "dry_run": "yes"}, "wrong_type", "/dry_run"),
    ({"operations": [], "description": 5}, "bad_description", "/description"),
    ({"operations": [], "what": 5}, "unknown_member", "/what"),
    ([], "wrong_type", ""),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code", "path"), BAD, ids=lambda value: str(value)[:60])
def test_what_is_no_patch_is_422_and_changes_nothing(api: Api, run_id: str, body: object, code: str, path: str) -> None:
    before = api.store.snapshot(run_id)
    reply = api.post(f"runs/{run_id}/patch", body)
    assert reply.status == 422, reply.text
    error = reply.json["errors"][0]
    assert error["path"] == path
    assert code is None or error["code"] == code
    assert api.store.snapshot(run_id) == before


def test_hostile_copies_stay_bounded(api: Api, run_id: str) -> None:
    deeper = [{"op": "copy", "from": "", "path": "/metadata"}] * 100
    wider = [{"op": "add", "path": "/metadata", "value": {"x": ["y" * 1000] * 50}}]
    wider += [{"op": "copy", "from": "/metadata/x", "path": "/metadata/x/-"}] * 60
    long = [{"op": "add", "path": "/" + "a/" * 500, "value": 1}]
    for operations in (deeper, wider, long):
        assert api.post(f"runs/{run_id}/patch", {"operations": operations}).status == 422
    assert api.call("PATCH", f"runs/{run_id}", [NEW], If_Match='"x"').status == 422
    assert api.call("PATCH", f"runs/{run_id}", {"operations": [NEW]}).status == 422
    assert api.call("PATCH", f"runs/{run_id}", b"nope").status == 400
    for number in ("9", "x", "0", "9" * 30):
        assert api.post(f"runs/{run_id}/patches/{number}/revert").status == 404


def test_a_node_shows_the_input_and_the_job_that_each_attempt_had(api: Api) -> None:
    node = {**ONE["nodes"][0], "retry": {"max_attempts": 2, "backoff_ms": 0}}
    run_id = api.post("runs", {"workflow": {"nodes": [node]}, "input": {"n": 1}}).json["run_id"]
    api.settle_batch()
    (message,) = api.queues.receive("tasks-function")
    api.queues.delete("tasks-function", message.receipt)
    task = json.loads(message.body)
    change = {"op": "replace", "path": "/nodes/a/config/params", "value": {"n": 2}}
    api.post(f"runs/{run_id}/patch", {"operations": [change]})
    (shown,) = api.get(f"runs/{run_id}/nodes/a").json["executions"]
    assert shown["job_id"] == task["job_id"]
    api.answer(task, {"status": "failed", "error": {"type": "Boom", "message": "no"}})
    api.drain()
    inputs = [item["input"]["params"] for item in api.get(f"runs/{run_id}/nodes/a").json["executions"]]
    assert inputs == [{"n": 1}, {"n": 2}]


def test_the_graph_of_an_earlier_revision_can_be_read(api: Api) -> None:
    run_id = api.post("runs", {"workflow": ONE}).json["run_id"]
    first = api.get(f"runs/{run_id}/workflow")
    for name in ("x", "y"):
        operations = [{"op": "add", "path": "/nodes/-", "value": {"id": name, "type": "pass"}}]
        assert api.post(f"runs/{run_id}/patch", {"operations": operations}).status == 200
    seen = [api.get(f"runs/{run_id}/workflow?revision={n}") for n in (0, 1, 2)]
    assert seen[0].json == first.json
    assert [len(reply.json["nodes"]) - len(first.json["nodes"]) for reply in seen] == [0, 1, 2]
    assert [reply.headers["ETag"] for reply in seen] == ['"0"', '"1"', '"2"']
    assert api.get(f"runs/{run_id}/workflow?revision=3").status == 404
    assert api.get(f"runs/{run_id}/workflow?revision=-1").status == 422
