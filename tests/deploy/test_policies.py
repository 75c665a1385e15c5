"""Each role may do what its part does on its own resources, and nothing else of those services."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from moto import mock_aws

from chalicelib.adapters.aws_clients import AwsClients
from infra.deploy import ROOT
from infra.deploy.policies import EVERYWHERE, ROLES, WRITTEN_FOR, allows, for_stage, grants, load, policy_path, too_wide
from tests.deploy.aws_calls import (
    ACCOUNT,
    BUCKET,
    IN_THE_NETWORK,
    MAPPING,
    NEEDS,
    NETWORK,
    READS,
    REGION,
    RUNTIME,
    Need,
    Place,
    Recorder,
    create,
    listen,
    needs_of,
)


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "LOCALSTACK_HOST"):
            patch.delenv(name, raising=False)
        made = Recorder(AwsClients(Place()))
        create(made.clients)
        for service in NEEDS:
            listen(made, service)
        yield made


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_its_part_does(recorder: Recorder, role: str):
    policy = load("dev", role)
    assert [need for need in sorted(needs_of(recorder, role)) if not allows(policy, *need)] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_nothing_else(recorder: Recorder, role: str):
    """Every action on every queue, table, bucket that the policy names is one that the part was seen to use."""
    needs = needs_of(recorder, role)
    own = MAPPING if role in READS else set()
    own = own | RUNTIME | (NETWORK if role in IN_THE_NETWORK else set())
    unused = [
        grant
        for grant in grants(load("dev", role))
        if not any(allows_one(grant.action, grant.resource, need) for need in needs) and grant.action not in own
    ]
    # A message that cannot be read is set aside before anybody knows whose it is; a queue's depth is asked for as well.
    assert [g for g in unused if g.action not in ("sqs:GetQueueAttributes", "sqs:GetQueueUrl")] == []


def allows_one(action: str, resource: str, need: Need) -> bool:
    statement = {"Sid": "One", "Effect": "Allow", "Action": action, "Resource": resource}
    return allows({"Statement": [statement]}, *need)


def test_every_call_that_the_adapters_make_was_recorded(recorder: Recorder):
    """A new call in an adapter fails here until the roles that make it are decided."""
    for role in ROLES:
        needs_of(recorder, role)
    source = "".join(path.read_text() for path in (ROOT / "chalicelib" / "adapters").glob("*.py"))
    written = set(re.findall(r'answering\("([a-z0-9]+\.[A-Za-z]+)"\)', source))
    assert written | {"lambda.Invoke"} == recorder.calls


@pytest.mark.parametrize("role", [role for role in ROLES if role in READS])
def test_lambda_may_receive_for_the_roles_that_read_a_queue(role: str):
    policy = load("dev", role)
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:graft-dev-{READS[role]}"
    assert all(allows(policy, action, queue) for action in MAPPING)
    received = [grant for grant in grants(policy) if grant.action == "sqs:ReceiveMessage"]
    assert len(received) == 1


@pytest.mark.parametrize("role", ROLES)
def test_no_grant_is_wider_than_it_must_be(role: str):
    assert too_wide(load("dev", role)) == []


@pytest.mark.parametrize(
    ("action", "resource", "told"),
    [
        ("s3:*", "arn:*:s3:::graft-dev-artifacts", "s3:* names no single action"),
        ("s3:GetObject", "*", "s3:GetObject is allowed on every resource"),
        ("s3:GetObject", "arn:*:s3:::others/*", "arn:*:s3:::others/*, which is not this deployment's"),
    ],
)
def test_a_grant_that_is_too_wide_is_named(action: str, resource: str, told: str):
    [found] = too_wide({"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]})
    assert told in found


def test_what_is_allowed_on_every_resource_has_its_reason():
    everywhere = {g.action for role in ROLES for g in grants(load("dev", role)) if g.resource == "*"}
    assert everywhere == set(EVERYWHERE)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reaches_nothing_of_the_bucket_but_artifacts(role: str):
    policy = load("dev", role)
    for action in ("s3:GetObject", "s3:PutObject"):
        assert allows(policy, action, f"arn:aws:s3:::{BUCKET}/cas/0")
        assert not allows(policy, action, f"arn:aws:s3:::{BUCKET}/other")
        assert not allows(policy, action, "arn:aws:s3:::graft-prod-artifacts-1/cas/0")


def test_workers_reach_no_table_no_network_and_not_the_signing_secret():
    for role in ("function-worker", "http-worker"):
        policy = load("dev", role)
        services = {grant.action.partition(":")[0] for grant in grants(policy)}
        assert services <= {"sqs", "s3", "lambda", "logs", "xray", "secretsmanager", "ssm"}
        secrets = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"
        assert allows(policy, "secretsmanager:GetSecretValue", f"{secrets}graft-dev/acme/KEY-a1B2c3")
        assert not allows(policy, "secretsmanager:GetSecretValue", f"{secrets}graft-dev-signing-a1B2c3")
        assert not allows(policy, "secretsmanager:GetSecretValue", f"{secrets}graft-prod/acme/KEY-a1B2c3")


@pytest.mark.parametrize("role", [role for role in ROLES if not role.endswith("-worker")])
def test_only_workers_read_the_secrets_of_workflows(role: str):
    policy = load("dev", role)
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:graft-dev/acme/KEY-a1B2c3"
    assert not allows(policy, "secretsmanager:GetSecretValue", secret)
    assert not any(grant.action.startswith("ssm:") for grant in grants(policy))


def test_agents_reach_models_and_the_key_of_models_and_no_other_secret():
    policy = load("dev", "agent-worker")
    services = {grant.action.partition(":")[0] for grant in grants(policy)}
    assert services == {"sqs", "s3", "lambda", "logs", "xray", "bedrock", "secretsmanager", "ssm"}
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:graft-dev"
    assert allows(policy, "secretsmanager:GetSecretValue", f"{secret}-openai-abcdef")
    assert not allows(policy, "secretsmanager:GetSecretValue", f"{secret}-signing-abcdef")
    assert not allows(policy, "bedrock:InvokeModel", f"arn:aws:bedrock:{REGION}:{ACCOUNT}:agent/a")


def test_the_one_role_that_can_be_passed_is_passed_to_the_scheduler_only():
    for role in IN_THE_NETWORK:
        [passing] = [s for s in load("dev", role)["Statement"] if "iam:PassRole" in s["Action"]]
        assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}


@pytest.mark.parametrize("role", ROLES)
def test_prod_has_the_policies_of_dev_for_its_own_resources(role: str):
    """`python -m infra.deploy.policies prod` writes them."""
    text = policy_path(WRITTEN_FOR, role).read_text()
    assert policy_path("prod", role).read_text() == for_stage(text, "prod")
    assert "graft-dev" not in for_stage(text, "prod")
    assert json.loads(text)["Version"] == "2012-10-17"
