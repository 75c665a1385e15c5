"""A secret's value is found nowhere but where a worker sends it, after a run that does its worst with it."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest

from tests.e2e.client import REAL, Api, depth, document, frozen, function
from tests.e2e.conftest import PREFIX, eventually
from tests.workers.servers import JSON, serving

pytestmark = pytest.mark.stack
VALUE = 'v3ry "pri/vate" välue'
INNER = "pa55-of-the-database"
SEEN = "what-everybody-may-see"
#: The value as texts may carry it.
FORMS = {
    VALUE,
    json.dumps(VALUE)[1:-1],
    json.dumps(VALUE, ensure_ascii=False)[1:-1],
    quote(VALUE, safe=""),
    base64.b64encode(VALUE.encode()).decode(),
    INNER,
}
QUEUES = ("completion-signals", "tasks-function", "tasks-http", "tasks-agent")


@pytest.fixture(scope="module")
def shop():
    """A server that tells whoever asks what it was asked, and refuses some."""

    def answer(h):
        said = json.dumps({"path": h.path, "headers": dict(h.headers), "body": h.body.decode()}).encode()
        h.reply(500 if h.path.startswith("/broken") else 200, said, Content_Type=JSON, X_Echo=h.headers["X-Key"] or "")

    with serving(answer) as server:
        yield server


@pytest.fixture(scope="module", params=["secretsmanager", "ssm"])
def stack(request, start_stack, shop):
    running = start_stack(*REAL, GRAFT_SECRETS=request.param, GRAFT_HTTP_ALLOWLIST=shop.door)
    for name, value in {"KEY": VALUE, "DB": json.dumps({"user": "app", "password": INNER})}.items():
        if request.param == "ssm":
            client = running.aws("ssm")
            client.put_parameter(Name=f"/graft-local/acme/{name}", Value=value, Type="SecureString")
        else:
            running.aws("secretsmanager").create_secret(Name=f"graft-local/acme/{name}", SecretString=value)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def api(stack):
    return Api(stack)


def workflow(shop):
    """Nodes that echo the value as result, artifact, error type, error message, log line, header and body."""
    http = {
        "auth": {"header": "X-Key", "value": "${secret.KEY}"},
        "body": {"key": "${secret.KEY}", "db": "${secret.DB}"},
    }
    http |= {"method": "POST", "query": {"q": "${secret.KEY}"}}
    names = ("small", "large", "kind", "mail", "asked", "refused")
    return document(
        function("small", params={"key": "${secret.KEY}", "db": "${secret.DB}", "seen": "${input.seen}"}),
        function("large", params=["${secret.KEY}", "${input.seen}", "x" * 70_000]),
        function(
            "kind", "flaky", {"failures": 9, "type": "${secret.KEY}"}, retry={"max_attempts": 2, "backoff_ms": 10}
        ),
        function("mail", "send_email", {"to": "${secret.KEY}", "subject": "${input.seen}", "body": "${secret.DB}"}),
        {"id": "asked", "type": "http", "config": {"url": f"{shop.url}/ok", **http}},
        {"id": "refused", "type": "http", "config": {"url": f"{shop.url}/broken", **http}},
        *[function(f"after_{name}", params="${ctx." + name + "}") for name in names],
        edges=[(name, f"after_{name}", {"on": "always"}) for name in names],
        on_failure="finish_branches",
    )


def hidden(place, text):
    """Fails where the text holds a form of the value."""
    for form in FORMS:
        at = text.find(form)
        assert at < 0, f"{place} holds a secret: …{text[max(0, at - 80) : at + 80]}…"
    return text


def journal(stack):
    pages = stack.aws("dynamodb").get_paginator("scan").paginate(TableName="graft-local", ConsistentRead=True)
    return "\n".join(hidden("the table", repr(_plain(item))) for page in pages for item in page["Items"])


def _plain(value):
    """An item with its bytes as text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def redis_texts(stack):
    reads = {b"hash": "hgetall", b"set": "smembers", b"string": "get", b"list": None, b"zset": None}
    found = []
    for key in stack.redis.scan_iter(count=1000):
        kind = stack.redis.type(key)
        if kind == b"zset":
            value = stack.redis.zrange(key, 0, -1)
        elif kind == b"list":
            value = stack.redis.lrange(key, 0, -1)
        else:
            value = getattr(stack.redis, reads[kind])(key)
        items = [*value.keys(), *value.values()] if isinstance(value, dict) else [value] if kind == b"string" else value
        found += [key, *items]
    return "\n".join(hidden("Redis", item.decode("utf-8", "replace")) for item in found)


