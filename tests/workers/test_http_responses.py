import base64
import gzip
import zlib

import pytest

from tests.workers.servers import JSON, fetch, refused


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (JSON, b'{"a": [1, 2.5, null, "\xc3\xa9"]}', {"a": [1, 2.5, None, "é"]}),
        ("application/problem+json; charset=utf-8", b"[1]", [1]),
        (JSON, b"\xef\xbb\xbf[1]", [1]),
        (JSON, b"", None),
        (JSON, b"<html>", "<html>"),
        (JSON, b'{"a": NaN}', '{"a": NaN}'),
        (JSON, b'{"a": 1e999}', '{"a": 1e999}'),
        (JSON, b'"\\ud800"', '"\\ud800"'),
        (JSON, b"[" * 5000, "[" * 5000),
        (JSON, b"1" * 5000, "1" * 5000),
        ("text/plain", b"caf\xc3\xa9", "café"),
        ("text/plain; charset=iso-8859-1", b"caf\xe9", "café"),
        ("text/plain; charset=punycode", b"caf\xe9", "caf�"),
        ("text/html", b"", ""),
        ("image/png", b"\x89PNG\x00", {"base64": base64.b64encode(b"\x89PNG\x00").decode()}),
        ("", b"plain", "plain"),
        ("", b"\xff\x00", {"base64": "/wA="}),
        (";;; bad", b"\xff", "�"),
    ],
)
def test_a_body_is_read_by_its_content_type(content_type, body, expected):
    headers = {"Content_Type": content_type} if content_type else {}
    out, _ = fetch(lambda h: h.reply(200, body, **headers))
    assert out["status"] == 200
    assert out["body"] == expected


def test_the_output_has_status_headers_in_lower_case_and_repeated_ones_joined():
    def answer(h):
        h.send_response(201)
        for value in ("a", "b"):
            h.send_header("X-Many", value)
        h.send_header("Content-Length", "0")
        h.end_headers()

    out, _ = fetch(answer)
    assert out["status"] == 201
    assert out["headers"]["x-many"] == "a, b"
    assert out["body"] is None


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda b: zlib.compress(b, wbits=-15)),
    ],
)
def test_packed_bodies_are_unpacked(encoding, pack):
    out, seen = fetch(lambda h: h.reply(200, pack(b'{"a": 1}'), Content_Type=JSON, Content_Encoding=encoding))
    assert out["body"] == {"a": 1}
    assert seen[0][2]["accept-encoding"] == "gzip, deflate"


def test_a_chunked_body_is_put_together():
    def answer(h):
        h.send_response(200)
        h.send_header("Content-Type", JSON)
        h.send_header("Transfer-Encoding", "chunked")
        h.end_headers()
        h.wfile.write(b'4\r\n{"a"\r\n3;ext=1\r\n: 1\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n')

    assert fetch(answer)[0]["body"] == {"a": 1}


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (400, False),
        (401, False),
        (404, False),
        (408, True),
        (409, False),
        (425, True),
        (429, True),
        (500, True),
        (503, True),
        (304, False),
    ],
)
def test_other_statuses_than_2xx_fail_and_tell_whether_to_try_again(status, retryable):
    error = refused(lambda h: h.reply(status, b"" if status == 304 else b"why not"))
    assert (error.type, error.retryable) == ("HttpError", retryable)
    assert str(status) in error.message
    assert status == 304 or "why not" in error.message


@pytest.mark.parametrize(
    ("status", "expect", "passes"),
    [
        (404, 404, True),
        (404, [200, 404], True),
        (404, "4xx", True),
        (404, ["2xx", "4XX"], True),
        (404, "404", True),
        (200, 404, False),
        (404, "5xx", False),
        (302, 302, True),
    ],
)
def test_expect_status_says_which_statuses_pass(status, expect, passes):
    def answer(h):
        h.reply(status, Location="http://10.0.0.1/")

    if passes:
        assert fetch(answer, expect_status=expect)[0]["status"] == status
    else:
        assert refused(answer, expect_status=expect).type == "HttpError"
