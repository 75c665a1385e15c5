import json

import pytest

from chalicelib.domain.errors import TaskError
from tests.workers.servers import JSON, SECRETS, fetch, http_worker, ok, refused, request, serving


def test_method_query_headers_and_json_body_are_sent():
    _, seen = fetch(
        ok,
        path="/a b?x=1".replace(" ", "%20"),
        method="post",
        query={"n": 1, "t": True, "many": ["a", "b&c"], "none": None, "é": "ü"},
        headers={"X-One": 1, "X-None": None},
        body={"a": ["é"]},
    )
    command, path, headers, body = seen[0]
    assert command == "POST"
    assert path == "/a%20b?x=1&n=1&t=true&many=a&many=b%26c&%C3%A9=%C3%BC"
    assert headers["x-one"] == "1"
    assert "x-none" not in headers
    assert headers["content-type"] == JSON
    assert json.loads(body) == {"a": ["é"]}


@pytest.mark.parametrize(
    ("body", "content_type", "sent", "sent_type"),
    [
        ("text", None, b"text", "text/plain; charset=utf-8"),
        ("<a/>", "application/xml", b"<a/>", "application/xml"),
        (
            {"a": "1 2", "b": [1, 2]},
            "application/x-www-form-urlencoded",
            b"a=1+2&b=1&b=2",
            "application/x-www-form-urlencoded",
        ),
        ([1], "application/vnd.x+json", b"[1]", "application/vnd.x+json"),
        (0, None, b"0", JSON),
    ],
)
def test_bodies_go_out_in_the_form_their_type_says(body, content_type, sent, sent_type):
    headers = {"Content-Type": content_type} if content_type else {}
    _, seen = fetch(ok, method="PUT", body=body, headers=headers)
    assert seen[0][3] == sent
    assert seen[0][2]["content-type"] == sent_type


@pytest.mark.parametrize(
    "config",
    [
        {"headers": {"X": "a\r\nHost: evil"}},
        {"headers": {"X": "a\nb"}},
        {"headers": {"X": "a\x00"}},
        {"headers": {"X\r\nY": "a"}},
        {"headers": {"X Y": "a"}},
        {"headers": {"": "a"}},
        {"headers": {"X": "☃"}},
        {"headers": {"Host": "metadata"}},
        {"headers": {"content-length": "5"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": ["X"]},
        {"method": "GET / HTTP/1.1\r\nX: y"},
        {"method": "G ET"},
        {"method": "CONNECT"},
        {"method": 1},
        {"query": "a=b"},
        {"expect_status": "abc"},
        {"expect_status": []},
        {"expect_status": True},
        {"expect_status": 99},
        {"auth": {"x": "y"}},
        {"auth": ""},
        {"auth": 7},
        {"auth": {"header": "Host", "value": "x"}},
        {"auth": {"header": "X", "value": "a\r\nb"}},
        {"auth": {"username": 1, "password": "x"}},
        {"url": None},
        {"url": ""},
        {"url": "/relative"},
        {"url": "http://"},
        {"url": "http:///x"},
        {"url": "http://a\r\nb/"},
        {"url": "http://example.com/\r\nX: y"},
        {"url": "http://example.com/" + "x" * 20_000},
        {"url": "http://example.com:0x50/"},
        {"url": "http://[::1]:80:80/"},
    ],
)
def test_a_wrong_config_fails_at_once_and_for_good(config):
    with serving(ok) as server:
        with pytest.raises(TaskError) as caught:
            request(http_worker(server), {"url": server.url, **config})
        assert (caught.value.type, caught.value.retryable) == ("HttpError", False)
        assert caught.value.message.startswith("/config/")
        assert server.seen == []


def test_half_a_surrogate_pair_in_a_url_does_not_crash_the_worker():
    _, seen = fetch(ok, path="/\ud800?\udfff")
    assert seen[0][1] == "/%3F??"


def test_a_password_in_a_url_is_refused_with_the_way_out():
    with pytest.raises(TaskError, match="use the config's auth"):
        request(http_worker(), {"url": "http://me:pw@example.com/"})


def test_a_secret_at_the_edge_of_the_quoted_answer_is_hidden_before_the_cut():
    body = b"x" * 490 + b"s3cr3t-value" + b"y" * 100
    error = refused(lambda h: h.reply(500, body), secrets=SECRETS, auth="${secret.KEY}")
    assert "xxx" in error.message
    assert "s3cr" not in error.message


def test_a_bad_redirect_is_told_apart_from_a_bad_config():
    error = refused(lambda h: h.reply(302, Location="ftp://example.com/"))
    assert error.message.startswith("the Location that http://127.0.0.1")
    assert error.retryable is False


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    with serving(ok) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        _, seen = fetch(ok)
        assert len(seen) == 1
        assert proxy.seen == []
