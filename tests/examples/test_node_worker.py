"""The Node.js worker: its signatures are those of botocore, and runs end by its answers on a real stack."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.cli.documents import read_document
from tests.e2e.client import Api, check_problem, document
from tests.e2e.conftest import eventually, start_stack  # noqa: F401 - a fixture
from tests.examples.test_examples import FOLDER

NODE = shutil.which("node")
HERE = FOLDER / "node_worker"
needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is not installed: the example is a worker in Node.js")


def evaluate(expression):
    """What an expression over the worker's functions gives in Node.js."""
    script = f"const w = await import({json.dumps((HERE / 'worker.mjs').as_uri())});"
    script += f"console.log(JSON.stringify({expression}))"
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", script], capture_output=True, text=True, timeout=30, check=True
    )
    return json.loads(done.stdout)


@needs_node
@pytest.mark.parametrize("session", [None, "a/session+token=="])
def test_the_worker_signs_as_botocore_does(session, monkeypatch):
    moment = datetime.datetime(2030, 1, 31, 12, 30, 59, tzinfo=datetime.UTC)
    body, url = (
        json.dumps({"QueueUrl": "https://sqs.eu-central-1.amazonaws.com/1/q"}),
        "https://sqs.eu-central-1.amazonaws.com/",
    )
    given = {"region": "eu-central-1", "keyId": "AKID", "secretKey": "s3cr3t/key", "sessionToken": session}
    arguments = [url, "ReceiveMessage", body, given]
    signed = evaluate(f"w.sign(...{json.dumps(arguments)}, new Date({json.dumps(moment.isoformat())}))")
    headers = {name: signed[name] for name in ("content-type", "host", "x-amz-target")}
    request = AWSRequest("POST", url, data=body, headers=headers)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: moment.replace(tzinfo=None))
    SigV4Auth(Credentials("AKID", "s3cr3t/key", session), "sqs", "eu-central-1").add_auth(request)
    assert signed["authorization"] == request.headers["Authorization"]


@needs_node
def test_the_worker_measures_a_text_and_refuses_what_is_none():
    assert evaluate('w.work({text: "Ça va, ça va?"})') == {"words": 4, "longest": "Ça", "reversed": "?av aç ,av aÇ"}
    assert evaluate("(() => { try { w.work(null) } catch (e) { return e.name } })()") == "TypeError"


@pytest.fixture(scope="module")
def stack(start_stack):  # noqa: F811 - the fixture, by its name
    running = start_stack("--aws", "ministack", GRAFT_QUEUE_ALLOWLIST="work-text")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def api(stack):
    return Api(SimpleNamespace(port=urlsplit(stack.ready["api_url"]).port), token=stack.ready["token"])


@pytest.fixture(scope="module")
def worker(stack):
    """The worker as its page starts it."""
    env = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": stack.ready["aws_endpoint_url"], "AWS_REGION": "us-east-1"}
    env |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "QUEUE_URL": stack.queue_url("work-text")}
    process = subprocess.Popen(
        [NODE, HERE / "worker.mjs"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout.readline() == "waiting for tasks\n"
    yield process
    process.kill()
    process.wait(10)
    process.stdout.close()


@needs_node
@pytest.mark.stack
@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("to be or not to be", {"say": "6 words, the longest is not"}),
        (7, {"excuse": "not measured: payload.text is not a text"}),
    ],
)
def test_a_run_ends_by_the_answers_of_the_worker(api, stack, worker, text, output):
    run = api.finish(api.start(read_document(str(HERE / "workflow.json")), {"text": text}))
    assert (run["status"], run["output"]) == ("COMPLETED", output)
    node = api.get(f"/runs/{run['run_id']}/nodes/measure").json
    assert [execution["attempt"] for execution in node["executions"]] == [1]
    depths = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = stack.queue_url("work-text")

    def is_empty():
        found = stack.aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=depths)["Attributes"]
        return all(found[name] == "0" for name in depths)

    eventually(is_empty, 20, "the worker deleting its task")


@pytest.mark.stack
def test_a_queue_that_is_not_allowed_is_refused(api):
    nodes = [{"id": "a", "type": "queue", "config": {"queue": name}} for name in ("other",)]
    for name in ("other", "tasks-function", "completion-signals"):
        nodes[0]["config"]["queue"] = name
        problem = check_problem(api.post("/runs", {"workflow": document(*nodes), "input": {}}), 422)
        assert [(e["code"], e["path"]) for e in problem["errors"]] == [("unknown_queue", "/nodes/0/config/queue")]
