"""Plain `chalice deploy` makes the functions, queue mappings, rules and routes that the app declares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from chalice import Chalice

from chalicelib.config import Settings, queue_name
from infra.deploy import ROOT
from infra.deploy.policies import load
from infra.local import apps, aws
from infra.local.children import stop
from infra.local.ports import HOST, free_port
from infra.local.provision import provision, queues
from tests.deploy.aws_stack import eventually

Json = Any
pytestmark = pytest.mark.stack
STAGE = "dev"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class Account:
    """An AWS account on moto's server."""

    endpoint: str
    output: str = ""

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


@pytest.fixture(scope="module")
def account(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account with the stage's queues, into which the project was deployed."""
    port, directory = free_port(), tmp_path_factory.mktemp("moto")
    child = aws.start("moto", port, directory)
    try:
        eventually(child.is_ready, "moto's start", 30)
        made = Account(f"http://{HOST}:{port}")
        create_queues(made.endpoint)
        made.output = deploy(project, made.endpoint)
        yield made
    finally:
        stop([child])


def create_queues(endpoint: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        provision(
            Settings(
                STAGE,
                "redis://none",
                f"graft-{STAGE}",
                f"graft-{STAGE}-artifacts",
                f"graft-{STAGE}-",
                aws_endpoint_url=endpoint,
            ),
            queues(),
        )


def deploy(project: Path, endpoint: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GRAFT_"))}
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "tests/deploy/chalice_on_moto.py",
            "--project-dir",
            project,
            "deploy",
            "--stage",
            STAGE,
        ],
        env={**clean, **CREDENTIALS, "AWS_ENDPOINT_URL": endpoint},
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def app() -> Chalice:
    return apps.load("app:app")


def expected_functions(app: Chalice) -> set[str]:
    return {f"graft-{STAGE}"} | {f"graft-{STAGE}-{source.name}" for source in app.event_sources}


def test_every_function_of_the_app_is_deployed_as_configured(account: Account, app: Chalice):
    made = {f["FunctionName"]: f for f in account.client("lambda").list_functions()["Functions"]}
    assert set(made) == expected_functions(app)
    assert made["graft-dev-coordinator"]["Timeout"] == 60
    assert made["graft-dev-function_worker"]["Timeout"] == 900
    for function in made.values():
        assert function["Architectures"] == ["arm64"]
        assert function["Environment"]["Variables"] == {"GRAFT_STAGE": STAGE}
        assert function["TracingConfig"] == {"Mode": "Active"}


def test_every_function_has_its_own_role_with_its_hand_written_policy(account: Account, app: Chalice):
    iam = account.client("iam")
    for function in account.client("lambda").list_functions()["Functions"]:
        role = function["Role"].rpartition("/")[2]
        name = function["FunctionName"].removeprefix(f"graft-{STAGE}").removeprefix("-") or "api"
        [policy] = iam.list_role_policies(RoleName=role)["PolicyNames"]
        document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        assert document == load(STAGE, name.replace("_", "-"))


def test_every_queue_of_the_app_leads_to_its_function(account: Account, app: Chalice):
    mappings = account.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    made = {
        (m["EventSourceArn"].rpartition(":")[2], m["FunctionArn"].rpartition(":")[2], m["BatchSize"]) for m in mappings
    }
    # This process may run under another stage's name, or none.
    own = queue_name("")
    declared = {
        (f"graft-{STAGE}-{q.queue.removeprefix(own)}", f"graft-{STAGE}-{q.name}", q.batch_size)
        for q in apps.queue_handlers(app)
    }
    assert made == declared
    assert len(mappings) == len(declared)


def test_every_schedule_of_the_app_is_a_rule_with_its_function(account: Account, app: Chalice):
    events = account.client("events")
    made = {}
    for rule in events.list_rules()["Rules"]:
        [target] = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        made[target["Arn"].rpartition(":")[2]] = rule["ScheduleExpression"]
    assert made == {f"graft-{STAGE}-{s.name}": s.expression for s in apps.schedules(app)}
    assert made


def test_every_route_of_the_app_is_a_method_that_calls_it(account: Account, app: Chalice):
    client = account.client("apigateway")
    [api] = client.get_rest_apis()["items"]
    made = {
        (resource["path"], method)
        for resource in client.get_resources(restApiId=api["id"], limit=500)["items"]
        for method in resource.get("resourceMethods", {})
        if method != "OPTIONS"
    }
    assert made == {(path, method) for path, methods in app.routes.items() for method in methods}
    assert [stage["stageName"] for stage in client.get_stages(restApiId=api["id"])["item"]] == ["api"]
    assert f"https://{api['id']}.execute-api.us-east-1.amazonaws.com/api/" in account.output


def test_what_was_deployed_is_recorded_for_the_next_deployment(account: Account, project: Path, app: Chalice):
    recorded = json.loads((project / ".chalice" / "deployed" / f"{STAGE}.json").read_text())["resources"]
    functions = {r["lambda_arn"].rpartition(":")[2] for r in recorded if r["resource_type"] == "lambda_function"}
    assert functions == expected_functions(app)
