"""The packaged template becomes a stack whose API, queues and functions run workflows to their ends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from infra.deploy.package import Packaged
from infra.local.lambda_events import schedule_event
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
#: Its second step is done by whoever reads its queue: the test, when it wants.
HELD = {
    "nodes": [TWO_STEPS["nodes"][0], {"id": "held", "type": "http", "config": {"url": "http://127.0.0.1:1/"}}],
    "edges": [{"from": "first", "to": "held"}],
}


def step(name: str, params: Json, *sources: str) -> list[Json]:
    """Operations that add one more step behind these."""
    node = {"id": name, "type": "function", "config": {"handler": "echo", "params": params}}
    edges = [{"op": "add", "path": "/edges/-", "value": {"from": source, "to": name}} for source in sources]
    return [{"op": "add", "path": "/nodes/-", "value": node}, *edges]


@pytest.fixture(scope="module")
def deployed(packaged: Callable[[str], Packaged], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with stack(packaged("dev"), tmp_path_factory.mktemp("aws")) as made:
        yield made


def test_a_workflow_started_over_the_api_runs_through_its_queues_to_the_end(deployed: Deployed):
    run = deployed.ended(deployed.start(TWO_STEPS, {"word": "hello"}))
    assert (run["status"], run["output"], run["error"]) == ("COMPLETED", {"second": "hello"}, None)
    for name in ("completion-signals-dlq", "tasks-function-dlq"):
        assert deployed.depth(name) == 0


def test_a_run_patched_over_the_api_while_it_runs_ends_with_what_the_patches_added(deployed: Deployed):
    """By POST, by PATCH, and in the result of a task that an outside worker reports."""
    with deployed.held("http_worker"):
        run_id = deployed.start(HELD, {"word": "hello"})
        callback = deployed.take("tasks-http")["callback"]
        assert re.fullmatch(r"https://[a-z0-9]+\.execute-api\.us-east-1\.amazonaws\.com/api", address(callback))
        patched_by_post(deployed, run_id)
        patched_by_patch(deployed, run_id)
        assert deployed.run(run_id)["status"] == "RUNNING"
        last = {"operations": step("last", "${ctx.held.output}", "held"), "description": "and tell"}
        answer = deployed.call("POST", f"/api/v1/tasks/{callback['token']}/complete", {"result": "!", "patch": last})
        assert answer.status_code < 300, answer.text

    run = deployed.ended(run_id)
    assert (run["status"], run["revision"], run["error"]) == ("COMPLETED", 3, None)
    assert run["output"] == {"both": "hello again!", "last": "!"}
    told = deployed.call("GET", f"/api/v1/runs/{run_id}/patches").json()["items"]
    assert [(made["author"], made["description"]) for made in told] == [
        ("ann", "say it again"),
        ("ann", "and loudly"),
        ("node:held", "and tell"),
    ]
    events = deployed.call("GET", f"/api/v1/runs/{run_id}/events").json()["events"]
    assert [event["type"] for event in events].count("patch_applied") == 3
    assert [event["type"] for event in events].count("node_completed") == 5


def address(callback: Json) -> str:
    """What the deployment takes for its own address: what comes before the route."""
    return str(callback["url"]).partition("/api/v1/")[0]


def patched_by_post(deployed: Deployed, run_id: str) -> None:
    """A step behind one that is done begins at once: the API signals it, and the queues do the rest."""
    operations = step("again", "${ctx.first.output.word} again", "first")
    body = {"operations": operations, "description": "say it again", "base_revision": 0}
    tried = deployed.call("POST", f"/api/v1/runs/{run_id}/patch", {**body, "dry_run": True})
    answer = deployed.call("POST", f"/api/v1/runs/{run_id}/patch", body)
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"'), answer.text
    assert (answer.json()["added"], answer.json()["dispatched"]) == (["again"], ["again"])
    assert tried.json() == answer.json()
    eventually(lambda: deployed.run(run_id)["nodes"]["again"]["status"] == "COMPLETED", "the step that was added")


def patched_by_patch(deployed: Deployed, run_id: str) -> None:
    """A join of what is done and what is not, once the revision is the right one."""
    operations = step("both", "${ctx.again.output}${ctx.held.output}", "again", "held")
    path, kind = f"/api/v1/runs/{run_id}?description=and%20loudly", "application/json-patch+json"
    stale = deployed.call("PATCH", path, operations, If_Match='"0"', Content_Type=kind)
    assert (stale.status_code, stale.json()["revision"]) == (409, 1)
    answer = deployed.call("PATCH", path, operations, If_Match='"1"', Content_Type=kind)
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"2"'), answer.text
    assert (answer.json()["added"], answer.json()["dispatched"]) == (["both"], [])


def test_a_decision_link_shows_its_page_and_takes_its_form(deployed: Deployed):
    """HTML, a form's body and a token as long as a link's go through API Gateway as they are."""
    ask = {"id": "ask", "type": "human", "config": {"message": "Ship <it>?"}}
    run_id = deployed.start({"nodes": [ask]}, {})
    eventually(lambda: deployed.run(run_id)["nodes"]["ask"]["status"] == "WAITING", "the question")
    made = deployed.call("POST", f"/api/v1/runs/{run_id}/nodes/ask/links", {})
    assert made.status_code == 201, made.text
    url = f"{deployed.api}/api/v1/decisions/{made.json()['approve'].rsplit('/', 1)[1]}"
    browser = {"Accept": "text/html"}
    page = requests.get(url, headers=browser, timeout=30)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "Ship &lt;it&gt;?" in page.text and "default-src 'none'" in page.headers["Content-Security-Policy"]
    thanks = requests.post(url, headers=browser, data={"comment": "grüße"}, timeout=30)
    assert thanks.status_code == 200 and "Thank you" in thanks.text, thanks.text
    assert deployed.ended(run_id)["output"]["ask"]["comment"] == "grüße"
    assert requests.post(url, headers=browser, data={}, timeout=30).status_code == 409


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
    sqs = deployed.client("sqs")
    signals = deployed.queue("completion-signals")
    sqs.set_queue_attributes(QueueUrl=signals, Attributes={"VisibilityTimeout": "3"})
    with deployed.held("coordinator"):
        fine, stuck = deployed.start(TWO_STEPS, {"word": "a"}), deployed.start(OTHER_QUEUE, {"word": "b"})
        eventually(lambda: deployed.depth("completion-signals") == 2, "both first steps")
        sqs.delete_queue(QueueUrl=deployed.queue("tasks-http"))

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


def test_the_scheduled_functions_do_their_work(deployed: Deployed):
    for name, told in (("timeouts", "expired"), ("sweep", "runs"), ("starts", "schedules")):
        answer = deployed.client("lambda").invoke(
            FunctionName=f"graft-dev-{name}", Payload=json.dumps(schedule_event(name))
        )
        payload = answer["Payload"].read()
        assert "FunctionError" not in answer, payload
        assert list(json.loads(payload)) == [told]


@pytest.mark.parametrize("queue", ["completion-signals", "tasks-function", "tasks-http", "tasks-agent"])
def test_a_message_that_nobody_can_read_becomes_a_dead_letter_that_the_api_lists(deployed: Deployed, queue: str):
    deployed.client("sqs").send_message(QueueUrl=deployed.queue(f"{queue}-dlq"), MessageBody="no message")

    def listed() -> list[Json]:
        answer = deployed.call("GET", "/api/v1/dead-letters")
        assert answer.status_code == 200, answer.text
        return [letter for letter in answer.json()["items"] if letter["queue"] == queue]

    [letter] = eventually(listed, "the dead letter")
    assert letter["reason"]
    # It names no run, so it could be any tenant's: its text is shown to nobody.
    assert (letter["message"], letter["origin"]["run_id"], letter["redrivable"]) == (None, None, True)
    eventually(lambda: deployed.depth(f"{queue}-dlq") == 0, "the queue's end")
