"""What a request may hold, and how what is wrong with it is said."""

from __future__ import annotations

import json
import logging

import pytest
from chalice.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import app
from chalicelib.api import context
from chalicelib.api.table import PREFIX, ROUTES
from chalicelib.domain.errors import ConfigurationError, Unavailable
from tests.api.client import Api
from tests.api.documents import ONE

POSTS = [route for route in ROUTES if route.method == "POST"]


def target(api: Api, route) -> str:
    token = api.services.callback_token("job", "r1", "a", 1, api.clock.now_ms() + 10_000)
    return route.full_path.format(name="one", token=token, run_id="r1", node_id="a", n="1", schedule="s")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nope",
        b"\xff\xfe",
        b"NaN",
        b'{"input": Infinity}',
        b'{"a": 1, "a": 2}',
        b"[1e999]",
        b"[" + b"9" * 5000 + b"]",
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"'x'",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_not_json_is_400(api: Api, body: bytes) -> None:
    for name in ("runs", "workflows", "workflows/validate", "artifacts"):
        reply = api.post(name, body)
        assert reply.status == 400, reply.text
        assert reply.json["type"] == "urn:graft:problem:not-json"


def test_deep_bodies_and_half_characters_are_refused(api: Api) -> None:
    for body, code in (
        (b"[" * 200 + b"]" * 200, "too_deep"),
        (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "too_deep"),
        (b'{"workflow": "\\ud800"}', "bad_text"),
    ):
        reply = api.post("runs", body)
        assert reply.status == 422
        assert reply.json["errors"][0]["code"] == code


def test_a_body_past_the_limit_is_413(api: Api) -> None:
    reply = api.post("workflows/validate", b" " * (api.services.limits.body_bytes + 1))
    assert reply.status == 413
    assert reply.json["type"] == "urn:graft:problem:too-large"


def test_a_large_object_with_a_key_twice_is_refused_quickly(api: Api) -> None:
    body = "{" + ",".join(f'"k{i}":1' for i in range(200_000)) + ',"k199999":2}'
    assert api.post("workflows/validate", body.encode()).status == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "application/x-www-form-urlencoded", "odd"])
def test_json_is_taken_whatever_the_content_type_says(api: Api, kind: str) -> None:
    assert api.post("runs", {"workflow": ONE, "input": {"n": 1}}, Content_Type=kind).status == 202
    client = Client(app)
    headers = {"Authorization": f"Bearer {api.token()}", "Content-Type": kind}
    reply = client.http.post(f"{PREFIX}/workflows/validate", headers=headers, body=json.dumps(ONE).encode())
    assert reply.status_code == 200
    assert reply.json_body["valid"] is True


def test_the_test_client_and_chalice_local_get_the_same_405(api: Api) -> None:
    client = Client(app)
    reply = client.http.delete(f"{PREFIX}/runs")
    assert reply.status_code == 405
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert reply.json_body["status"] == 405


def test_parameters_of_the_query_are_checked(api: Api) -> None:
    for query in (
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=-1",
        "limit=1.5",
        "status=DONE",
        "since=yesterday",
        "since=2026-01-01",
        "since=99999-01-01T00:00:00Z",
        "cursor=!",
        "cursor=AAAA",
        "cursor=é",
    ):
        reply = api.get(f"runs?{query}")
        assert reply.status == 422, query
        assert reply.json["errors"][0]["path"] == "/" + query.split("=")[0]


def test_a_failure_inside_is_a_500_without_its_reason(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.journal.read = lambda *_, **__: 1 / 0
    with caplog.at_level(logging.CRITICAL, "graft.api"):
        reply = api.get("runs/unknown")
    assert reply.status == 500
    assert "ZeroDivision" not in reply.text and "Traceback" not in reply.text
    assert reply.json["trace_id"] == "trace-1"
    assert reply.headers["Access-Control-Allow-Origin"] == "*"


def test_what_does_not_answer_is_a_503_with_when_to_ask_again(api: Api) -> None:
    def down(*_: object, **__: object) -> None:
        raise Unavailable("The table does not answer.")

    api.directory.query = down
    reply = api.get("runs")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    api.store.ping = lambda: False
    assert api.get("health", token=None).status == 503


def test_a_deployment_without_settings_says_nothing_of_them(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def wired() -> None:
        raise ConfigurationError("Set these environment variables: GRAFT_STAGE.")

    context.use(None)
    monkeypatch.setattr("chalicelib.wiring.services", wired)
    reply = api.get("health")
    assert reply.status == 503
    assert "GRAFT_STAGE" not in reply.text


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "workflow",
                    "nodes",
                    "id",
                    "type",
                    "input",
                    "name",
                    "tag",
                    "version",
                    "edges",
                    "from",
                    "to",
                    "config",
                    "run_id",
                    "sha256",
                    "size",
                    "error",
                    "result",
                    "result_ref",
                    "patch",
                    "metadata",
                    "timeout_ms",
                    "loop",
                    "branch",
                    "join",
                    "set",
                    "retry",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.id)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=json_values)
def test_no_json_body_breaks_a_route(api: Api, route, body: object) -> None:
    reply = api.post(target(api, route), body)
    assert reply.status < 500, reply.text


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=60), key=st.text(max_size=4))
def test_no_bytes_break_a_route(api: Api, body: bytes, key: str) -> None:
    for route in POSTS:
        assert api.post(target(api, route), body, Idempotency_Key=key).status < 500
