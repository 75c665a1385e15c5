import gzip
import time

import pytest

from chalicelib.domain.errors import TaskError
from tests.workers.servers import fetch, http_worker, ok, refused, request, serving


def test_a_body_past_the_limit_fails_and_is_not_tried_again():
    error = refused(lambda h: h.reply(200, b"x" * 3000), max_body=2000)
    assert (error.type, error.retryable) == ("HttpError", False)
    assert "more than 2000 bytes" in error.message


def test_a_body_of_exactly_the_limit_passes():
    assert len(fetch(lambda h: h.reply(200, b"x" * 2000, Content_Type="text/plain"), max_body=2000)[0]["body"]) == 2000


def test_a_gzip_bomb_is_stopped_at_the_limit():
    bomb = gzip.compress(b"\0" * 5_000_000)
    assert (
        "more than 100000 bytes"
        in refused(lambda h: h.reply(200, bomb, Content_Encoding="gzip"), max_body=100_000).message
    )


@pytest.mark.parametrize("size", [b"-1", b"fffffffff", b"zz", b""])
def test_a_lying_chunk_size_neither_hangs_nor_fills_the_memory(size):
    def answer(h):
        h.send_response(200)
        h.send_header("Transfer-Encoding", "chunked")
        h.end_headers()
        for _ in range(100):
            h.wfile.write(size + b"\r\n" + b"x" * 10_000)
        h.close_connection = True

    error = refused(answer, max_body=10_000)
    assert error.type == "HttpError"
    if size == b"-1":
        assert "more than 10000 bytes" in error.message


def test_endless_headers_are_refused():
    def answer(h):
        h.send_response(200)
        for i in range(500):
            h.send_header(f"X-{i}", "y")
        h.end_headers()

    assert "no proper HTTP answer" in refused(answer).message


def test_a_body_that_drips_ends_at_the_deadline_and_may_be_tried_again():
    """A timeout per read is not enough: one byte every now and then outlasts it for ever."""

    def answer(h):
        h.send_response(200)
        h.send_header("Content-Length", "1000")
        h.end_headers()
        for _ in range(100):
            h.wfile.write(b"x")
            h.wfile.flush()
            time.sleep(0.05)

    began = time.monotonic()
    error = refused(answer, seconds=0.3)
    assert time.monotonic() - began < 2
    assert (error.type, error.retryable) == ("HttpError", True)
    assert "timed out" in error.message


def test_headers_that_drip_end_at_the_deadline():
    def answer(h):
        for _ in range(100):
            h.wfile.write(b"H")
            h.wfile.flush()
            time.sleep(0.05)

    began = time.monotonic()
    assert "timed out" in refused(answer, seconds=0.3).message
    assert time.monotonic() - began < 2


def test_a_deadline_already_past_makes_no_request():
    with serving(ok) as server:
        with pytest.raises(TaskError, match="timed out"):
            request(http_worker(server), {"url": server.url}, seconds=-1)
        assert server.seen == []


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"hello\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"\x00" * 100,
        b"HTTP/1.1 999999 X\r\n\r\n",
    ],
)
def test_a_broken_server_is_a_network_error_that_may_be_tried_again(sent):
    def answer(h):
        h.wfile.write(sent)
        h.close_connection = True

    error = refused(answer)
    assert (error.type, error.retryable) == ("HttpError", True)


def test_a_packed_body_cut_short_is_a_network_error():
    def answer(h):
        h.reply(200, gzip.compress(b"x" * 1000)[:-10], Content_Encoding="gzip")

    assert refused(answer).retryable is True


def test_a_closed_port_is_a_network_error_naming_the_site_only():
    with serving(ok) as server:
        worker, url = http_worker(server), server.url
    with pytest.raises(TaskError) as caught:
        request(worker, {"url": url + "/private?token=abc"})
    assert caught.value.retryable is True
    assert "Connection refused" in caught.value.message
    assert "abc" not in caught.value.message
