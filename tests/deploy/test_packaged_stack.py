"""The packaged template becomes a stack whose API, queues and functions run workflows to their ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.deploy.package import Packaged
from tests.deploy.aws_stack import Deployed, eventually, stack

Json = Any
pytestmark = pytest.mark.stack
TWO_STEPS = {
    "nodes": [
        {"id": "first", "type": "function", "config": {"handler": "echo", "params": {"word": "${input.word}"}}},
        {"id": "second", "type": "function", "config": {"handler": "echo", "params": "${ctx.first.output.word}"}},
    ],
    "edges": [{"from": "first", "to": "second"}],
}
#: Its second step goes to another queue, and fails there: no request may go to this machine itself.
OTHER_QUEUE = {
    "nodes": [
        TWO_STEPS["nodes"][0],
        {"id": "fetch", "type": "http", "config": {"url": "http://127.0.0.1:1/"}},
        {"id": "told", "type": "pass"},
    ],
    "edges": [{"from": "first", "to": "fetch"}, {"from": "fetch", "to": "told", "on": "failure"}],
}


@pytest.fixture(scope="module")
def deployed(packaged: Callable[[str], Packaged], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with stack(packaged("dev"), tmp_path_factory.mktemp("aws")) as made:
        yield made


def test_a_workflow_started_over_the_api_runs_through_its_queues_to_the_end(deployed: Deployed):
    run = deployed.ended(deployed.start(TWO_STEPS, {"word": "hello"}))
    assert (run["status"], run["output"], run["error"]) == ("COMPLETED", {"second": "hello"}, None)
    for name in ("completion-signals-dlq", "tasks-function-dlq"):
        assert deployed.depth(name) == 0


def test_a_request_without_a_credential_is_refused_by_the_app(deployed: Deployed):
    token, deployed.token = deployed.token, "none"
    try:
        answer = deployed.call("GET", "/api/v1/runs")
    finally:
        deployed.token = token
    assert answer.status_code == 401
    assert answer.headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/elsewhere"])
def test_an_unknown_route_is_a_problem_document(deployed: Deployed, path: str):
    answer = deployed.call("GET", path)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:graft:problem:not-found")


def test_the_one_failed_message_of_a_batch_comes_again_and_its_neighbour_does_not(deployed: Deployed):
    """The neighbour's run goes on at once; the failed one goes on when what it needs is back."""
    sqs, mappings = deployed.client("sqs"), deployed.client("lambda")
    signals = deployed.queue("completion-signals")
    sqs.set_queue_attributes(QueueUrl=signals, Attributes={"VisibilityTimeout": "3"})
    [mapping] = mappings.list_event_source_mappings(FunctionName="graft-dev-coordinator")["EventSourceMappings"]
    mappings.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    fine, stuck = deployed.start(TWO_STEPS, {"word": "a"}), deployed.start(OTHER_QUEUE, {"word": "b"})
    eventually(lambda: deployed.depth("completion-signals") == 2, "both first steps")

    sqs.delete_queue(QueueUrl=deployed.queue("tasks-http"))
    mappings.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    assert deployed.ended(fine)["status"] == "COMPLETED"
    assert deployed.run(stuck)["status"] == "RUNNING"
    eventually(
        lambda: deployed.depth("completion-signals", "ApproximateNumberOfMessagesNotVisible") == 1, "the failed one"
    )

    sqs.create_queue(QueueName="graft-dev-tasks-http")
    run = deployed.ended(stuck)
    assert (run["status"], run["nodes"]["fetch"]["status"], run["nodes"]["told"]["status"]) == (
        "COMPLETED",
        "FAILED",
        "COMPLETED",
    )
    events = deployed.call("GET", f"/api/v1/runs/{fine}/events").json()["events"]
    assert [event["type"] for event in events].count("node_completed") == 2
    assert "signal_ignored" not in [event["type"] for event in events]
