"""Transform nodes: pipelines in the coordinator and on workers, and values too large to stand in a message."""

from __future__ import annotations

import json

from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.limits import Limits
from tests.engine.harness import Harness
from tests.engine.test_step import edges, function

ROWS = [{"k": "a", "n": 1}, {"k": "b", "n": 5}, {"k": "a", "n": 2}]
SUMS = {"step": "table_group", "by": "k", "aggregates": {"sum": {"op": "sum", "column": "n"}}}
REQUEST = {"step": "http_request", "url": "https://shop.example.com/${input.path}"}


def transform(id: str, **config: object) -> dict:
    return {"id": id, "type": "transform", "config": config}


def test_a_pipeline_over_what_reached_its_node_costs_no_queue_hop(harness: Harness) -> None:
    document = {
        "nodes": [
            function("a", "${input.rows}"),
            transform("t", data="${output}", pipeline=[SUMS, {"step": "top_k", "k": "${input.k}", "by": "sum"}]),
        ],
        "edges": edges("a:t"),
    }
    run = harness.run(document, {"rows": ROWS, "k": 1})
    assert json.loads(run["output"]) == {"t": [{"k": "b", "sum": 5}]}
    assert [task["node_id"] for task in harness.tasks] == ["a"]
    harness.assert_fold_equals_store(run["run_id"])


def test_a_step_that_fails_fails_its_node_once_and_the_failure_can_be_handled(harness: Harness) -> None:
    document = {
        "nodes": [
            {**transform("t", data="${input}", pipeline=[SUMS]), "retry": {"max_attempts": 3}},
            function("why", "${ctx.t.error}"),
        ],
        "edges": edges("t:why:failure"),
    }
    run = harness.run(document, [{"k": "a", "n": "many"}])
    assert run["status"] == "COMPLETED"
    error = json.loads(run["output"])["why"]
    assert (error["type"], error["retryable"]) == ("PipelineError", False)
    assert error["message"].startswith('/pipeline/0/aggregates/sum: found the text "many"')
    assert len([event for event in harness.events(run["run_id"]) if event["type"] == "node_failed"]) == 1


def test_a_pipeline_reads_artifacts_and_one_that_is_not_stored_fails_the_node(harness: Harness) -> None:
    ref = harness.artifacts.put(json.dumps(ROWS).encode())
    document = {"nodes": [transform("t", data="${input.ref}", pipeline=[SUMS])]}
    assert harness.output(harness.run(document, {"ref": ref})["run_id"])["t"][0] == {"k": "a", "sum": 3}
    run = harness.run(document, {"ref": "artifact://sha256/" + "0" * 64})
    assert "is not in the store" in json.loads(run["error"])["message"]
    run = harness.run(document, {"ref": harness.artifacts.put(b"no json")})
    assert "is no JSON" in json.loads(run["error"])["message"]


def test_a_large_table_is_kept_apart_and_read_from_there(harness: Harness) -> None:
    document = {
        "nodes": [
            transform("t", data="${input}", pipeline=[{"step": "table_sort", "by": "n"}]),
            transform("n", value="${size(ctx.t.output)}"),
        ],
        "edges": edges("t:n"),
    }
    run = harness.run(document, [{"n": n, "text": "x" * 100} for n in range(1000)])
    assert harness.output(run["run_id"]) == {"n": 1000}
    assert max(len(item.text) for item in harness.journal.read(run["run_id"], 0, 100)[1:]) < 64 * 1024
    harness.assert_fold_equals_store(run["run_id"])


def test_a_pipeline_that_makes_requests_is_a_task_of_the_http_workers(harness: Harness) -> None:
    harness.worker = lambda task: {"status": "completed", "result": [{"from": task["config"]["pipeline"][0]["url"]}]}
    document = {
        "nodes": [{**transform("t", pipeline=[REQUEST, SUMS]), "timeout_ms": 5000, "retry": {"max_attempts": 2}}],
        "output": "${ctx.t.output[0].from}",
    }
    plan = compile_workflow(document, limits=Limits())
    assert (plan.nodes["t"].queue, plan.warnings) == ("tasks-http", ())
    run = harness.run(document, {"path": "orders"})
    assert harness.output(run["run_id"]) == "https://shop.example.com/orders"
    assert [(task["node_id"], task["type"]) for task in harness.tasks] == [("t", "transform")]


def test_a_template_of_a_pipeline_that_fails_names_its_pointer(harness: Harness) -> None:
    for pipeline in ([REQUEST], [{"step": "table_sort", "from": "${input.nothing}", "by": "n"}]):
        run = harness.run({"nodes": [transform("t", pipeline=pipeline)]}, {})
        error = json.loads(run["error"])
        assert error["type"] == "TemplateError"
        assert "/config/pipeline/0/" in error["message"]
