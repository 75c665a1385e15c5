"""What the adapters ask of AWS, recorded over moto, role by role, in the words of IAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.adapters.aws_clients import AwsClients
from chalicelib.adapters.clock import SystemClock
from chalicelib.adapters.dynamodb import DynamoJournal
from chalicelib.adapters.dynamodb_directory import DynamoDirectory
from chalicelib.adapters.lambda_invoker import BotoLambdaInvoker
from chalicelib.adapters.s3 import S3Artifacts
from chalicelib.adapters.s3_notes import S3Notes
from chalicelib.adapters.scheduler import EventBridgeSchedules
from chalicelib.adapters.secrets import WorkflowSecrets, secret_text, signing_secret
from chalicelib.adapters.sqs import SqsQueues
from chalicelib.config import _secrets
from chalicelib.domain.errors import NotFound, TaskError, Unavailable
from chalicelib.engine.ports import Outgoing
from infra.deploy.policies import EVERYWHERE, ROLES
from tests.contract.chains import chain

Json = Any
ACCOUNT, REGION = "123456789012", "eu-central-1"
BUCKET, TABLE, GROUP = f"graft-dev-artifacts-{ACCOUNT}-{REGION}", "graft-dev", "graft-dev"
SCHEDULER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/graft-dev-scheduler"
QUEUES = ("tasks-function", "tasks-http", "tasks-agent", "completion-signals")
#: What Lambda itself does in a role's name: receiving, logs, traces, network interfaces.
MAPPING = {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}
RUNTIME = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTelemetryRecords", "xray:PutTraceSegments"}
NETWORK = {action for action in EVERYWHERE if action.startswith("ec2:")}
IN_THE_NETWORK = tuple(role for role in ROLES if not role.endswith("-worker"))
Need = tuple[str, str]


@dataclass
class Recorder:
    """moto, clients whose every call is recorded, and what a policy must allow for it."""

    clients: AwsClients
    calls: set[str] = field(default_factory=set)
    needs: set[Need] = field(default_factory=set)

    def take(self) -> set[Need]:
        taken, self.needs = self.needs, set()
        return taken

    def record(self, service: str, operation: str, params: Json) -> None:
        self.calls.add(f"{service}.{operation}")
        self.needs |= set(NEEDS[service](operation, params))


def sqs_needs(operation: str, params: Json) -> Iterator[Need]:
    name = params.get("QueueName") or params["QueueUrl"].rpartition("/")[2]
    yield f"sqs:{operation.removesuffix('Batch')}", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def dynamodb_needs(operation: str, params: Json) -> Iterator[Need]:
    actions = [operation]
    if operation == "TransactWriteItems":
        actions = [
            {"ConditionCheck": "ConditionCheckItem"}.get(k, f"{k}Item") for a in params["TransactItems"] for k in a
        ]
    for action in actions:
        yield f"dynamodb:{action}", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TABLE}"


def s3_needs(operation: str, params: Json) -> Iterator[Need]:
    bucket = f"arn:aws:s3:::{params['Bucket']}"
    yield {"PutObject": "s3:PutObject"}.get(operation, "s3:GetObject"), f"{bucket}/{params['Key']}"
    # Without it S3 answers 403 for what is not there, which says nothing.
    yield "s3:ListBucket", bucket


def scheduler_needs(operation: str, params: Json) -> Iterator[Need]:
    name = f"{params['GroupName']}/{params['Name']}"
    yield f"scheduler:{operation}", f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{name}"
    yield "iam:PassRole", params["Target"]["RoleArn"]


def secretsmanager_needs(operation: str, params: Json) -> Iterator[Need]:
    secret = params["SecretId"]
    # An ARN ends in six characters that nobody chooses.
    arn = secret if secret.startswith("arn:") else f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{secret}-a1B2c3"
    yield f"secretsmanager:{operation}", arn


def ssm_needs(operation: str, params: Json) -> Iterator[Need]:
    yield f"ssm:{operation}", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{params['Name']}"


def lambda_needs(_: str, params: Json) -> Iterator[Need]:
    yield "lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{params['FunctionName']}"


NEEDS: dict[str, Callable[[str, Json], Iterator[Need]]] = {
    "sqs": sqs_needs,
    "dynamodb": dynamodb_needs,
    "s3": s3_needs,
    "scheduler": scheduler_needs,
    "secretsmanager": secretsmanager_needs,
    "ssm": ssm_needs,
    "lambda": lambda_needs,
}


@dataclass(frozen=True)
class Place:
    aws_endpoint_url: str = ""
    localstack_host: str = ""


def create(clients: AwsClients) -> None:
    clients.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    clients.client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    clients.client("scheduler").create_schedule_group(Name=GROUP)
    for name in (*QUEUES, "work-thumbnails"):
        clients.client("sqs").create_queue(QueueName=f"graft-dev-{name}")
        clients.client("sqs").create_queue(QueueName=f"graft-dev-{name}-dlq")


def listen(made: Recorder, service: str) -> None:
    def heard(params: Json, model: Any, **_: Any) -> None:
        made.record(service, model.name, params)

    made.clients.client(service).meta.events.register_last("provide-client-params", heard)


def use_queues(made: Recorder, names: tuple[str, ...], *, delete_from: str = "", whole: bool = False) -> None:
    queues = SqsQueues(made.clients.client("sqs"), "graft-dev-")
    queues.send([Outgoing(name, "{}") for name in names])
    if whole:
        for name in names:
            queues.depth(name)
    if delete_from:
        queues.delete(delete_from, ["gone"])


def use_artifacts(made: Recorder) -> None:
    artifacts = S3Artifacts(made.clients.client("s3"), BUCKET)
    ref = artifacts.put(b"x" * 1_048_577)
    artifacts.get(ref)
    artifacts.exists(ref)
    sha256 = ref.rpartition("/")[2]
    artifacts.upload_url(sha256, 4)
    artifacts.download_url(sha256)


def use_journal(made: Recorder) -> None:
    journal = DynamoJournal(made.clients.client("dynamodb"), TABLE)
    items = chain("run", 1, 2, 1)
    journal.append(items[:1])
    journal.append(items[1:])
    journal.read("run")


def use_directory(made: Recorder) -> None:
    directory = DynamoDirectory(made.clients.client("dynamodb"), TABLE)
    key = ("tenant", "record")
    directory.put_new(key, {"a": 1})
    directory.put(key, {"a": 2})
    directory.replace(key, {"a": 3}, {"a": 2})
    directory.query("tenant")
    directory.delete(key)


def use_schedules(made: Recorder) -> None:
    queues = SqsQueues(made.clients.client("sqs"), "graft-dev-")
    schedules = EventBridgeSchedules(made.clients.client("scheduler"), queues.arn, SCHEDULER_ROLE, GROUP)
    schedules.once("wake", 1_893_456_000_000, Outgoing("completion-signals", "{}"))


def use_secret(made: Recorder) -> None:
    client = AwsClients(Place()).client("secretsmanager")
    try:
        arn = client.create_secret(Name="graft-dev-signing", SecretString="s" * 64)["ARN"]
    except client.exceptions.ResourceExistsException:
        arn = client.describe_secret(SecretId="graft-dev-signing")["ARN"]
    signing_secret(made.clients, arn)


def use_workflow_secrets(made: Recorder) -> None:
    for settings in ("secretsmanager", "ssm"):
        backend, prefix = _secrets(settings, "dev")
        with pytest.raises(NotFound):
            WorkflowSecrets(made.clients, backend, prefix, SystemClock()).of("acme")("KEY")


def use_lambda(made: Recorder) -> None:
    with pytest.raises((TaskError, Unavailable)):
        BotoLambdaInvoker(made.clients.client("lambda")).invoke("graft-dev-task-score", {})


def use_core(made: Recorder) -> None:
    """All that a settlement, a start or a sweep may do."""
    use_queues(made, (*QUEUES, "work-thumbnails"), whole=True)
    SqsQueues(made.clients.client("sqs"), "graft-dev-").send([Outgoing("completion-signals-dlq", "{}")])
    use_artifacts(made)
    use_journal(made)
    use_directory(made)
    use_schedules(made)
    use_secret(made)


def use_function_worker(made: Recorder) -> None:
    use_queues(made, ("completion-signals", "tasks-function-dlq"))
    use_artifacts(made)
    use_workflow_secrets(made)
    use_lambda(made)


def use_http_worker(made: Recorder) -> None:
    use_queues(made, ("completion-signals", "tasks-http-dlq"))
    use_artifacts(made)
    use_workflow_secrets(made)


def use_agent_worker(made: Recorder) -> None:
    use_queues(made, ("completion-signals", "tasks-agent", "tasks-agent-dlq"))
    use_artifacts(made)
    notes = S3Notes(made.clients.client("s3"), BUCKET)
    notes.create("agents/a/start", b"{}")
    notes.get("agents/a/start")
    use_lambda(made)
    use_workflow_secrets(made)
    with pytest.raises(ClientError):
        secret_text(made.clients, f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:graft-dev-openai-abcdef")
    # Its client is the provider's own, and Converse is allowed under this name.
    made.needs.add(("bedrock:InvokeModel", f"arn:aws:bedrock:{REGION}::foundation-model/m"))
    made.needs.add(("bedrock:InvokeModel", f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile/p"))


USES: dict[str, Callable[[Recorder], None]] = {
    **dict.fromkeys(IN_THE_NETWORK, use_core),
    "function-worker": use_function_worker,
    "http-worker": use_http_worker,
    "agent-worker": use_agent_worker,
}
#: Role -> the queue that Lambda receives from in its name.
READS = {
    "coordinator": "completion-signals",
    "function-worker": "tasks-function",
    "http-worker": "tasks-http",
    "agent-worker": "tasks-agent",
    "dead-signals": "completion-signals-dlq",
    "dead-function-tasks": "tasks-function-dlq",
    "dead-http-tasks": "tasks-http-dlq",
    "dead-agent-tasks": "tasks-agent-dlq",
}


def needs_of(recorder: Recorder, role: str) -> set[Need]:
    recorder.take()
    USES[role](recorder)
    if role in READS:
        use_queues(recorder, (), delete_from=READS[role])
    return recorder.take()
