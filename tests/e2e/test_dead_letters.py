"""Dead letters on the local stack: what goes wrong is failed and listed, and no run stays RUNNING for it."""

from __future__ import annotations

import json

import pytest

from tests.e2e.client import REAL, Api, document, frozen, function
from tests.e2e.conftest import eventually

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack(start_stack):
    running = start_stack(*REAL, GRAFT_LOCAL_RETRY_S="0")
    yield running
    assert running.stop() == 0


@pytest.fixture
def api(stack):
    return Api(stack)


def letters(api, about):
    """The dead letters whose text holds `about`."""
    items = api.get("/dead-letters").json["items"]
    return [item for item in items if about in json.dumps(item)]


def dispatched(api, run_id):
    """The job id of the run's first dispatched task."""

    def look():
        events = api.get(f"/runs/{run_id}/events").json["events"]
        return [event["job_id"] for event in events if event["type"] == "node_dispatched"]

    return eventually(look, what="the dispatch")[0]


def use_up(stack, queue, about):
    """Receive a message until SQS moves it to the dead letters, as workers that die with it do."""
    sqs, url = stack.aws("sqs"), stack.queue_url(queue)

    def taken():
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, AttributeNames=["ApproximateReceiveCount"]
        )
        found = [message for message in answer.get("Messages", ()) if about in message["Body"]]
        return any(int(message["Attributes"]["ApproximateReceiveCount"]) >= 5 for message in found)

    eventually(taken, what="five receives")
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)


def test_a_task_that_workers_die_with_fails_its_run_and_is_listed(stack, api):
    with frozen(stack):
        run_id = api.start(document(function("a")))
        dispatched(api, run_id)
        use_up(stack, "tasks-function", run_id)
        run = api.finish(run_id)
    assert (run["status"], run["error"]["type"], run["error"]["node_id"]) == ("FAILED", "Undeliverable", "a")
    [letter] = letters(api, run_id)
    assert letter["origin"] == {"run_id": run_id, "node_id": "a", "attempt": 1}
    assert letter["queue"] == "tasks-function" and "callback" not in letter["message"]
    assert Api(stack, tenant="other").get("/dead-letters").status == 200
    assert letters(Api(stack, tenant="other"), run_id) == []
    assert Api(stack, scopes=["runs:read"]).get("/dead-letters").status == 403


def test_a_refused_signal_fails_its_token_and_a_message_of_nobody_is_listed(stack, api):
    with frozen(stack):
        run_id = api.start(document(function("a")))
        signal = {"version": "9.9", "job_id": dispatched(api, run_id)}
        stack.send("completion-signals", signal, {"no": "signal"})
        run = api.finish(run_id)
    assert run["error"]["type"] == "Undeliverable" and "'9.9'" in run["error"]["message"]
    assert letters(api, run_id)[0]["reason"] == run["error"]["message"]
    nobody = eventually(lambda: letters(api, '"run_id": null'), what="the letter of nobody")[0]
    again = api.post("/dead-letters/redrive", {"ids": [nobody["id"]]})
    assert again.json["redriven"] == [nobody["id"]]
    back = eventually(lambda: letters(api, '"run_id": null'), what="its return")
    assert [letter["id"] for letter in back] != [nobody["id"]]
    assert api.post("/dead-letters/redrive", {"ids": [nobody["id"]]}).status == 404


def test_explain_and_verify_of_a_run_on_the_stack(stack, api):
    with frozen(stack):
        run_id = api.start(document(function("a", timeout_ms=60_000)))
        dispatched(api, run_id)
        answer = api.get(f"/runs/{run_id}/explain").json
        assert [(entry["node_id"], entry["waits_for"]) for entry in answer["waiting"]] == [("a", "task")]
        assert answer["waiting"][0]["queue"] == "tasks-function" and answer["waiting"][0]["deadline"]
        assert api.get(f"/runs/{run_id}/verify").json["ok"] is True
    api.finish(run_id)
    verified = api.get(f"/runs/{run_id}/verify").json
    assert verified["ok"] is True and verified["outstanding"] == 0
    assert verified["events"] == len(api.events(run_id))
    assert "COMPLETED" in api.get(f"/runs/{run_id}/explain").json["summary"]
