"""Queues of the users' own workers: which may be named, where they are, and what a closed one does."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from chalicelib.adapters.sqs import SqsQueues
from chalicelib.config import OWN_QUEUES, Settings
from chalicelib.domain.errors import ConfigurationError, Unavailable
from chalicelib.engine.ports import Outgoing
from infra.local.provision import queues

BASE = {"GRAFT_STAGE": "dev", "REDIS_URL": "redis://x", "GRAFT_SIGNING_SECRET": "s" * 32}


def allowed(text):
    return Settings.from_environment({**BASE, "GRAFT_QUEUE_ALLOWLIST": text}).queue_allowlist


def test_the_list_has_names_and_urls():
    assert allowed("") == {}
    url = "https://sqs.eu-central-1.amazonaws.com/1/images"
    assert allowed(f"work-a, b={url}") == {"work-a": "", "b": url}


@pytest.mark.parametrize(
    "text",
    [
        *sorted(OWN_QUEUES),
        "completion-signals-dlq",
        "tasks-function=https://sqs.eu-central-1.amazonaws.com/1/mine",
        "mine=https://sqs.eu-central-1.amazonaws.com/1/graft-dev-tasks-function",
        "mine=https://sqs.eu-central-1.amazonaws.com/1/graft-dev-completion-signals-dlq",
        "a b",
        "a/b",
        "a=",
        "a=queue",
        "a,a",
        "a.fifo",
        "a=https://sqs.eu-central-1.amazonaws.com/1/a.fifo",
    ],
)
def test_a_list_that_cannot_be_meant_stops_the_process_from_starting(text):
    with pytest.raises(ConfigurationError, match="GRAFT_QUEUE_ALLOWLIST"):
        allowed(text)


def test_no_queue_of_graft_itself_can_be_named():
    assert {spec.name for spec in queues()} == OWN_QUEUES


@pytest.fixture
def sqs(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("sqs", "eu-central-1")


def test_a_queue_with_a_url_is_sent_to_there_and_the_others_by_their_names(sqs):
    theirs = sqs.create_queue(QueueName="images")["QueueUrl"]
    ours = sqs.create_queue(QueueName="graft-dev-work-a")["QueueUrl"]
    adapter = SqsQueues(sqs, "graft-dev-", urls={"b": theirs, "work-a": ""})
    adapter.send([Outgoing("b", '"to b"'), Outgoing("work-a", '"to a"')])
    received = {url: sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] for url in (theirs, ours)}
    assert received == {theirs: '"to b"', ours: '"to a"'}
    assert adapter.depth("b") == 1


def test_a_queue_that_is_closed_or_gone_keeps_no_neighbour_from_its_message(sqs):
    url = sqs.create_queue(QueueName="graft-dev-work-a")["QueueUrl"]
    adapter = SqsQueues(sqs, "graft-dev-", urls={"closed": "https://sqs.eu-central-1.amazonaws.com/1/closed"})
    real = sqs.send_message_batch

    def send(**call):
        if call["QueueUrl"].endswith("/closed"):
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SendMessageBatch")
        return real(**call)

    sqs.send_message_batch = send
    with pytest.raises(Unavailable, match="closed is closed to this role"):
        adapter.send([Outgoing("closed", "1"), Outgoing("gone", "2"), Outgoing("work-a", "3")])
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "3"
