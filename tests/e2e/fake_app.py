"""A tiny Chalice app that shows what the local stack does to an app: queues, schedules, routes."""

from __future__ import annotations

import base64
import json
import os
import time

import redis
from chalice import Blueprint, Chalice, Response

app = Chalice(app_name="fake")
rest = Blueprint(__name__)
PREFIX = os.environ.get("GRAFT_QUEUE_PREFIX", "graft-local-")


def issue_token(secret, sub, tenant, scopes, ttl_s):
    return ".".join([sub, tenant, str(len(scopes)), str(ttl_s), str(len(secret))])


def note(key, value):
    redis.Redis.from_url(os.environ["REDIS_URL"]).rpush(key, json.dumps(value))


@app.on_sqs_message(queue=PREFIX + "completion-signals", batch_size=10)
def signals(event):
    """Each message says what becomes of it: {"do": "ok" | "fail" | "raise" | "garbage"}."""
    records = event.to_dict()["Records"]
    failures = []
    for record in records:
        asked = json.loads(record["body"])
        seen = {**asked, "id": record["messageId"], "pid": os.getpid(), "at": time.time(), "batch": len(records)}
        note("signals", seen | {"count": int(record["attributes"]["ApproximateReceiveCount"])})
        if asked["do"] == "raise":
            raise RuntimeError("as asked")
        if asked["do"] == "garbage":
            return {"batchItemFailures": [{"itemIdentifier": "nobody"}]}
        if asked["do"] == "fail":
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


@app.on_sqs_message(queue=PREFIX + "tasks-function", batch_size=1)
def tasks(event):
    for record in event:
        asked = json.loads(record.body)
        time.sleep(asked.get("sleep_s", 0))
        note("tasks", asked)


@app.schedule("rate(1 minute)")
def tick(event):
    note("ticks", event.to_dict()["detail-type"])


@rest.route("/api/v1/echo/{name}", methods=["GET", "POST"], content_types=[])
def echo(name):
    request = rest.current_request
    time.sleep(float((request.query_params or {}).get("sleep_s", 0)))
    raw = request.raw_body
    return Response(
        {
            "name": name,
            "method": request.method,
            "query": {key: request.query_params.getlist(key) for key in request.query_params or {}},
            "body": base64.b64encode(raw).decode(),
            "encoded": request.to_original_event()["isBase64Encoded"],
            "resource": request.to_original_event()["resource"],
            "headers": dict(request.headers),
        },
        headers={"X-Several": ["a", "b"], "X-One": "1"},
    )


@rest.route("/api/v1/echo/fixed")
def fixed():
    return {"fixed": True}


@rest.route("/api/v1/bytes")
def some_bytes():
    return Response(bytes(range(256)), headers={"Content-Type": "application/octet-stream"})


@rest.route("/api/v1/settings")
def settings():
    return {name: value for name, value in os.environ.items() if name.startswith(("GRAFT_", "REDIS_", "AWS_ENDPOINT"))}


app.register_blueprint(rest)
