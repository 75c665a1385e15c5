"""Pipelines on a worker: real requests through the guarded client, artifacts, and time that runs out."""

import json

from chalicelib.engine.transforms import stored_json
from chalicelib.engine.work import work
from chalicelib.workers.registry import WorkerParts, build_workers
from tests.workers.doubles import MemoryArtifacts, StepClock, message, ports
from tests.workers.servers import JSON, serving

BIG = "artifact://sha256/"


def answer(rows):
    return lambda h: h.reply(200, json.dumps(rows).encode(), Content_Type=JSON)


def pipeline(*steps, data=None, artifacts=None, doors=(), clock=None, **more):
    """The signal of a transform task."""
    artifacts = artifacts or MemoryArtifacts()
    parts = WorkerParts(http_allowlist=doors, fetch=lambda ref: stored_json(ref, artifacts))
    task = message(type="transform", config={"pipeline": list(steps), "data": data}, **more)
    return work(task, build_workers(parts), ports(artifacts=artifacts, clock=clock or StepClock()))


def test_a_table_is_asked_for_joined_with_an_artifact_and_grouped():
    artifacts = MemoryArtifacts()
    names = artifacts.put(json.dumps([{"id": 1, "name": "Ada"}, {"id": 2, "name": "Emmy"}]).encode())
    orders = {"page": {"orders": [{"who": 1, "sum": 5}, {"who": 2, "sum": 7}, {"who": 1, "sum": 1.5}]}}
    with serving(answer(orders)) as server:
        signal = pipeline(
            {"step": "http_request", "url": server.url + "/orders", "query": {"n": 3}, "rows": "/page/orders"},
            {"step": "table_join", "with": names, "on": {"left": "who", "right": "id"}},
            {"step": "table_group", "by": "name", "aggregates": {"sum": {"op": "sum", "column": "sum"}}},
            artifacts=artifacts,
            doors=[server.door],
        )
        assert server.seen[0][1] == "/orders?n=3"
    assert signal["status"] == "completed"
    assert signal["result"] == [{"name": "Ada", "sum": 6.5}, {"name": "Emmy", "sum": 7}]


def test_a_large_table_travels_as_an_artifact():
    artifacts = MemoryArtifacts()
    rows = [{"n": n, "text": "x" * 100} for n in range(1000)]
    with serving(answer(rows)) as server:
        signal = pipeline({"step": "http_request", "url": server.url}, artifacts=artifacts, doors=[server.door])
    assert "result" not in signal
    assert json.loads(artifacts.get(signal["result_ref"])) == rows


def test_a_request_to_a_private_address_is_refused_by_the_guard():
    with serving(answer([])) as server:
        signal = pipeline({"step": "http_request", "url": server.url})
        assert server.seen == []
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("AddressRefused", False)
    assert signal["error"]["message"].startswith("/pipeline/0: ")


def test_a_server_that_fails_makes_an_error_that_is_retried():
    with serving(lambda h: h.reply(503, b"later")) as server:
        signal = pipeline({"step": "http_request", "url": server.url}, doors=[server.door])
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("HttpError", True)
    assert signal["error"]["message"].startswith("/pipeline/0: GET ")


def test_an_error_of_a_later_step_and_a_config_without_a_pipeline_fail_for_good():
    with serving(answer([{"a": 1}])) as server:
        request = {"step": "http_request", "url": server.url}
        signal = pipeline(request, {"step": "table_sort", "by": "b"}, doors=[server.door])
    assert signal["error"]["message"] == '/pipeline/1/by: no row has a column "b"; there are a'
    assert signal["error"]["retryable"] is False
    signal = work(message(type="transform", config={"value": 1}), build_workers(WorkerParts()), ports())
    assert signal["error"]["type"] == "PipelineError"


def test_no_request_begins_after_the_deadline_of_the_task():
    clock = StepClock(step=400)
    with serving(answer([{"a": 1}])) as server:
        steps = [{"step": "http_request", "url": f"{server.url}/{n}"} for n in range(9)]
        signal = pipeline(*steps, doors=[server.door], clock=clock, deadline=clock.now + 2000)
        assert 0 < len(server.seen) < 9
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("HttpError", True)
    assert "no time is left" in signal["error"]["message"]