def artifacts(stack):
    s3, bucket = stack.aws("s3"), "graft-local-artifacts"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    bodies = [s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode("utf-8", "replace") for key in keys]
    return "\n".join(hidden("an artifact", body) for body in bodies)


def queued(stack, names):
    sqs, found = stack.aws("sqs"), []
    for name in names:
        url = sqs.get_queue_url(QueueName=PREFIX + name)["QueueUrl"]
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        found += [hidden(name, message["Body"]) for message in answer.get("Messages", [])]
    return "\n".join(found)


def answers(api, run_id):
    run = api.run(run_id)
    paths = [f"/runs/{run_id}{rest}" for rest in ("", "/workflow", "/events?limit=1000", "/explain", "/patches")]
    paths += [f"/runs/{run_id}/nodes/{name}" for name in run["nodes"]] + ["/runs", "/dead-letters", "/metrics"]
    return "\n".join(hidden(path, api.get(path).raw.decode()) for path in paths)


def logs(stack):
    files = [path for path in stack.temp.rglob("*.log") if path.is_file()]
    assert files, "the stack's logs are where the test looks"
    return "\n".join(hidden(path.name, path.read_text(errors="replace")) for path in files)


def test_after_runs_that_echo_it_everywhere_the_value_is_nowhere(stack, api, shop):
    shop.seen.clear()
    with frozen(stack):
        # What a worker was waiting for when it stopped may still be handed to it.
        time.sleep(2.5)
        run_id = api.start(workflow(shop), {"seen": SEEN})
        eventually(lambda: depth(stack, "tasks-function") >= 4 and depth(stack, "tasks-http") >= 2, 20, "the tasks")
        assert "${secret.KEY}" in queued(stack, QUEUES[1:])
    run = api.finish(run_id)
    assert run["status"] == "FAILED"
    statuses = {name: node["status"] for name, node in run["nodes"].items() if not name.startswith("after_")}
    assert statuses == dict(small="COMPLETED", large="COMPLETED", kind="FAILED", mail="COMPLETED", asked="COMPLETED",
                            refused="FAILED")  # fmt: skip
    # Work is delivered at least once: each request maybe twice.
    sent = {(json.loads(body)["key"], headers["x-key"], path[:3]) for _, path, headers, body in shop.seen}
    assert sent == {(VALUE, VALUE, "/ok"), (VALUE, VALUE, "/br")}
    small = api.get(f"/runs/{run_id}/nodes/small").json["executions"][0]["output"]
    assert small == {"key": "[secret KEY]", "db": "[secret DB]", "seen": SEEN}
    refused = api.get(f"/runs/{run_id}/nodes/refused").json["executions"][0]["error"]
    assert "[secret KEY]" in refused["message"]
    # What everybody may see is found by the same search, so the search finds what there is.
    assert SEEN in journal(stack)
    assert SEEN in redis_texts(stack)
    assert SEEN in artifacts(stack)
    assert SEEN in answers(api, run_id)
    logs(stack)
    queued(stack, [*QUEUES, *[f"{name}-dlq" for name in QUEUES]])


def test_another_tenant_cannot_use_the_secret(stack):
    other = Api(stack, tenant="other")
    run = other.finish(other.start(document(function("a", params="${secret.KEY}"))))
    assert (run["status"], run["error"]["type"]) == ("FAILED", "SecretUnavailable")
    hidden("the run", json.dumps(run))


def test_a_text_in_the_input_that_looks_like_a_secret_is_left_as_it_is(api):
    asks = document(function("a", params={"text": "${input.text}", "tenant": "acme"}))
    run = api.finish(api.start(asks, {"text": "${secret.KEY}"}))
    assert run["output"]["a"]["text"] == "${secret.KEY}"
