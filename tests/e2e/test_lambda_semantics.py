"""What a function's answer means to its batch, and when scheduled functions are due."""

from __future__ import annotations

import pytest

from chalicelib.domain.errors import ConfigurationError
from infra.local.lambda_events import LambdaContext, failed_ids, schedule_event, sqs_event
from infra.local.schedules import minute_s, period_s

BATCH = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": None}, set()),
        ({"other": 1}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "b"}]}, {"b"}),
        ({"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "b"}]}, {"b"}),
        ({"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "c"}]}, {"a", "c"}),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, set(BATCH)),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, set(BATCH)),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, set(BATCH)),
        ({"batchItemFailures": [{"itemIdentifier": 7}]}, set(BATCH)),
        ({"batchItemFailures": [{"itemidentifier": "a"}]}, set(BATCH)),
        ({"batchItemFailures": ["a"]}, set(BATCH)),
        ({"batchItemFailures": "a"}, set(BATCH)),
        ("done", set(BATCH)),
        (["a"], set(BATCH)),
    ],
)
def test_an_answer_fails_what_it_names_or_the_whole_batch(answer, failed):
    assert failed_ids(answer, BATCH) == failed


def test_a_record_has_what_lambda_gives():
    message = {
        "MessageId": "m1",
        "ReceiptHandle": "r1",
        "Body": "{}",
        "MD5OfBody": "5",
        "Attributes": {"ApproximateReceiveCount": "2"},
        "MessageAttributes": {"trace": {"DataType": "String", "StringValue": "t"}},
    }
    assert sqs_event([message], "arn:aws:sqs:eu-west-1:123456789012:q") == {
        "Records": [
            {
                "messageId": "m1",
                "receiptHandle": "r1",
                "body": "{}",
                "attributes": {"ApproximateReceiveCount": "2"},
                "messageAttributes": {
                    "trace": {
                        "dataType": "String",
                        "stringValue": "t",
                        "stringListValues": [],
                        "binaryListValues": [],
                    }
                },
                "md5OfBody": "5",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:q",
                "awsRegion": "eu-west-1",
            }
        ]
    }


def test_a_context_counts_down_to_zero():
    assert 0 < LambdaContext("f", 10).get_remaining_time_in_millis() <= 10_000
    assert LambdaContext("f", -1).get_remaining_time_in_millis() == 0


def test_a_schedule_event_names_its_rule():
    event = schedule_event("sweep")
    assert (event["source"], event["detail"]) == ("aws.events", {})
    assert event["resources"][0].endswith("rule/sweep")


@pytest.mark.parametrize(
    ("expression", "minute", "period"),
    [
        ("rate(1 minute)", 1, 1),
        ("rate(15 minutes)", 1, 15),
        ("rate(1 hour)", 0.5, 30),
        ("rate(2 days)", 1, 2880),
        ("cron(0 12 * * ? *)", 1, 1440),
        ("rate(1 minute)", 60, 60),
    ],
)
def test_a_rate_is_counted_in_local_minutes(expression, minute, period):
    assert period_s(expression, minute) == period


@pytest.mark.parametrize("expression", ["", "rate(0 minutes)", "rate(1 second)", "every minute"])
def test_an_unknown_rate_is_refused_by_name(expression):
    with pytest.raises(ConfigurationError, match="rate"):
        period_s(expression, 1)


def test_the_length_of_a_minute_is_a_positive_number():
    assert minute_s(None) == minute_s("") == 1.0
    assert minute_s("0.25") == 0.25
    for wrong in ("0", "-1", "soon"):
        with pytest.raises(ConfigurationError, match="GRAFT_LOCAL_SCHEDULE_S"):
            minute_s(wrong)
