"""The two worlds of the contract tests: the doubles, and the adapters over moto in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from botocore.validate import ParamValidator
from moto import mock_aws

from chalicelib.adapters.aws_clients import AwsClients
from chalicelib.adapters.dynamodb import DynamoJournal
from chalicelib.adapters.dynamodb_directory import DynamoDirectory
from chalicelib.adapters.s3 import S3Artifacts
from chalicelib.adapters.s3_notes import S3Notes
from chalicelib.adapters.sqs import SqsQueues
from tests.doubles import ManualClock, MemoryArtifacts, MemoryDirectory, MemoryJournal, MemoryNotes, MemoryQueues

TABLE = "graft-test"
REGION = "eu-central-1"
BUCKET = "graft-test-artifacts"
QUEUES = ("completion-signals", "tasks-function", "tasks-http")


@dataclass(frozen=True)
class AwsPlace:
    """Where AWS is, as the settings say it."""

    aws_endpoint_url: str = ""
    localstack_host: str = ""


@dataclass
class Aws:
    """moto with the stage's resources, the clients, and a count of the calls made."""

    clients: AwsClients
    calls: Counter[str]
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def client(self, service: str) -> Any:
        return self.clients.client(service)


@dataclass
class World:
    """One implementation of each port, and what a test does on the other side of it."""

    journal: Any
    directory: Any
    artifacts: Any
    notes: Any
    queues: Any
    drain: Callable[[str], list[str]]
    upload: Callable[[str, bytes], None]
    download: Callable[[str], bytes]


@pytest.fixture(scope="session")
def shared_clients() -> AwsClients:
    """Made once: loading the service models takes longer than the tests."""
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "LOCALSTACK_HOST"):
            patch.delenv(name, raising=False)
        clients = AwsClients(AwsPlace())
        for service in ("dynamodb", "sqs", "s3", "scheduler"):
            clients.client(service)
        return clients


@pytest.fixture
def aws(shared_clients: AwsClients) -> Iterator[Aws]:
    made = Aws(shared_clients, Counter())

    def count(params: dict[str, Any], model: Any, **_: Any) -> None:
        # Some clients send unchecked what they are given: what they are given is checked here.
        report = ParamValidator().validate(params, model.input_shape)
        assert not report.has_errors(), f"{model.name}: {report.generate_report()}"
        made.calls[model.name] += 1
        made.requests.append((model.name, params))

    with mock_aws():
        made.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        made.client("dynamodb").create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        for name in QUEUES:
            made.client("sqs").create_queue(QueueName=f"graft-test-{name}")
        for service in ("dynamodb", "sqs", "s3", "scheduler"):
            made.client(service).meta.events.register_last("provide-client-params", count)
        yield made
        for service in ("dynamodb", "sqs", "s3", "scheduler"):
            made.client(service).meta.events.unregister("provide-client-params", count)


def _memory_world() -> World:
    clock = ManualClock()
    directory = MemoryDirectory()
    queues = MemoryQueues(clock)
    artifacts = MemoryArtifacts()

    def drain(queue: str) -> list[str]:
        bodies = []
        while batch := queues.receive(queue):
            bodies.extend(message.body for message in batch)
            for message in batch:
                queues.delete(queue, message.receipt)
        return bodies

    journal = MemoryJournal(directory)
    return World(journal, directory, artifacts, MemoryNotes(), queues, drain, artifacts.upload, artifacts.download)


def _moto_world(aws: Aws) -> World:
    sqs = aws.client("sqs")

    def drain(queue: str) -> list[str]:
        url = sqs.get_queue_url(QueueName=f"graft-test-{queue}")["QueueUrl"]
        bodies = []
        while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            bodies.extend(message["Body"] for message in batch)
            for message in batch:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def upload(url: str, body: bytes) -> None:
        requests.put(url, data=body, timeout=5).raise_for_status()

    def download(url: str) -> bytes:
        return requests.get(url, timeout=5).content

    dynamodb = aws.client("dynamodb")
    return World(
        journal=DynamoJournal(dynamodb, TABLE),
        directory=DynamoDirectory(dynamodb, TABLE),
        artifacts=S3Artifacts(aws.client("s3"), BUCKET),
        notes=S3Notes(aws.client("s3"), BUCKET),
        queues=SqsQueues(aws.client("sqs"), "graft-test-"),
        drain=drain,
        upload=upload,
        download=download,
    )


@pytest.fixture(params=["memory", "moto"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        return _memory_world()
    return _moto_world(request.getfixturevalue("aws"))
