from __future__ import annotations

import contextlib
import json

from chalicelib.domain.ids import parse_job_id
from tests.api.client import SECRET, Api
from tests.api.documents import LOOP, ONE


def start(api: Api, document: object = ONE, **body: object) -> str:
    reply = api.post("runs", {"workflow": document, "input": {"n": 1}, **body})
    assert reply.status == 202, reply.text
    return reply.json["run_id"]


def test_a_run_is_started_read_and_ends(api: Api) -> None:
    reply = api.post("runs", {"workflow": ONE, "input": {"n": 7}})
    assert reply.status == 202
    run_id = reply.json["run_id"]
    assert reply.json["status"] == "PENDING"
    assert reply.headers["Location"] == reply.json["links"]["self"] == f"https://graft.test/api/v1/runs/{run_id}"
    assert api.get(f"runs/{run_id}").json["status"] == "PENDING"
    api.drain()
    run = api.get(f"runs/{run_id}")
    assert run.status == 200
    assert run.headers["ETag"] == '"0"'
    view = run.json
    assert view["status"] == "COMPLETED"
    assert view["input"] == {"n": 7}
    assert view["output"] == {"a": {"n": 7}}
    assert view["error"] is None
    assert view["counts"] == {"COMPLETED": 1}
    assert view["revision"] == 0
    assert view["workflow"] == {"name": "one", "version": None}
    assert view["usage"] == {"tokens": 0, "usd": 0}
    node = view["nodes"]["a"]
    assert (node["type"], node["status"], node["attempts"], node["iteration"]) == ("function", "COMPLETED", 1, 1)
    assert node["started_at"] <= node["finished_at"] <= view["finished_at"]
    assert view["created_at"].endswith("Z")


def test_a_run_is_read_from_its_history_when_its_keys_are_gone(api: Api) -> None:
    run_id = start(api)
    api.drain()
    before = api.get(f"runs/{run_id}").json, api.get(f"runs/{run_id}/nodes/a").json
    api.client.flushall()
    assert (api.get(f"runs/{run_id}").json, api.get(f"runs/{run_id}/nodes/a").json) == before


def test_a_read_never_shows_what_the_journal_does_not_have(api: Api) -> None:
    """A commit that is in Redis alone may vanish with it: reading brings it into the journal first."""
    run_id = start(api)
    api.settle_batch()
    (message,) = api.queues.receive("tasks-function")
    api.answer(json.loads(message.body), {"status": "completed", "result": 1})
    append, api.journal.append = api.journal.append, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    with contextlib.suppress(KeyboardInterrupt):
        api.settle_batch()
    api.journal.append = append
    meta = api.store.snapshot(run_id, ("meta",))["meta"]
    assert int(meta["no"]) > int(meta["mark"])
    shown = api.get(f"runs/{run_id}").json
    api.client.flushall()
    assert api.get(f"runs/{run_id}").json == shown
    assert shown["nodes"]["a"]["status"] == "COMPLETED"


def test_a_node_shows_its_attempts_with_input_and_error(api: Api) -> None:
    def flaky(task: dict) -> dict:
        if task["attempt"] < 3:
            return {"status": "failed", "error": {"type": "Oops", "message": "not yet"}}
        return {"status": "completed", "result": {"done": True}}

    api.worker = flaky
    document = {"nodes": [{**ONE["nodes"][0], "retry": {"max_attempts": 3, "backoff_ms": 10}}]}
    run_id = start(api, document)
    api.settle_batch()
    api.work_batch()
    api.settle_batch()
    assert api.get(f"runs/{run_id}").json["nodes"]["a"] | {"started_at": None} == {
        "type": "function",
        "status": "RETRYING",
        "attempts": 1,
        "iteration": 1,
        "started_at": None,
        "finished_at": None,
    }
    api.drain()
    node = api.get(f"runs/{run_id}/nodes/a").json
    assert (node["id"], node["status"], node["attempts"], node["truncated"]) == ("a", "COMPLETED", 3, False)
    assert [e["status"] for e in node["executions"]] == ["FAILED", "FAILED", "COMPLETED"]
    assert [e["attempt"] for e in node["executions"]] == [1, 2, 3]
    assert [e["output"] for e in node["executions"]] == [None, None, {"done": True}]
    assert node["executions"][0]["error"]["type"] == "Oops"
    assert all(e["input"] == {"handler": "echo", "params": {"n": 1}} for e in node["executions"])
    assert all(e["settled_at"] >= e["dispatched_at"] for e in node["executions"])
    shown = [e["job_id"] for e in node["executions"]]
    assert shown == [task["job_id"] for task in api.tasks]
    assert parse_job_id(shown[2], SECRET).token == "a@#0.3"


def test_executions_in_a_loop_name_their_iteration(api: Api) -> None:
    run_id = start(api, LOOP)
    api.drain()
    node = api.get(f"runs/{run_id}/nodes/w").json
    assert [e["iteration"] for e in node["executions"]] == [1, 2, 3]
    assert [e["loops"] for e in node["executions"]] == [{"l": 1}, {"l": 2}, {"l": 3}]
    assert [e["input"]["params"] for e in node["executions"]] == [{"i": 1}, {"i": 2}, {"i": 3}]
    assert api.get(f"runs/{run_id}").json["nodes"]["w"]["iteration"] == 3


