"""The core of the end-to-end tests against a LocalStack: set LOCALSTACK_HOST (such as localhost:4566) to run them.

Without it they are skipped: LocalStack needs Docker, or Python 3.13 beside this one.
"""

from __future__ import annotations

import json
import os
import uuid

import pytest

from tests.e2e.client import REAL, Api, check_gapless, document, function, plain_http, sha256
from tests.e2e.conftest import eventually

HOST = os.environ.get("LOCALSTACK_HOST", "")
REASON = (
    "LOCALSTACK_HOST is not set: no LocalStack was named. It needs Docker (`localstack start`) or Python 3.13 of its "
    "own; start one and set LOCALSTACK_HOST=localhost:4566."
)
pytestmark = [pytest.mark.stack, pytest.mark.skipif(not HOST, reason=REASON)]


@pytest.fixture(scope="module")
def stack(start_stack):
    """A stack whose AWS is the LocalStack that was named, with queues, table and bucket of its own."""
    mark = uuid.uuid4().hex[:8]
    settings = {
        "LOCALSTACK_HOST": HOST,
        "GRAFT_QUEUE_PREFIX": f"graft-{mark}-",
        "GRAFT_TABLE": f"graft-{mark}",
        "GRAFT_BUCKET": f"graft-{mark}-artifacts",
    }
    # LocalStack without Docker has no DynamoDB of its own: AWS_ENDPOINT_URL_DYNAMODB names another.
    dynamodb = os.environ.get("AWS_ENDPOINT_URL_DYNAMODB")
    running = start_stack(*REAL, **settings, **({"AWS_ENDPOINT_URL_DYNAMODB": dynamodb} if dynamodb else {}))
    running.prefix = settings["GRAFT_QUEUE_PREFIX"]
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def api(stack):
    return Api(stack)


def test_the_stack_uses_the_localstack_that_was_named(stack):
    assert "aws" not in stack.ready["processes"]
    assert stack.ready["aws_endpoint_url"].endswith(HOST.rpartition(":")[2]) or ":" not in HOST
    listed = stack.aws("sqs").list_queues(QueueNamePrefix=stack.prefix)["QueueUrls"]
    assert any(url.endswith("completion-signals") for url in listed)


def test_a_workflow_with_a_branch_a_loop_a_join_and_a_retry_runs(api):
    again = {"max_attempts": 3, "backoff_ms": 50}
    flow = document(
        function("a", params={"n": "${input.n}"}),
        function(
            "l", params="${iteration}", loop={"condition": "output < 3", "max_iterations": 5, "loop_back_to": "l"}
        ),
        function("b", "flaky", {"failures": 1, "v": 1}, retry=again),
        {"id": "j", "type": "transform", "config": {"value": "${ctx.l.output + ctx.b.output.v}"}},
        {"id": "r", "type": "branch", "branch": {"rules": [{"condition": "output == 4", "next_nodes": ["yes"]}]}},
        function("yes"),
        edges=[("a", "l"), ("a", "b"), ("l", "j"), ("b", "j"), ("j", "r")],
    )
    run_id = api.start(flow, {"n": 1})
    run = api.finish(run_id)
    assert (run["status"], run["nodes"]["yes"]["status"]) == ("COMPLETED", "COMPLETED"), run["error"]
    check_gapless(api.events(run_id))


def test_twenty_runs_at_once_all_end(api):
    flow = document(function("a"), function("b"), edges=[("a", "b")])
    for run_id in [api.start(flow, {"n": n}) for n in range(20)]:
        assert api.finish(run_id)["status"] == "COMPLETED"


def test_an_artifact_goes_up_and_comes_down(api):
    data = b'{"over": "localstack"}'
    reply = api.post("/artifacts", {"sha256": sha256(data), "size": len(data)}).json
    assert plain_http("PUT", reply["upload_url"], data).status == 200
    location = api.get(f"/artifacts/{sha256(data)}").headers["Location"]
    assert plain_http("GET", location).raw == data


def test_a_signal_that_cannot_be_processed_is_kept_with_its_reason(api):
    sqs = api.stack.aws("sqs")
    url = sqs.get_queue_url(QueueName=f"{api.stack.prefix}completion-signals")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"version": "6.6"}))

    def kept():
        return [item for item in api.get("/dead-letters").json["items"] if "6.6" in item["reason"]]

    eventually(kept, 20, "the dead letter")
