"""Queue nodes: tasks for workers of the user's own."""

from __future__ import annotations

import json

import pytest

from chalicelib.domain.compiler import check
from chalicelib.domain.limits import Limits
from chalicelib.engine.ports import Outgoing
from tests.engine.harness import Harness
from tests.engine.patching import add_node, patch, problem, refused
from tests.engine.test_step import edges, function


def queue(id: str, payload: object = None, **more: object) -> dict:
    return {"id": id, "type": "queue", "config": {"queue": "work-images", "payload": payload}, **more}


def take(harness: Harness) -> list[dict]:
    """The tasks on the queue, once all signals are settled."""
    while harness.settle_batch():
        pass
    taken = harness.queues.receive("work-images")
    for message in taken:
        harness.queues.delete("work-images", message.receipt)
    return [json.loads(message.body) for message in taken]


def test_a_queue_node_sends_the_task_of_the_contract_to_its_own_queue_and_goes_on_by_its_signal(
    harness: Harness,
) -> None:
    document = {
        "nodes": [queue("a", {"image": "${input.image}"}, timeout_ms=60_000), function("b", "${ctx.a.output.width}")],
        "edges": edges("a:b"),
    }
    run_id = harness.start(document, {"image": "x.png"})
    (task,) = take(harness)
    assert (task["version"], task["type"], task["node_id"], task["attempt"]) == ("1.0", "queue", "a", 1)
    assert task["config"] == {"queue": "work-images", "payload": {"image": "x.png"}}
    assert task["callback"]["url"].startswith("https://graft.test/api/v1/tasks/")
    assert "tenant" not in task
    harness.answer(task, {"status": "completed", "result": {"width": 7}})
    harness.answer(task, {"status": "completed", "result": {"width": 8}})
    harness.drain()
    assert harness.output(run_id) == {"b": 7}
    harness.assert_fold_equals_store(run_id)


def test_a_failure_is_retried_on_the_same_queue_and_then_handled(harness: Harness) -> None:
    document = {
        "nodes": [queue("a", retry={"max_attempts": 2, "backoff_ms": 10}), function("b", "${ctx.a.error.type}")],
        "edges": edges("a:b:failure"),
    }
    run_id = harness.start(document)
    failed = {"status": "failed", "error": {"type": "Odd", "message": "no", "retryable": True}}
    (first,) = take(harness)
    harness.answer(first, failed)
    while not (again := take(harness)):
        assert harness.wait_for_timers()
    assert [task["attempt"] for task in again] == [2]
    assert again[0]["job_id"] != first["job_id"]
    harness.answer(again[0], failed)
    harness.drain()
    assert harness.output(run_id) == {"b": "Odd"}


def test_a_large_payload_travels_as_an_artifact(harness: Harness) -> None:
    harness.start({"nodes": [queue("a", "${input}")]}, "x" * 200_000)
    (task,) = take(harness)
    assert task["config"] == {}
    config = json.loads(harness.artifacts.get(task["config_ref"]))
    assert config == {"queue": "work-images", "payload": "x" * 200_000}


@pytest.mark.parametrize("name", ["other", "tasks-function", "completion-signals", "completion-signals-dlq"])
def test_a_queue_that_is_not_allowed_does_not_compile(name: str) -> None:
    document = {"nodes": [{**queue("a"), "config": {"queue": name}}]}
    _, problems, _ = check(document, limits=Limits(), queues={"work-images"}.__contains__)
    assert [(problem.code, problem.path) for problem in problems] == [("unknown_queue", "/nodes/0/config/queue")]
    assert check({"nodes": [queue("a")]}, limits=Limits(), queues={"work-images"}.__contains__)[1] == []


def test_a_signal_that_names_another_queues_node_changes_nothing(harness: Harness) -> None:
    """A worker can settle only what it was given: a job id that is made up goes to the dead letters."""
    run_id = harness.start({"nodes": [queue("a"), function("b")], "edges": edges("a:b")})
    (task,) = take(harness)
    forged = {**task, "job_id": task["job_id"][:-4] + "0000"}
    harness.answer(forged, {"status": "completed", "result": 1})
    while harness.settle_batch():
        pass
    assert harness.meta(run_id)["status"] == "RUNNING"
    assert len(harness.queues.receive("completion-signals-dlq")) == 1
    harness.queues.send([Outgoing("completion-signals", json.dumps({"version": "1.0"}))])
    harness.answer(task, {"status": "completed", "result": 1})
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"


def test_bodies_of_maps_have_queues_pipelines_and_secrets_of_their_own(harness: Harness) -> None:
    bodies = [
        {"type": "queue", "config": {"queue": "work-images", "payload": "${item}"}},
        {"type": "transform", "config": {"pipeline": [{"step": "http_request", "url": "https://x.example/${item}"}]}},
        {"type": "function", "config": {"handler": "echo", "params": {"key": "${secret.KEY}", "n": "${item}"}}},
    ]
    config = {"items": "${input}"}
    nodes = [{"id": f"m{n}", "type": "map", "config": {**config, "body": body}} for n, body in enumerate(bodies)]
    run_id = harness.start({"nodes": nodes}, ["a", "b"])
    tasks = take(harness)
    assert [(task["type"], task["config"]["payload"], task["index"]) for task in tasks] == [
        ("queue", "a", 0),
        ("queue", "b", 1),
    ]
    for task in tasks:
        harness.answer(task, {"status": "completed", "result": task["config"]["payload"].upper()})
    harness.drain()
    assert harness.output(run_id)["m0"] == ["A", "B"]
    asked = {task["config"]["pipeline"][0]["url"] for task in harness.tasks if task["type"] == "transform"}
    assert asked == {"https://x.example/a", "https://x.example/b"}
    assert [task["tenant"] for task in harness.tasks if task["type"] == "function"] == ["acme", "acme"]


def test_a_map_of_pipelines_runs_in_the_coordinator(harness: Harness) -> None:
    pipeline = [{"step": "top_k", "k": 1, "by": "n"}]
    body = {"type": "transform", "config": {"data": "${item}", "pipeline": pipeline}}
    run_id = harness.start({"nodes": [{"id": "m", "type": "map", "config": {"items": "${input}", "body": body}}]},
                           [[{"n": 1}, {"n": 3}], [{"n": 2}]])  # fmt: skip
    harness.drain()
    assert harness.output(run_id) == {"m": [[{"n": 3}], [{"n": 2}]]}
    assert harness.tasks == []


@pytest.mark.parametrize(("queues", "not_allowed"), [(["work-images"], False), (["other"], True), ([], True)])
def test_a_patch_adds_only_queues_that_its_credential_allows(
    harness: Harness, queues: list[str], not_allowed: bool
) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    while harness.settle_batch():
        pass
    operation = add_node(queue("b"))
    if not_allowed:
        error = refused(harness, run_id, operation, caps={"queues": queues})
        assert problem(error) == ("not_allowed", "/operations/0/path")
    else:
        patch(harness, run_id, operation, caps={"queues": queues})
        assert len(take(harness)) == 1
