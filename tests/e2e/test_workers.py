"""Workers of any language: tasks taken straight from SQS, results by callback or by a signal put on the queue."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.e2e.client import (
    REAL,
    Api,
    check_gapless,
    check_problem,
    depth,
    document,
    drain,
    frozen,
    function,
    plain_http,
    sha256,
)
from tests.e2e.conftest import eventually

pytestmark = pytest.mark.stack
SIGNAL = json.loads((Path(__file__).resolve().parents[1] / "fixtures" / "completion_signal.json").read_text())
TASK = {
    "version", "job_id", "run_id", "node_id", "type", "attempt", "iteration", "config", "deadline", "callback", "trace"
}  # fmt: skip
SIGNALS = "completion-signals"


@pytest.fixture(scope="module")
def stack(start_stack):
    """A stack whose own workers stand still: the tests are the workers."""
    running = start_stack(*REAL)
    with frozen(running):
        # What a worker was waiting for when it stopped may still be handed to it.
        time.sleep(2.5)
        yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def api(stack):
    return Api(stack)


def take(api, document_, run_input=None):
    """Start a run; its id, and the task messages of its entry nodes as a foreign worker receives them."""
    run_id = api.start(document_, run_input)
    return run_id, tasks_of(api, run_id)


def tasks_of(api, run_id, count=1):
    found = []

    def look():
        for body in drain(api.stack, "tasks-function"):
            message = json.loads(body)
            found.extend([message] if message["run_id"] == run_id else [])
        return len(found) >= count

    eventually(look, 20, f"{count} tasks")
    return found


def signal_for(task, **more):
    """The completion signal of SPEC 7 for a task."""
    return {**SIGNAL, **{name: task[name] for name in ("job_id", "run_id", "node_id")}, **more}


def callback(api, task, action, body, **headers):
    url = task["callback"]["url"]
    assert url.startswith(api.stack.ready["api_url"])
    return api.post(f"{url.removeprefix(api.stack.ready['api_url'])}/{action}", body, token=None, headers=headers)


ONE = document(function("a", params={"n": "${input.n}"}), output={"got": "${ctx.a.output}"})


def test_a_task_message_has_every_member_of_the_contract(api):
    run_id, (task,) = take(api, document(function("a", params={"n": "${input.n}"}, timeout_ms=60_000)), {"n": 7})
    assert set(task) >= TASK
    assert (task["version"], task["type"], task["attempt"], task["iteration"]) == ("1.0", "function", 1, 1)
    assert task["config"] == {"handler": "echo", "params": {"n": 7}}
    assert set(task["callback"]) == {"url", "token"}
    api.post(f"/runs/{run_id}/cancel")


def test_a_signal_put_on_the_queue_completes_its_node(api):
    run_id, (task,) = take(api, ONE, {"n": 1})
    api.stack.send(SIGNALS, signal_for(task))
    run = api.finish(run_id)
    assert (run["status"], run["output"]) == ("COMPLETED", {"got": {"score": 92}})


def test_a_signal_delivered_ten_times_settles_once(api):
    run_id, (task,) = take(api, document(function("a"), function("b"), edges=[("a", "b")]))
    api.stack.send(SIGNALS, *[signal_for(task) for _ in range(10)])
    # Work may be delivered more than once, as the same job.
    second, *more = tasks_of(api, run_id)
    assert second["node_id"] == "b"
    assert {task["job_id"] for task in more} <= {second["job_id"]}
    api.stack.send(SIGNALS, *[signal_for(task, result=i) for i in range(5)], signal_for(second))
    api.finish(run_id)
    eventually(lambda: depth(api.stack, SIGNALS) == 0, what="an empty queue")
    events = api.events(run_id)
    check_gapless(events)
    assert [event["node_id"] for event in events if event["type"] == "node_completed"] == ["a", "b"]


def test_a_late_signal_of_a_finished_run_changes_nothing(api):
    run_id, (task,) = take(api, ONE, {"n": 1})
    api.post(f"/runs/{run_id}/cancel")
    api.stack.send(SIGNALS, signal_for(task))
    eventually(lambda: depth(api.stack, SIGNALS) == 0, what="an empty queue")
    assert api.run(run_id)["status"] == "CANCELLED"
    assert "node_completed" not in [event["type"] for event in api.events(run_id)]


def test_a_task_that_waits_in_its_queue_tells_whether_it_is_waited_for(api):
    run_id, (task,) = take(api, document(function("a", check_before_start=True)))
    assert task["check_before_start"] is True
    url = task["callback"]["url"].removeprefix(api.stack.ready["api_url"])
    assert api.get(url, token=None).json["outstanding"] is True
    api.post(f"/runs/{run_id}/cancel")
    assert api.get(url, token=None).json["outstanding"] is False


def test_a_failed_signal_is_retried_unless_it_says_otherwise(api):
    again = document(function("a", retry={"max_attempts": 3, "backoff_ms": 10}))
    run_id, (first,) = take(api, again)
    error = {"type": "Odd", "message": "no luck", "retryable": True}
    api.stack.send(SIGNALS, {**signal_for(first), "status": "failed", "error": error})
    (second,) = tasks_of(api, run_id)
    assert (second["attempt"], second["job_id"] == first["job_id"]) == (2, False)
    api.stack.send(SIGNALS, {**signal_for(second), "status": "failed", "error": {**error, "retryable": False}})
    run = api.finish(run_id)
    assert (run["status"], run["error"]["type"], run["error"]["message"]) == ("FAILED", "Odd", "no luck")


def test_a_worker_completes_by_callback_and_a_repeat_changes_nothing(api):
    run_id, (task,) = take(api, ONE, {"n": 1})
    for _ in range(2):
        reply = callback(api, task, "complete", {"result": {"by": "callback"}})
        assert reply.status == 202, reply.raw
    assert api.finish(run_id)["output"] == {"got": {"by": "callback"}}
    assert callback(api, task, "complete", {"result": 2}).status in (202, 409)
    assert api.run(run_id)["output"] == {"got": {"by": "callback"}}


def test_a_worker_fails_by_callback(api):
    run_id, (task,) = take(api, ONE, {"n": 1})
    check_problem(callback(api, task, "fail", {}), 422)
    check_problem(callback(api, task, "fail", {"error": "text"}), 422)
    assert callback(api, task, "heartbeat", {}).status == 202
    assert callback(api, task, "fail", {"error": {"type": "Broken", "message": "m", "retryable": False}}).status == 202
    run = api.finish(run_id)
    assert run["error"] == {"type": "Broken", "message": "m", "node_id": "a"}


def test_a_callback_token_is_good_for_its_attempt_alone(api):
    run_id, (task,) = take(api, ONE, {"n": 1})
    token = task["callback"]["token"]
    for wrong in (token[:-3] + "xyz", "x", api.token):
        check_problem(api.post(f"/tasks/{wrong}/complete", {"result": 1}, token=None), 401)
    check_problem(api.get("/runs", token=token), 401)
    check_problem(callback(api, task, "complete", {"result": 1, "other": 2}), 422)
    check_problem(callback(api, task, "complete", {"result_ref": f"artifact://sha256/{'0' * 64}"}), 422)
    assert api.run(run_id)["status"] == "RUNNING"
    api.post(f"/runs/{run_id}/cancel")


def test_a_result_travels_as_an_artifact_and_is_read_only_where_it_is_needed(api):
    value = json.dumps({"rows": ["x" * 1000] * 100, "score": 5}).encode()
    reply = api.post("/artifacts", {"sha256": sha256(value), "size": len(value)}).json
    assert plain_http("PUT", reply["upload_url"], value).status == 200
    reads = function("b", params="${ctx.a.output.score}")
    run_id, (task,) = take(api, document(function("a"), reads, edges=[("a", "b")]))
    signal = signal_for(task, result_ref=f"artifact://sha256/{sha256(value)}")
    del signal["result"]
    api.stack.send(SIGNALS, signal)
    (second,) = tasks_of(api, run_id)
    assert second["config"]["params"] == 5
    api.stack.send(SIGNALS, signal_for(second))
    assert api.finish(run_id)["status"] == "COMPLETED"
    (execution,) = api.get(f"/runs/{run_id}/nodes/a").json["executions"]
    assert sha256(value) in json.dumps(execution["output"])


def test_a_signal_that_names_an_unknown_artifact_fails_its_node_as_undeliverable(api):
    for ref in (f"artifact://sha256/{'0' * 64}", "artifact://sha256/short", "s3://bucket/key", 5):
        run_id, (task,) = take(api, ONE, {"n": 1})
        api.stack.send(SIGNALS, {**signal_for(task), "result_ref": ref})
        assert api.finish(run_id)["error"]["type"] == "Undeliverable"


def letters(api, reason_part, count):
    """The dead letters whose reason holds this text."""

    def found():
        items = api.get("/dead-letters?limit=200").json["items"]
        return [item for item in items if reason_part in item["reason"]]

    return eventually(lambda: (f := found()) and len(f) >= count and f, 20, f"{count} dead letters: {reason_part}")


def test_a_signal_that_cannot_be_processed_fails_its_token_and_is_kept_with_its_reason(api):
    run_id, (task,) = take(api, ONE, {"n": 1})
    api.stack.send(SIGNALS, {**signal_for(task), "version": "9.9"})
    run = api.finish(run_id)
    assert (run["status"], run["error"]["type"]) == ("FAILED", "Undeliverable")
    (letter,) = letters(api, "9.9", 1)
    assert letter["reason"]


def test_a_signal_with_a_wrong_mac_or_of_another_node_touches_no_run(api):
    run_id, (task,) = take(api, ONE, {"n": 1})
    forged = task["job_id"][:-4] + ("0000" if task["job_id"][-4:] != "0000" else "1111")
    api.stack.send(
        SIGNALS,
        signal_for(task, job_id=forged),
        signal_for(task, job_id="x"),
        signal_for(task, job_id=None),
        signal_for(task, node_id="b"),
        signal_for(task, run_id="another"),
    )
    eventually(lambda: depth(api.stack, SIGNALS) + depth(api.stack, f"{SIGNALS}-dlq") == 0, what="empty queues")
    completed = [event for event in api.events(run_id) if event["type"] == "node_completed"]
    assert not completed
    api.post(f"/runs/{run_id}/cancel")


def test_a_patch_in_a_signal_is_applied_with_the_completion(api):
    run_id, (task,) = take(api, ONE, {"n": 1})
    operations = [
        {"op": "add", "path": "/nodes/-", "value": function("extra", params=1)},
        {"op": "add", "path": "/edges/-", "value": {"from": "a", "to": "extra"}},
    ]
    api.stack.send(SIGNALS, signal_for(task, patch={"operations": operations, "description": "one more"}))
    (extra,) = tasks_of(api, run_id)
    assert extra["node_id"] == "extra"
    api.stack.send(SIGNALS, signal_for(extra))
    run = api.finish(run_id)
    assert (run["status"], run["revision"], sorted(run["nodes"])) == ("COMPLETED", 1, ["a", "extra"])
