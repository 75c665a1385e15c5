"""Asking the deployment by HTTP whether an attempt is still waited for, against a server on loopback."""

import json

import pytest

from chalicelib.domain.errors import TaskError
from chalicelib.workers.task_check import TRIES, is_wanted
from tests.workers.doubles import StepClock, message
from tests.workers.servers import JSON, serving

PATH = "/api/v1/tasks/s3cr3t-token"


def ask(url, waits=None):
    waits = [] if waits is None else waits
    return is_wanted(message(callback={"url": url, "token": "s3cr3t-token"}), StepClock(), waits.append)


def answering(body, status=200, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda h: h.reply(status, raw, Content_Type=JSON, **headers)


@pytest.mark.parametrize("outstanding", [True, False])
def test_12_what_the_api_says_counts(outstanding):
    with serving(answering({"outstanding": outstanding})) as server:
        assert ask(server.url + PATH) is outstanding
    assert [(method, path) for method, path, *_ in server.seen] == [("GET", PATH)]


def test_a_busy_api_is_asked_again():
    left = [503, 429]

    def answer(h):
        status = left.pop() if left else 200
        h.reply(status, b'{"outstanding": true}', Content_Type=JSON, Retry_After="2")

    waits = []
    with serving(answer) as server:
        assert ask(server.url + PATH, waits)
    assert waits == [2.0, 2.0]


@pytest.mark.parametrize(
    "answer",
    [
        answering({}, 503),
        answering({"detail": "The token has expired; get a new one."}, 401),
        answering({}),
        answering({"outstanding": "no"}),
        answering([]),
        answering(b"<html>"),
    ],
    ids=["down", "refused", "says nothing", "no bool", "no object", "no JSON"],
)
def test_an_api_that_says_nothing_fails_the_attempt_and_its_token_is_not_told(answer):
    with serving(answer) as server, pytest.raises(TaskError) as caught:
        ask(server.url + PATH)
    assert (caught.value.type, caught.value.retryable) == ("ApiUnavailable", True)
    assert "s3cr3t" not in caught.value.message
    assert len(server.seen) <= TRIES


@pytest.mark.parametrize("url", [PATH, "ftp://x" + PATH, "", None, 7])
def test_a_deployment_that_does_not_know_its_address_says_so(url):
    with pytest.raises(TaskError) as caught:
        ask(url)
    assert "GRAFT_PUBLIC_URL" in caught.value.message and caught.value.retryable is False
    assert "s3cr3t" not in caught.value.message


def test_a_task_without_a_callback_says_so():
    with pytest.raises(TaskError, match="GRAFT_PUBLIC_URL"):
        is_wanted(message(callback=None), StepClock(), [].append)
