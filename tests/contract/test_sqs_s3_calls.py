"""What queues, artifacts and schedules ask of AWS: how often, in what pieces, and what they make of refusals."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from botocore.stub import ANY, Stubber

from chalicelib.adapters.s3 import S3Artifacts
from chalicelib.adapters.scheduler import EventBridgeSchedules
from chalicelib.adapters.sqs import SqsQueues
from chalicelib.domain.errors import ConfigurationError, NotFound, TooLarge, Unavailable
from chalicelib.engine.ports import Outgoing
from tests.contract.conftest import BUCKET, Aws


def _no_sleep(_: float) -> None:
    raise AssertionError("nothing here has a reason to wait")


# Queues


def test_ten_messages_to_one_queue_are_one_call(aws: Aws):
    queues = SqsQueues(aws.client("sqs"), "graft-test-", sleep=_no_sleep)
    for _ in range(2):
        queues.send([Outgoing("tasks-http", f'"{n}"') for n in range(10)])
    assert aws.calls == {"GetQueueUrl": 1, "SendMessageBatch": 2}


def test_calls_hold_at_most_ten_messages_and_one_mebibyte(aws: Aws):
    queues = SqsQueues(aws.client("sqs"), "graft-test-", sleep=_no_sleep)
    queues.send([Outgoing("tasks-http", "ä" * 150_000) for _ in range(5)] + [Outgoing("tasks-http", "x")] * 21)
    batches = [params["Entries"] for name, params in aws.requests if name == "SendMessageBatch"]
    assert [len(batch) for batch in batches] == [3, 10, 10, 3]


def test_what_sqs_does_not_carry_is_escaped_before_it_is_sent(aws: Aws):
    """moto takes any text; SQS itself would refuse the whole call."""
    queues = SqsQueues(aws.client("sqs"), "graft-test-", sleep=_no_sleep)
    queues.send([Outgoing("tasks-http", '"\ufffe\ud800ä😀"')])
    [body] = [p["Entries"][0]["MessageBody"] for name, p in aws.requests if name == "SendMessageBatch"]
    assert body == '"\\ufffe\\ud800ä😀"'


def test_a_message_over_one_mebibyte_is_refused_before_anything_is_sent(aws: Aws):
    queues = SqsQueues(aws.client("sqs"), "graft-test-", sleep=_no_sleep)
    with pytest.raises(TooLarge, match="tasks-http"):
        queues.send([Outgoing("tasks-http", "fine"), Outgoing("tasks-http", "x" * 1_048_577)])
    assert aws.calls == {}


def _batch(failed: list[str], sender_fault: bool = False) -> dict[str, Any]:
    return {
        "Successful": [],
        "Failed": [{"Id": id, "SenderFault": sender_fault, "Code": "InternalError"} for id in failed],
    }


def test_only_the_failed_entries_of_a_call_are_sent_again(aws: Aws):
    waits: list[float] = []
    queues = SqsQueues(aws.client("sqs"), "graft-test-", sleep=waits.append)
    queues.url("tasks-http")
    entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(3)]
    with Stubber(aws.client("sqs")) as stub:
        stub.add_response("send_message_batch", _batch(["0", "2"]), {"QueueUrl": ANY, "Entries": entries})
        again = {"QueueUrl": ANY, "Entries": [entries[0], entries[2]]}
        stub.add_response("send_message_batch", _batch(["2"]), again)
        stub.add_response("send_message_batch", _batch([]), {"QueueUrl": ANY, "Entries": [entries[2]]})
        queues.send([Outgoing("tasks-http", f"m{n}") for n in range(3)])
        stub.assert_no_pending_responses()
    assert len(waits) == 2


def test_entries_that_keep_failing_are_unavailable_and_the_other_queues_are_served(aws: Aws):
    queues = SqsQueues(aws.client("sqs"), "graft-test-", sleep=lambda _: None)
    queues.url("tasks-http")
    queues.url("tasks-function")
    with Stubber(aws.client("sqs")) as stub:
        for _ in range(4):
            stub.add_response("send_message_batch", _batch(["0"]))
        stub.add_response("send_message_batch", _batch([]))
        with pytest.raises(Unavailable, match="graft-test-tasks-http refused 1 with InternalError"):
            queues.send([Outgoing("tasks-http", "a"), Outgoing("tasks-function", "b")])
        stub.assert_no_pending_responses()


def test_a_failure_that_is_the_senders_own_is_not_repeated(aws: Aws):
    queues = SqsQueues(aws.client("sqs"), "graft-test-", sleep=_no_sleep)
    queues.url("tasks-http")
    with Stubber(aws.client("sqs")) as stub:
        stub.add_response("send_message_batch", _batch(["0"], sender_fault=True))
        with pytest.raises(Unavailable):
            queues.send([Outgoing("tasks-http", "a")])


def test_a_missing_queue_is_named_and_the_other_queues_are_served(aws: Aws):
    queues = SqsQueues(aws.client("sqs"), "graft-test-", sleep=_no_sleep)
    with pytest.raises(Unavailable, match="There is no queue graft-test-nowhere"):
        queues.send([Outgoing("nowhere", "a"), Outgoing("tasks-http", "b")])
    assert queues.depth("tasks-http") == 1
    with pytest.raises(Unavailable, match="There is no queue graft-test-nowhere"):
        queues.depth("nowhere")


# Artifacts


def test_a_large_value_that_is_there_is_not_sent_again(aws: Aws):
    artifacts = S3Artifacts(aws.client("s3"), BUCKET)
    for _ in range(2):
        artifacts.put(b"x" * 1_048_577)
        artifacts.put(b"small")
    assert aws.calls == {"HeadObject": 2, "PutObject": 3}


def test_an_upload_url_binds_length_and_hash_without_asking_the_uploader_for_headers(aws: Aws):
    """moto checks neither signature nor hash, so the signed parts are looked at here."""
    digest = hashlib.sha256(b"body")
    url = S3Artifacts(aws.client("s3"), BUCKET).upload_url(digest.hexdigest(), 4)
    query = parse_qs(urlsplit(url).query)
    assert query["x-amz-checksum-sha256"] == [base64.b64encode(digest.digest()).decode()]
    assert query["X-Amz-SignedHeaders"] == ["content-length;host"]
    assert query["X-Amz-Expires"] == ["900"]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]


def test_bytes_that_do_not_match_their_id_are_not_found(aws: Aws):
    artifacts = S3Artifacts(aws.client("s3"), BUCKET)
    sha256 = hashlib.sha256(b"promised").hexdigest()
    requests.put(artifacts.upload_url(sha256, 8), data=b"another!", timeout=5).raise_for_status()
    with pytest.raises(NotFound, match="another hash"):
        artifacts.get(f"artifact://sha256/{sha256}")


# Schedules


def test_a_wake_up_is_a_one_time_schedule_that_sends_to_the_queue_and_deletes_itself(aws: Aws):
    queues = SqsQueues(aws.client("sqs"), "graft-test-")
    role = "arn:aws:iam::123456789012:role/graft-scheduler"
    schedules = EventBridgeSchedules(aws.client("scheduler"), queues.arn, role)
    at_ms = 1_893_456_000_001  # a millisecond after 2030-01-01T00:00:00Z
    for body in ('{"first":1}', '{"second":2}'):
        schedules.once("run/1 wait:2", at_ms, Outgoing("completion-signals", body))
    [name] = [one["Name"] for one in aws.client("scheduler").list_schedules()["Schedules"]]
    made = aws.client("scheduler").get_schedule(Name=name, GroupName="default")
    assert made["ScheduleExpression"] == "at(2030-01-01T00:00:01)"
    assert made["ScheduleExpressionTimezone"] == "UTC"
    assert made["ActionAfterCompletion"] == "DELETE"
    assert made["Target"]["Input"] == '{"first":1}'
    assert made["Target"]["Arn"].endswith(":graft-test-completion-signals")
    assert made["Target"]["RoleArn"] == role


def test_without_a_role_a_schedule_says_what_to_set(aws: Aws):
    schedules = EventBridgeSchedules(aws.client("scheduler"), lambda queue: queue, "")
    with pytest.raises(ConfigurationError, match="GRAFT_SCHEDULER_ROLE_ARN"):
        schedules.once("name", 0, Outgoing("completion-signals", "{}"))
