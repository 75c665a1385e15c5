"""Creates what a stage needs in the stand-in: queues with dead letters, table, bucket, schedule group, role."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.adapters.dynamodb_items import TTL
from chalicelib.config import Settings
from infra.local.clients import Client, client

#: SQS counts these receives before a message goes to the dead letters.
MAX_RECEIVES = 5
#: Seconds SQS keeps a message: its maximum, 14 days (an idle queue must not drop tasks).
RETENTION_S = 14 * 24 * 3600
#: AWS asks for a visibility timeout of at least six times the handler's.
VISIBILITY_FACTOR = 6
#: Seconds a handler may run locally, unless this variable says otherwise.
HANDLER_TIMEOUT = "GRAFT_LOCAL_HANDLER_TIMEOUT_S"
DEFAULT_HANDLER_TIMEOUT_S = 300
DEAD_LETTERS = "-dlq"


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue by logical name, and the seconds a handler of its messages may run."""

    name: str
    handler_timeout_s: int

    @property
    def visibility_s(self) -> int:
        """Seconds a received message stays hidden from other receivers."""
        return self.handler_timeout_s * VISIBILITY_FACTOR


def handler_timeout_s() -> int:
    """Seconds a local handler may run: GRAFT_LOCAL_HANDLER_TIMEOUT_S, or 300."""
    return int(os.environ.get(HANDLER_TIMEOUT) or DEFAULT_HANDLER_TIMEOUT_S)


def queues() -> tuple[QueueSpec, ...]:
    """Every queue of SPEC 7; each also gets `<name>-dlq`."""
    names = ("completion-signals", "tasks-function", "tasks-http", "tasks-agent")
    return tuple(QueueSpec(name, handler_timeout_s()) for name in names)


def provision(settings: Settings, specs: tuple[QueueSpec, ...] | None = None) -> None:
    """Make everything be there, as often as it is called. Raises botocore's errors when the stand-in refuses."""
    sqs = client(settings, "sqs")
    own = [QueueSpec(name, handler_timeout_s()) for name, url in settings.queue_allowlist.items() if not url]
    for spec in (*queues(), *own) if specs is None else specs:
        ensure_queue(sqs, settings.queue_prefix, spec)
    _ensure_table(client(settings, "dynamodb"), settings.table)
    _ensure_bucket(client(settings, "s3"), settings.bucket)
    if settings.scheduler_group != "default":
        scheduler = client(settings, "scheduler")
        _unless(lambda: scheduler.create_schedule_group(Name=settings.scheduler_group), "ConflictException")
    if settings.scheduler_role_arn:
        _ensure_role(client(settings, "iam"), settings.scheduler_role_arn)


def ensure_queue(sqs: Client, prefix: str, spec: QueueSpec) -> str:
    """Create or adjust the queue and its dead-letter queue; returns the queue's URL."""
    kept = {"MessageRetentionPeriod": str(RETENTION_S), "VisibilityTimeout": str(spec.visibility_s)}
    dead = _ensure_one(sqs, prefix + spec.name + DEAD_LETTERS, kept)
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES})
    return _ensure_one(sqs, prefix + spec.name, {**kept, "RedrivePolicy": redrive})


def _ensure_one(sqs: Client, name: str, attributes: dict[str, str]) -> str:
    try:
        url = str(sqs.get_queue_url(QueueName=name)["QueueUrl"])
    except ClientError as error:
        if "NonExistentQueue" not in _code(error) and "QueueDoesNotExist" not in _code(error):
            raise
        return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
    sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    return url


def _ensure_table(dynamodb: Client, name: str) -> None:
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    types = [{"AttributeName": item["AttributeName"], "AttributeType": "S"} for item in keys]
    request = {
        "TableName": name,
        "KeySchema": keys,
        "AttributeDefinitions": types,
        "BillingMode": "PAY_PER_REQUEST",
    }
    _unless(lambda: dynamodb.create_table(**request), "ResourceInUseException")
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    if dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
        ttl = {"Enabled": True, "AttributeName": TTL}
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)


def _ensure_bucket(s3: Client, name: str) -> None:
    region = s3.meta.region_name
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    _unless(lambda: s3.create_bucket(Bucket=name, **place), "BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def _ensure_role(iam: Client, arn: str) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    name = arn.rpartition("/")[2]
    create: Callable[[], Any] = lambda: iam.create_role(  # noqa: E731 - one call, repeated harmlessly
        RoleName=name, AssumeRolePolicyDocument=json.dumps(trust)
    )
    _unless(create, "EntityAlreadyExists")


def _unless(call: Callable[[], Any], *codes: str) -> None:
    """Do `call`, and take these error codes for success: it was there already."""
    try:
        call()
    except ClientError as error:
        if _code(error).removesuffix("Exception") not in {code.removesuffix("Exception") for code in codes}:
            raise


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def main() -> None:
    """Provision what the environment describes."""
    provision(Settings.from_environment())


if __name__ == "__main__":
    main()
