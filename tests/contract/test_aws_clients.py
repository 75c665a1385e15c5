"""Where the clients send their calls, and what a silent endpoint becomes."""

from __future__ import annotations

import builtins
import socket
import threading
from typing import Any

import pytest

from chalicelib.adapters import aws_clients
from chalicelib.adapters.aws_clients import AwsClients
from chalicelib.adapters.clock import RandomIds, SystemClock
from chalicelib.adapters.dynamodb import DynamoJournal
from chalicelib.adapters.s3 import S3Artifacts
from chalicelib.domain.errors import ConfigurationError, Unavailable
from tests.contract.conftest import AwsPlace


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "LOCALSTACK_HOST", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def test_calls_go_to_the_endpoint_of_the_settings():
    clients = AwsClients(AwsPlace(aws_endpoint_url="http://127.0.0.1:9"))
    assert clients.client("sqs").meta.endpoint_url == "http://127.0.0.1:9"
    assert clients.client("sqs").meta.region_name == "us-east-1"


def test_a_localstack_host_wins_over_the_endpoint():
    clients = AwsClients(AwsPlace(aws_endpoint_url="http://127.0.0.1:9", localstack_host="127.0.0.1:8"))
    assert clients.client("dynamodb").meta.endpoint_url == "http://127.0.0.1:8"


def test_without_localstack_client_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("localstack_client"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigurationError, match="AWS_ENDPOINT_URL"):
        AwsClients(AwsPlace(localstack_host="localhost")).client("sqs")


def test_threads_that_ask_at_once_share_one_client():
    clients = AwsClients(AwsPlace(aws_endpoint_url="http://127.0.0.1:9"))
    gate = threading.Barrier(4)
    found: list[Any] = []

    def ask() -> None:
        gate.wait(5)
        found.append(clients.client("sqs"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 4
    assert len({id(client) for client in found}) == 1


def test_an_endpoint_that_nobody_listens_at_is_unavailable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aws_clients, "ATTEMPTS", 1)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        clients = AwsClients(AwsPlace(aws_endpoint_url=f"http://127.0.0.1:{held.getsockname()[1]}"))
        with pytest.raises(Unavailable, match=r"dynamodb\.Query got no answer"):
            DynamoJournal(clients.client("dynamodb"), "graft-test").read("r")


def test_an_endpoint_that_accepts_and_stays_silent_is_unavailable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aws_clients, "ATTEMPTS", 1)
    monkeypatch.setattr(aws_clients, "READ_TIMEOUT_S", 0.2)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        clients = AwsClients(AwsPlace(aws_endpoint_url=f"http://127.0.0.1:{held.getsockname()[1]}"))
        with pytest.raises(Unavailable, match=r"s3\.HeadObject got no answer"):
            S3Artifacts(clients.client("s3"), "b").exists(f"artifact://sha256/{'0' * 64}")


def test_ids_are_twelve_letters_or_digits_and_differ():
    ids = RandomIds()
    made = {ids.new() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(id) == 12 and id.isalnum() and id.islower() | id.isdigit() and id.isascii() for id in made)
    assert all(0 <= ids.uniform() < 1 for _ in range(100))


def test_the_clock_counts_milliseconds_since_1970():
    first = SystemClock().now_ms()
    assert 1_700_000_000_000 < first < 10_000_000_000_000
    assert SystemClock().now_ms() >= first
