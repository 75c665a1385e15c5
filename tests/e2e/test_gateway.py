"""The HTTP front: every request becomes API Gateway's event, and what cannot be one gets a problem document."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading

import pytest

from infra.local.apps import load
from infra.local.gateway import Gateway, HttpRequest, Routes
from infra.local.http_server import MAX_BODY, Server
from infra.local.ports import listen


@pytest.fixture(scope="module")
def server():
    server = Server(listen(), load("tests.e2e.fake_app:app"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def call(server):
    def call(method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(*server.server_address, timeout=10)
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, response.headers, content

    return call


@pytest.mark.parametrize(
    ("path", "name", "query"),
    [
        ("/api/v1/echo/plain", "plain", {}),
        ("/api/v1/echo/plain/", "plain", {}),
        ("/api/v1/echo/a%2Fb%20c", "a/b c", {}),
        ("/api/v1/echo/a+b", "a+b", {}),
        ("/api/v1/echo/%C3%BC%E2%82%AC", "ü€", {}),
        ("/api/v1/echo/%ff%zz", "\ufffd%zz", {}),
        ("/api/v1/echo/x?a=1&a=2&b=&c=%26+d", "x", {"a": ["1", "2"], "b": [""], "c": ["& d"]}),
        ("http://elsewhere/api/v1/echo/x?a=1", "x", {"a": ["1"]}),
    ],
)
def test_paths_and_queries_arrive_decoded(call, path, name, query):
    status, _, body = call("GET", path)
    seen = json.loads(body)
    assert (status, seen["name"], seen["query"], seen["resource"]) == (200, name, query, "/api/v1/echo/{name}")


@pytest.mark.parametrize(
    ("sent", "content_type", "encoded"),
    [
        (b'{"a": 1}', "application/json", False),
        (b'{"a": ', "application/json", False),
        ("ü€".encode(), "text/plain", False),
        (b"\xff\xfe\x00", "application/json", True),
        (b"plain", "application/octet-stream", True),
        (b"", "application/json", False),
    ],
)
def test_bodies_arrive_byte_for_byte(call, sent, content_type, encoded):
    status, _, body = call("POST", "/api/v1/echo/x", sent, {"Content-Type": content_type})
    seen = json.loads(body)
    assert status == 200
    assert base64.b64decode(seen["body"]) == sent
    assert seen["encoded"] is encoded


def test_a_chunked_body_is_put_together(call):
    status, _, body = call("POST", "/api/v1/echo/x", iter([b"one ", b"two"]), {"Content-Type": "text/plain"})
    assert status == 200
    assert base64.b64decode(json.loads(body)["body"]) == b"one two"


def test_binary_answers_and_repeated_headers_go_out_as_they_are(call):
    assert call("GET", "/api/v1/bytes", headers={"Accept": "application/octet-stream"})[2] == bytes(range(256))
    _, headers, _ = call("GET", "/api/v1/echo/x")
    assert headers.get_all("X-Several") == ["a", "b"]
    assert headers["X-One"] == "1"


def test_a_literal_segment_goes_before_a_parameter(call):
    assert json.loads(call("GET", "/api/v1/echo/fixed")[2]) == {"fixed": True}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nope", 404),
        ("GET", "/api/v1/echo", 404),
        ("GET", "/api/v1/echo/", 404),
        ("GET", "/api/v1/echo/a/b", 404),
        ("GET", "/api//v1/echo/a", 404),
        ("OPTIONS", "/nope", 404),
        ("DELETE", "/api/v1/echo/x", 405),
        ("TRACE", "/api/v1/echo/x", 405),
        ("BREW", "/api/v1/echo/x", 405),
        ("POST", "/api/v1/bytes", 405),
        ("GET", "/api/v1/echo/x?" + "a=1&" * 1001, 400),
        ("GET", "/api/v1/echo/x?" + "a" * 70_000, 414),
    ],
)
def test_what_has_no_route_gets_a_problem_document(call, method, path, status):
    got, headers, body = call(method, path)
    document = json.loads(body)
    assert (got, headers["Content-Type"]) == (status, "application/problem+json")
    assert set(document) == {"type", "title", "status", "detail", "errors"}
    assert (document["status"], document["errors"]) == (status, [])
    assert headers["Access-Control-Allow-Origin"] == "*"


def test_a_wrong_method_is_told_the_right_ones(call):
    assert call("DELETE", "/api/v1/echo/x")[1]["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_head_is_get_without_its_body(call):
    status, headers, body = call("HEAD", "/api/v1/echo/fixed")
    assert (status, headers["Content-Length"], body) == (200, str(len('{"fixed":true}')), b"")


def test_a_preflight_request_is_answered_for_any_origin(call):
    status, headers, body = call("OPTIONS", "/api/v1/echo/x", headers={"Origin": "https://elsewhere"})
    allowed = {name.strip() for name in headers["Access-Control-Allow-Headers"].split(",")}
    assert (status, body) == (200, b"")
    assert {"If-Match", "Idempotency-Key", "Authorization", "Content-Type", "X-Graft-Token"} <= allowed
    assert headers["Access-Control-Expose-Headers"] == "ETag, Location, Retry-After"
    assert headers["Access-Control-Allow-Methods"] == "GET,HEAD,OPTIONS,POST"


def test_the_largest_body_is_taken_and_a_larger_one_refused_with_a_reason(call):
    assert call("POST", "/api/v1/echo/x", b"x" * MAX_BODY)[0] == 200
    status, _, body = call("POST", "/api/v1/echo/x", b"x" * (MAX_BODY + 1))
    assert (status, json.loads(body)["status"]) == (413, 413)
    chunks = (b"x" * 1024 * 1024 for _ in range(7))
    assert call("POST", "/api/v1/echo/x", chunks)[0] == 413


def _raw(server, *pieces):
    """Send bytes as they are; everything that comes back until the server closes."""
    with socket.create_connection(server.server_address, timeout=5) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"GET / HTTP/1.1\r\nContent-Length: two\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
    ],
)
def test_a_malformed_request_is_refused_with_a_problem_document(server, head, status):
    answer = _raw(server, head)
    assert answer.split()[1] == status
    assert b"application/problem+json" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == int(status)


def test_a_client_that_leaves_in_the_middle_of_its_body_gets_no_answer(server):
    assert _raw(server, b"POST /api/v1/echo/x HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc") == b""


def test_one_connection_serves_many_requests(server):
    connection = http.client.HTTPConnection(*server.server_address, timeout=5)
    first = None
    for number in range(3):
        connection.request("POST", f"/api/v1/echo/n{number}", body=b"{}")
        assert json.loads(connection.getresponse().read())["name"] == f"n{number}"
        first = first or connection.sock
        assert connection.sock is first
    connection.close()


def test_requests_at_the_same_time_keep_their_own_values(call):
    seen = {}

    def one(number):
        seen[number] = json.loads(call("GET", f"/api/v1/echo/n{number}?q={number}&sleep_s=0.05")[2])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: (item["name"], item["query"]["q"]) for n, item in seen.items()} == {
        n: (f"n{n}", [str(n)]) for n in range(8)
    }


def test_an_app_that_breaks_is_a_problem_document_and_a_log_line(caplog):
    app = load("tests.e2e.fake_app:app")

    class Broken:
        routes, api = app.routes, app.api

        def __call__(self, event, context):
            raise RuntimeError("broken")

    response = Gateway(Broken()).answer(HttpRequest("GET", "/api/v1/echo/x"))
    assert (response.status, json.loads(response.body)["status"]) == (500, 500)
    assert "broken" in caplog.text


def test_routes_prefer_literals_at_the_first_segment_that_differs():
    routes = Routes(["/{a}/x", "/runs/{b}", "/runs/x", "/"])
    assert routes.match("/runs/x") == ("/runs/x", {})
    assert routes.match("/runs/y") == ("/runs/{b}", {"b": "y"})
    assert routes.match("/other/x") == ("/{a}/x", {"a": "other"})
    assert routes.match("/") == ("/", {})
    assert routes.match("/other/y") is None
