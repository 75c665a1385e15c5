"""The packaged app as a CloudFormation stack on a stand-in for AWS, with a real Redis."""

from __future__ import annotations

import json
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import requests

from chalicelib.engine.credentials import issue_token
from infra.deploy.package import Packaged
from infra.local import aws
from infra.local.children import stop
from infra.local.ports import HOST, free_port
from infra.local.redis_server import RedisServer

Json = Any
STAGE, CODE = "dev", "graft-code"
SCOPES = ["workflows:write", "runs:start", "runs:read", "runs:patch", "runs:control", "approvals", "admin"]


def eventually(look: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + timeout_s
    while not (answer := look()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.05)
    return answer


@dataclass
class Deployed:
    """A created stack: clients of its AWS, the address of its API, a credential."""

    endpoint: str
    api: str = ""
    token: str = ""

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def call(self, method: str, path: str, body: Json = None, **headers: str) -> requests.Response:
        """The answer to a request with these headers (`If_Match` for `If-Match`), from API Gateway."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Authorization": f"Bearer {self.token}", **given}
        return requests.request(method, self.api + path, json=body, headers=sent, timeout=30)

    def start(self, workflow: Json, given: Json) -> str:
        answer = self.call("POST", "/api/v1/runs", {"workflow": workflow, "input": given})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def run(self, run_id: str) -> Json:
        answer = self.call("GET", f"/api/v1/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, run_id: str) -> Json:
        """The run, once it has ended."""
        return eventually(lambda: (r := self.run(run_id))["status"] not in ("PENDING", "RUNNING") and r, run_id)

    def queue(self, name: str) -> str:
        return str(self.client("sqs").get_queue_url(QueueName=f"graft-{STAGE}-{name}")["QueueUrl"])

    @contextmanager
    def held(self, function: str) -> Iterator[None]:
        """Meanwhile this function's queue hands it nothing."""
        mappings = self.client("lambda")
        name = f"graft-{STAGE}-{function}"
        [mapping] = mappings.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        mappings.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield
        finally:
            mappings.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    def take(self, name: str) -> Json:
        """The next message of a queue, off it: the test is its reader."""
        sqs, url = self.client("sqs"), self.queue(name)
        answer = eventually(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), f"a message of {name}")
        sqs.delete_message(QueueUrl=url, ReceiptHandle=answer[0]["ReceiptHandle"])
        return json.loads(answer[0]["Body"])

    def depth(self, name: str, attribute: str = "ApproximateNumberOfMessages") -> int:
        answer = self.client("sqs").get_queue_attributes(QueueUrl=self.queue(name), AttributeNames=[attribute])
        return int(answer["Attributes"][attribute])


def local_template(packaged: Packaged) -> str:
    """The packaged template, changed only in where code lies.

    The archive's compiled requirements are for Lambda's processor, so the functions get this machine's instead.
    """
    template = json.loads(packaged.template.read_text())
    for made in template["Resources"].values():
        if made["Type"] == "AWS::Serverless::Function":
            made["Properties"]["CodeUri"] = {"Bucket": CODE, "Key": "deployment.zip"}
            made["Properties"]["Runtime"] = "python3.11"
    template["Globals"]["Function"]["Environment"]["Variables"]["PYTHONPATH"] = sysconfig.get_path("purelib")
    return json.dumps(template)


@contextmanager
def stack(packaged: Packaged, directory: Path) -> Iterator[Deployed]:
    """A stack of the packaged app, complete but for the private network, which RedisUrl makes needless."""
    port = free_port()
    with RedisServer() as redis:
        child = aws.start("ministack", port, directory)
        try:
            eventually(child.is_ready, "ministack's start", 20)
            deployed = Deployed(f"http://{HOST}:{port}")
            create(deployed, packaged, redis.url)
            yield deployed
        finally:
            stop([child])


def create(deployed: Deployed, packaged: Packaged, redis_url: str) -> None:
    s3, cloudformation = deployed.client("s3"), deployed.client("cloudformation")
    s3.create_bucket(Bucket=CODE)
    s3.put_object(Bucket=CODE, Key="deployment.zip", Body=packaged.archive.read_bytes())
    # Over the 51,200 bytes that a call itself takes.
    s3.put_object(Bucket=CODE, Key="template.json", Body=local_template(packaged).encode())
    cloudformation.create_stack(
        StackName="graft",
        TemplateURL=f"{deployed.endpoint}/{CODE}/template.json",
        Parameters=[{"ParameterKey": "RedisUrl", "ParameterValue": redis_url}],
        Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    made = eventually(lambda: finished(cloudformation), "the stack")
    assert made["StackStatus"] == "CREATE_COMPLETE", failures(cloudformation)
    outputs = {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}
    deployed.api = f"{deployed.endpoint}/_aws/execute-api/{outputs['RestAPIId']}/api"
    secrets = deployed.client("secretsmanager")
    secret = secrets.get_secret_value(SecretId=outputs["SigningSecretArn"])["SecretString"].encode()
    deployed.token = issue_token(secret, sub="ann", tenant="t", scopes=SCOPES, ttl_s=3600, now_s=int(time.time()))


def finished(cloudformation: Any) -> Json:
    [made] = cloudformation.describe_stacks(StackName="graft")["Stacks"]
    return None if made["StackStatus"].endswith("IN_PROGRESS") else made


def failures(cloudformation: Any) -> list[str]:
    """What CloudFormation could not make, and why."""
    events = cloudformation.describe_stack_events(StackName="graft")["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    return [f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed]
