import base64
import json
import socket
import threading

import pytest

from chalicelib.domain.errors import TaskError
from tests.workers.servers import CREDENTIALS, SECRETS, fetch, http_worker, ok, refused, request, serving


def redirecting(status, location):
    def answer(h):
        h.reply(status, Location=location) if h.path == "/" else ok(h)

    return answer


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest",
        "//[::1]/",
        "http://2130706433/",
        "http://localhost:1/",
        "file:///etc/passwd",
        "ftp://example.com",
        "http://u@10.0.0.1/",
        "/a b",
        "http://[::1",
    ],
)
def test_a_redirect_to_a_closed_address_is_refused_without_a_connection(target, monkeypatch):
    with serving(redirecting(302, target)) as server:
        real, tried = socket.socket.connect, []

        def connect(self, address):
            tried.append(address[:2])
            real(self, address)

        monkeypatch.setattr(socket.socket, "connect", connect)
        with pytest.raises(TaskError) as caught:
            request(http_worker(server), {"url": server.url})
        assert caught.value.retryable is False
        assert tried == [("127.0.0.1", server.server_port)]


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "GET", "GET"),
    ],
)
def test_redirects_keep_or_change_the_method_as_browsers_do(status, method, then):
    body = {"a": 1} if method in {"POST", "PUT"} else None
    _, seen = fetch(redirecting(status, "next?x=1"), method=method, body=body)
    assert [(c, p) for c, p, _, _ in seen] == [(method, "/"), (then, "/next?x=1")]
    if then == "GET":
        assert seen[1][3] == b""
        assert "content-type" not in seen[1][2]
    else:
        assert seen[1][3] == seen[0][3]


def test_five_redirects_are_followed_and_a_sixth_is_not():
    def count(h):
        n = int(h.path[1:] or 0)
        ok(h) if n >= 5 else h.reply(302, Location=f"/{n + 1}")

    assert len(fetch(count)[1]) == 6
    with serving(lambda h: h.reply(302, Location="/")) as server:
        with pytest.raises(TaskError, match="more than 5 redirects") as caught:
            request(http_worker(server), {"url": server.url})
        assert caught.value.retryable is False
        assert len(server.seen) == 6


def test_a_redirect_without_location_is_a_status_that_was_not_expected():
    assert "302" in refused(lambda h: h.reply(302)).message


def test_credentials_do_not_follow_a_redirect_to_another_origin():
    with serving(ok) as other, serving(lambda h: h.reply(307, Location=other.url + "/got")) as first:
        request(http_worker(first, other), {"url": first.url, **CREDENTIALS}, SECRETS)
        assert first.seen[0][2]["authorization"] == "Bearer s3cr3t-value"
        assert first.seen[0][2]["x-api-key"] == "s3cr3t-value"
        got = other.seen[0][2]
        assert got["x-plain"] == "p"
        assert not {"authorization", "cookie", "x-api-key", "proxy-authorization"} & set(got)


def test_credentials_follow_a_redirect_within_the_origin():
    _, seen = fetch(redirecting(302, "/next"), SECRETS, **CREDENTIALS)
    assert seen[1][2]["authorization"] == "Bearer s3cr3t-value"
    assert seen[1][2]["cookie"] == "a=b"


def test_a_body_with_a_secret_does_not_follow_a_redirect_to_another_origin():
    with serving(ok) as other, serving(lambda h: h.reply(308, Location=other.url)) as first:
        with pytest.raises(TaskError, match="body with a secret"):
            request(
                http_worker(first, other), {"url": first.url, "method": "POST", "body": {"k": "${secret.KEY}"}}, SECRETS
            )
        assert json.loads(first.seen[0][3]) == {"k": "s3cr3t-value"}
        assert other.seen == []


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ("${secret.KEY}", "authorization", "Bearer s3cr3t-value"),
        ("${secret.PAIR}", "authorization", "Basic abcdef"),
        (
            {"username": "u", "password": "${secret.KEY}"},
            "authorization",
            "Basic " + base64.b64encode(b"u:s3cr3t-value").decode(),
        ),
        ({"header": "X-Token", "value": "${secret.KEY}"}, "x-token", "s3cr3t-value"),
    ],
)
def test_auth_becomes_the_header_that_carries_it(auth, header, value):
    _, seen = fetch(ok, SECRETS, auth=auth)
    assert seen[0][2][header] == value


def test_many_requests_at_once_share_one_worker():
    with serving(lambda h: h.reply(200, h.path.encode(), Content_Type="text/plain")) as server:
        worker, outs = http_worker(server), {}

        def one(i):
            outs[i] = request(worker, {"url": f"{server.url}/{i}"})["body"]

        threads = [threading.Thread(target=one, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert outs == {i: f"/{i}" for i in range(12)}
