"""Whatever comes in, there is a clear answer or a dead letter; nothing crashes, hangs or stops working."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket

import pytest

from tests.e2e.client import REAL, Api, check_problem, depth, document, function
from tests.e2e.conftest import eventually

pytestmark = pytest.mark.stack
ONE = document(function("a", params={"n": "${input.n}"}))
QUEUES = ("completion-signals", "tasks-function", "tasks-http")
DEEP = b"[" * 10_000 + b"]" * 10_000


@pytest.fixture(scope="module")
def stack(start_stack):
    """A stack that after all these tests still has the processes it began with, and still works."""
    running = start_stack(*REAL)
    before = running.pids
    yield running
    api = Api(running)
    assert api.finish(api.start(ONE, {"n": 1}))["status"] == "COMPLETED"
    assert running.pids == before
    assert running.stop() == 0


@pytest.fixture(scope="module")
def api(stack):
    return Api(stack)


def conditioned(condition):
    """A document with one condition."""
    return document(function("a"), function("b"), edges=[("a", "b", {"condition": condition})])


def value(of):
    """A document that computes a value."""
    return document({"id": "a", "type": "transform", "config": {"value": of}})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"{'a': 1}", 400),
        (b"nul", 400),
        (b'{"workflow": NaN}', 400),
        (b'{"workflow": -Infinity}', 400),
        (b'{"workflow": 1e999}', 400),
        (b'{"input": {}, "input": {}}', 400),
        (b'{"input": ' + b"9" * 100_000 + b"}", 400),
        (b"\xff\xfe{}", 400),
        (b'{"a": "\xc3\x28"}', 400),
        (b"\xef\xbb\xbf{}", 400),
        (b'{"workflow": "\x00"}', 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"text"', 422),
        (DEEP, 422),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 422),
        (b'{"workflow": {}, "unknown": 1}', 422),
        (b'{"workflow": {"nodes": 5}}', 422),
        (b'{"workflow": {"nodes": [null, 5, "x", [], {}]}}', 422),
        (b'{"workflow": {"nodes": [{"id": "a", "type": "pass", "typo": 1}]}}', 422),
        (b'{"workflow": {"nodes": [{"id": "\\ud800", "type": "pass"}]}}', 422),
        (b'{"workflow": "\\udfff"}', 422),
        (b'{"workflow": true}', 422),
        (b'{"workflow": {"nodes": [{"id": "a", "type": "pass"}]}, "input": "\\ud83d"}', 422),
        (b'{"workflow": {"nodes": [{"id": "a", "type": "pass"}]}, "run_id": "../../etc"}', 422),
        (b'{"workflow": {"nodes": [{"id": "a", "type": "pass"}]}, "run_id": 5}', 422),
        (b'{"workflow": {"nodes": [{"id": "a", "type": "pass"}]}, "timeout_ms": -1}', 422),
        (b'{"workflow": {"nodes": [{"id": "a", "type": "pass"}]}, "timeout_ms": 1e400}', 400),
    ],
    ids=range(30),
)
def test_a_body_that_is_wrong_is_refused(api, body, status):
    check_problem(api.post("/runs", body), status)


def test_seven_mebibytes_are_413_however_they_are_sent(api):
    big = b'{"workflow": "' + b"x" * (7 << 20) + b'"}'
    for path in ("/runs", "/workflows/validate", "/workflows"):
        check_problem(api.post(path, big), 413)
    headers = {"Authorization": f"Bearer {api.token}"}
    pieces = iter([big[i : i + 65536] for i in range(0, len(big), 65536)])
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", api.stack.port, timeout=20)) as connection:
        connection.request("POST", "/api/v1/runs", pieces, headers, encode_chunked=True)
        with connection.getresponse() as answer:
            assert answer.status == 413


def test_a_document_over_a_mebibyte_is_refused_by_its_limit(api):
    reply = check_problem(api.post("/runs", {"workflow": value("x" * (1 << 20)), "input": {}}), 422)
    assert any("1048576" in e["message"].replace(",", "") or "MiB" in e["message"] for e in reply["errors"])


def test_a_large_input_is_kept_or_refused_and_never_breaks(api):
    reply = api.post("/runs", {"workflow": value("${size(input.text)}"), "input": {"text": "x" * (2 << 20)}})
    assert reply.status in (202, 413, 422)
    if reply.status == 202:
        assert api.finish(reply.json["run_id"])["status"] in ("COMPLETED", "FAILED")


@pytest.mark.parametrize(
    "expression",
    [
        "1 +",
        "output.",
        "x" * 5000,
        "1" + " + 1" * 1500,
        "(" * 200 + "1" + ")" * 200,
        "(" * 2000 + "1" + ")" * 2000,
        "[" * 40 + "]" * 40,
        "[1,2].all(a, [1,2].all(b, [1,2].all(c, a + b + c > 0)))",
        "a.b.c",
        "ctx.nobody.output == 1",
        "__import__('os').system('id') == 0",
        "'\\ud800' == output",
        "\x00",
        "",
        "output ? 1",
        "99999999999999999999999999 > 1",
        "matches('a', '(a+)+$')" + " && true" * 600,
    ],
    ids=range(17),
)
def test_hostile_expressions_are_compile_errors_with_their_place(api, expression):
    reply = api.post("/workflows/validate", conditioned(expression))
    assert reply.status in (200, 422), reply.raw
    if reply.status == 200:
        assert reply.json["valid"] is False
        assert any(error["path"].startswith("/edges/0/condition") for error in reply.json["errors"])
    assert reply.took_s < 10


@pytest.mark.parametrize(
    "expression",
    [
        "[0,1,2,3,4,5,6,7,8,9].map(a, input.text + input.text + input.text)",
        "input.list.map(a, input.list.map(b, input.list))",
        "input.list.map(a, input.list.map(b, input.text))",
        "input.text.matches('(a+)+$')",
        "input.text.matches('(a|a)*$')",
        "input.list[999999999]",
        "1 / 0",
        "9223372036854775807 + 1",
        "double('nan')",
        "1.0 / 0.0",
        "input.missing.deeper",
        "b'\\xff'",
        "duration('1s')",
        "timestamp('2026-01-01T00:00:00Z')",
        "type(1)",
        "!" * 4000 + "true",
        "-" * 4000 + "1",
    ],
    ids=range(17),
)
def test_an_expression_that_explodes_fails_its_run_and_nothing_else(api, expression):
    reply = api.post(
        "/runs", {"workflow": value(f"${{{expression}}}"), "input": {"text": "a" * 5000 + "!", "list": [*range(300)]}}
    )
    if reply.status == 422:
        return
    assert reply.status == 202, reply.raw
    run = api.finish(reply.json["run_id"])
    assert run["status"] in ("COMPLETED", "FAILED")
    if run["status"] == "FAILED":
        assert run["error"]["type"] in ("TemplateError", "LimitExceeded"), run["error"]


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "jsonpath", "query": "$[?@.a", "operator": "exists"},
        {"type": "jsonpath", "query": "$" + "..*" * 30, "operator": "exists"},
        {"type": "jsonpath", "query": "$.a", "operator": "sometimes", "value": 1},
        {"type": "jsonpath", "query": 5},
        {"type": "schema", "schema": {"type": "nothing"}},
        {"type": "schema", "schema": {"$ref": "http://169.254.169.254/latest"}},
        {"type": "schema", "schema": {"$ref": "file:///etc/passwd"}},
        {"type": "schema", "schema": {"pattern": "("}},
        {"type": "python", "expression": "1"},
        {"type": "cel"},
        [],
        5,
    ],
    ids=range(12),
)
def test_hostile_conditions_are_compile_errors(api, condition):
    reply = api.post("/workflows/validate", conditioned(condition))
    assert (reply.status, reply.json["valid"]) == (200, False), reply.raw
    assert reply.took_s < 10


@pytest.mark.parametrize(
    "path",
    [
        "/runs/..%2f..%2fetc%2fpasswd",
        "/runs/%00",
        "/runs/%ff%fe",
        "/runs/a%0d%0aX-Evil:%201",
        "/runs/" + "x" * 5000,
        "/runs/*",
        "/runs/{run_id}",
        "/runs/%7Brun_id%7D/events",
        "/runs/a%23b",
        "/runs/a|b/nodes/c",
        "/workflows/..%2f..",
        "/workflows/a%2fb",
        "/workflows/%F0%9F%98%80",
        "/artifacts/..%2fsecret",
        "/artifacts/" + "G" * 64,
        "/runs/x/nodes/%00",
    ],
)
def test_ids_that_lead_astray_are_404(api, path):
    reply = api.get(path)
    check_problem(reply, 404)
    assert "X-Evil" not in reply.headers


def test_headers_that_lead_astray_never_reach_an_answer_or_a_500(api):
    body = {"workflow": ONE, "input": {"n": 1}}
    for key in ("\x7f", "x" * 300, "", "é"):
        reply = api.post("/runs", body, headers={"Idempotency-Key": key.encode("latin-1")})
        assert reply.status in (202, 422), key
    for token in ("x" * 60_000, "é", "a.b.c.d", "e30.e30.", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."):
        reply = api.call("GET", "/runs", headers={"Authorization": f"Bearer {token}".encode("latin-1")}, token=None)
        assert reply.status in (400, 401, 431), (token[:20], reply.status)
    for name in ("If-Match", "X-Graft-Token", "Content-Type"):
        assert api.get("/runs", headers={name: "\x01"}).status in (200, 401)


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /api/v1/runs HTTP/9.9\r\n\r\n",
        b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /api/v1/runs HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/v1/runs HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /api/v1/runs HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /api/v1/runs HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(200)) + b"\r\n",
        b"GET /api/v1/runs HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ],
    ids=range(9),
)
def test_what_is_no_http_is_refused_on_its_own_connection(api, raw):
    with socket.create_connection(("127.0.0.1", api.stack.port), timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert not answer.startswith(b"HTTP/1.1 5") or answer.startswith(b"HTTP/1.1 505"), answer[:200]
    assert api.get("/health").status == 200


MESSAGES = [
    "",
    "not json",
    "{",
    "null",
    "[]",
    '"x"',
    "5",
    "NaN",
    "{}",
    '{"version": "1.0"}',
    '{"version": "2.0", "kind": "task"}',
    '{"version": "1.0", "job_id": 5, "run_id": [], "node_id": {}, "status": "completed"}',
    '{"version": "1.0", "job_id": "' + "x" * 5000 + '"}',
    '{"version": "1.0", "kind": "continue", "jobs": 5}',
    '{"version": "1.0", "kind": "continue", "jobs": [5, null, {}]}',
    '{"version": "1.0", "kind": "wake", "job_id": "W10.abc"}',
    '{"version": "1.0", "kind": "expired", "job_id": "a.b", "reason": "x"}',
    '{"version": "1.0", "kind": "heartbeat", "job_id": null}',
    '{"version": "1.0", "kind": "unheard-of"}',
    '{"version": "1.0", "job_id": "e30.000000000000000000000000", "run_id": "r", "node_id": "n", "status": 7}',
    "[" * 50_000 + "]" * 50_000,
    '{"a":' * 50_000 + "1" + "}" * 50_000,
    '{"version": "1.0", "result": ' + "9" * 10_000 + "}",
    '{"reason": "faked", "message": "{}"}',
    "é" * 1000,
]


@pytest.mark.parametrize("queue", [*QUEUES, *(f"{queue}-dlq" for queue in QUEUES)])
def test_malformed_messages_end_as_dead_letters_and_leave_their_queue(api, queue):
    sqs, url = api.stack.aws("sqs"), api.stack.queue_url(queue)
    for body in MESSAGES:
        if body:
            sqs.send_message(QueueUrl=url, MessageBody=body)
    eventually(lambda: depth(api.stack, queue) == 0, 60, f"an empty queue {queue}")


def test_a_good_run_ends_among_the_malformed_messages(api):
    url = api.stack.queue_url("completion-signals")
    for body in MESSAGES[1:]:
        api.stack.aws("sqs").send_message(QueueUrl=url, MessageBody=body)
    assert api.finish(api.start(ONE, {"n": 5}))["output"] == {"a": {"n": 5}}


def test_the_dead_letters_can_be_read_with_their_reasons(api):
    url = api.stack.queue_url("completion-signals")
    api.stack.aws("sqs").send_message(QueueUrl=url, MessageBody=json.dumps({"version": "7.7", "mine": "find me"}))

    def kept():
        return [item for item in api.get("/dead-letters?limit=200").json["items"] if "7.7" in item["reason"]]

    (letter,) = eventually(kept, 30, "the dead letter")
    assert letter["queue"] == "completion-signals"
