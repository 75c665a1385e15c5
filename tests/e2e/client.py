"""A client of the HTTP API as an outside user would write it, and what the end-to-end tests share."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import time
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from chalicelib.api.auth import issue_token
from chalicelib.engine.credentials import SCOPES
from tests.e2e.conftest import eventually

PREFIX = "/api/v1"
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}
#: For start_stack: the real app, and in place of the ready line's token the secret that tokens are signed with.
REAL = ("--app", "app:app", "--issuer", "tests.e2e.client:the_secret_itself")
#: Seconds that one run may take on a busy machine.
RUN_S = 40.0


def the_secret_itself(secret, sub, tenant, scopes, ttl_s):
    """A token issuer for stacks whose tests need tokens of many kinds."""
    return secret


@dataclass
class Reply:
    """One answer."""

    status: int
    headers: Message
    raw: bytes
    took_s: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


class Api:
    """The API of a stack, called as one person of one tenant; every answer is timed."""

    def __init__(self, stack, tenant="acme", sub="ann", scopes=SCOPES, token=None, **claims):
        self.stack = stack
        self.token = token or issue_token(stack.ready["token"], sub, tenant, scopes, 3600, **claims)
        self.slowest_s = 0.0

    def call(self, method, path, body=None, headers=None, token=""):
        """`body` is JSON unless it is bytes. `token` None sends none."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.token}"
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=40)
        try:
            connection.request(method, path if path.startswith("/api") else PREFIX + path, body=raw, headers=sent)
            answer = connection.getresponse()
            reply = Reply(answer.status, answer.headers, answer.read(), time.monotonic() - begun)
        finally:
            connection.close()
        self.slowest_s = max(self.slowest_s, reply.took_s)
        return reply

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.call("POST", path, body, **more)

    def start(self, document, run_input=None, **more):
        """Start a run and return its id."""
        reply = self.post("/runs", {"workflow": document, "input": {} if run_input is None else run_input, **more})
        assert reply.status == 202, reply.raw
        return reply.json["run_id"]

    def run(self, run_id):
        reply = self.get(f"/runs/{run_id}")
        assert reply.status == 200, reply.raw
        return reply.json

    def finish(self, run_id, timeout=RUN_S):
        """The run once it has ended."""
        deadline = time.monotonic() + timeout
        while (run := self.run(run_id))["status"] not in ENDED:
            assert time.monotonic() < deadline, f"{run_id} is {run['status']}: {run['counts']}"
            time.sleep(0.05)
        return run

    def events(self, run_id, limit=1000):
        """All events of a run, page by page."""
        found, after = [], 0
        while True:
            page = self.get(f"/runs/{run_id}/events?after={after}&limit={limit}").json
            found += page["events"]
            assert page["next"] >= after
            after = page["next"]
            if not page["events"]:
                return found

    def waits(self, run_id, node_id, status="RUNNING", timeout=RUN_S):
        """Wait until the node has this status."""
        return eventually(
            lambda: self.run(run_id)["nodes"][node_id]["status"] == status, timeout, f"{node_id} being {status}"
        )


def check_problem(reply, status):
    """The answer is a problem document (RFC 9457) of this status; returns it."""
    assert reply.status == status, (reply.status, reply.raw[:2000])
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    document = reply.json
    assert {"type", "title", "status", "detail", "errors"} <= set(document)
    assert document["status"] == status
    assert all(isinstance(document[name], str) and document[name] for name in ("type", "title", "detail"))
    for error in document["errors"]:
        assert {"code", "path", "message"} <= set(error), error
        assert error["path"] == "" or error["path"].startswith("/")
    return document


def check_gapless(events):
    """Events are numbered from 1 without a gap."""
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def drain(stack, queue, wait_s=0):
    """Receive and delete all messages of a queue; returns their bodies."""
    sqs, url, found = stack.aws("sqs"), stack.queue_url(queue), []
    while True:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s)
        messages = answer.get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found.append(message["Body"])
        if not messages:
            return found


def dead_letters(stack, queue, count, timeout=20.0):
    """At least `count` dead letters of a queue."""
    found = []

    def enough():
        found.extend(drain(stack, f"{queue}-dlq"))
        return len(found) >= count

    eventually(enough, timeout, f"{count} dead letters of {queue}")
    return found


def depth(stack, queue):
    """Messages waiting, delayed or in flight."""
    names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
    found = stack.aws("sqs").get_queue_attributes(QueueUrl=stack.queue_url(queue), AttributeNames=names)
    return sum(int(found["Attributes"].get(name, 0)) for name in names)


@contextlib.contextmanager
def frozen(stack, *names):
    """Stop these processes (all workers, where none is named) for a while, so that nothing of theirs happens."""
    pids = [pid for name, pid in stack.pids.items() if (name in names if names else name.startswith("workers"))]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def plain_http(method, url, body=None):
    """A request to a presigned URL."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body=body)
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def function(node_id, handler="echo", params=None, **more):
    """A function node."""
    return {"id": node_id, "type": "function", "config": {"handler": handler, "params": params}, **more}


def document(*nodes, edges=(), **more):
    """A workflow document; an edge is (from, to) or (from, to, more)."""
    listed = [{"from": e[0], "to": e[1], **(e[2] if len(e) > 2 else {})} for e in edges]
    return {"nodes": list(nodes), "edges": listed, **more}