def test_a_failed_run_shows_its_error_and_which_nodes_never_ran(api: Api) -> None:
    api.worker = lambda task: {"status": "failed", "error": {"type": "Bad", "message": "no", "retryable": False}}
    document = {
        "nodes": [*ONE["nodes"], {"id": "h", "type": "pass"}, {"id": "z", "type": "pass"}],
        "edges": [{"from": "a", "to": "h"}, {"from": "h", "to": "z"}],
    }
    run_id = start(api, document)
    api.drain()
    run = api.get(f"runs/{run_id}").json
    assert run["status"] == "FAILED"
    assert run["error"] == {"type": "Bad", "message": "no", "node_id": "a"}
    assert run["output"] is None
    assert run["nodes"]["a"]["status"] == "FAILED"
    assert run["nodes"]["z"] == {
        "type": "pass",
        "status": "PENDING",
        "attempts": 0,
        "iteration": 0,
        "started_at": None,
        "finished_at": None,
    }
    assert run["counts"] == {"FAILED": 1, "PENDING": 2}


def test_a_skipped_node_says_so(api: Api) -> None:
    document = {
        "nodes": [
            {
                "id": "r",
                "type": "branch",
                "branch": {"rules": [{"condition": "input.n > 5", "next_nodes": ["high"]}], "default": ["low"]},
            },
            {"id": "high", "type": "pass"},
            {"id": "low", "type": "pass"},
        ]
    }
    run_id = start(api, document)
    api.drain()
    nodes = api.get(f"runs/{run_id}").json["nodes"]
    assert {node: view["status"] for node, view in nodes.items()} == {
        "r": "COMPLETED",
        "high": "SKIPPED",
        "low": "COMPLETED",
    }
    assert api.get(f"runs/{run_id}/nodes/high").json["executions"] == []


def test_a_waiting_node_shows_as_waiting(api: Api) -> None:
    run_id = start(api, {"nodes": [{"id": "t", "type": "wait", "config": {"seconds": 5}}]})
    api.settle_batch()
    api.settle_batch()
    assert api.get(f"runs/{run_id}").json["nodes"]["t"]["status"] == "WAITING"
    api.drain()
    assert api.get(f"runs/{run_id}").json["nodes"]["t"]["status"] == "COMPLETED"


def test_a_large_output_is_shown_by_reference_and_can_be_fetched_by_its_tenant(api: Api) -> None:
    api.worker = lambda task: {"status": "completed", "result": "x" * 100_000}
    run_id = start(api)
    api.drain()
    (execution,) = api.get(f"runs/{run_id}/nodes/a").json["executions"]
    sha256 = execution["output"]["$artifact"].removeprefix("artifact://sha256/")
    reply = api.get(f"artifacts/{sha256}")
    assert reply.status == 303
    assert json.loads(api.artifacts.download(reply.headers["Location"])) == "x" * 100_000
    assert api.get(f"artifacts/{sha256}", token=api.token(tenant="other")).status == 404


def test_the_graph_is_the_document_and_carries_the_revision(api: Api) -> None:
    run_id = start(api)
    reply = api.get(f"runs/{run_id}/workflow")
    assert reply.headers["ETag"] == '"0"'
    assert [node["id"] for node in reply.json["nodes"]] == ["a"]


def test_the_same_run_id_and_body_is_the_same_run_and_another_body_is_a_conflict(api: Api) -> None:
    assert start(api, run_id="mine") == start(api, run_id="mine") == "mine"
    for token in (api.token(), api.token(tenant="other")):
        reply = api.post("runs", {"workflow": ONE, "input": {"n": 2}, "run_id": "mine"}, token=token)
        assert reply.status == 409
        assert "acme" not in reply.text
    same = api.post("runs", {"workflow": ONE, "input": {"n": 1}, "run_id": "mine"}, token=api.token(tenant="other"))
    assert same.status == 409
    assert same.text == reply.text, "another tenant's run must look like one's own"


def test_a_start_that_breaks_a_rule_says_which(api: Api) -> None:
    for body, code in (
        ({"workflow": ONE, "run_id": "no/name"}, "bad_name"),
        ({"workflow": ONE, "timeout_ms": 0}, "bad_number"),
        ({"workflow": ONE, "timeout_ms": True}, "bad_number"),
        ({"workflow": ONE, "surprise": 1}, "unknown_member"),
        ({}, "missing"),
        ([], "wrong_type"),
    ):
        reply = api.post("runs", body)
        assert reply.status == 422, body
        assert reply.json["errors"][0]["code"] == code
    broken = api.post("runs", {"workflow": {"nodes": [{"id": "a", "type": "nonsense"}]}})
    assert broken.status == 422
    assert broken.json["type"] == "urn:graft:problem:invalid-workflow"
    assert broken.json["errors"][0]["path"] == "/nodes/0/type"


def test_a_workflow_lowers_the_bytes_that_a_start_may_have(api: Api) -> None:
    document = {**ONE, "limits": {"body_bytes": 1000}}
    api.post("workflows", {"name": "small", "workflow": document})
    assert api.post("workflows/small/runs", {"input": {"n": "x" * 900}}).status == 202
    assert api.post("workflows/small/runs", {"input": {"n": "x" * 1000}}).status == 413
    assert api.post("runs", {"workflow": document, "input": {"n": "x" * 1000}}).status == 413
