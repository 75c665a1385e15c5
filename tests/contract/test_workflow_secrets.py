"""The secrets that workflows name, read from Secrets Manager and from the Parameter Store, tenant by tenant."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from chalicelib.adapters.aws_clients import AwsClients
from chalicelib.adapters.secrets import KEPT_MS, WorkflowSecrets
from chalicelib.config import Settings
from chalicelib.domain.errors import ConfigurationError, NotFound, Unavailable
from chalicelib.engine.work import work
from chalicelib.workers.function import FunctionWorker
from tests.doubles.clock import ManualClock
from tests.workers.doubles import MemoryArtifacts, message
from tests.workers.doubles import ports as memory_ports

REGION = "eu-central-1"
BACKENDS = ("secretsmanager", "ssm")
BASE = {"GRAFT_STAGE": "dev", "REDIS_URL": "redis://x", "GRAFT_SIGNING_SECRET": "s" * 32}


class Place:
    aws_endpoint_url = ""
    localstack_host = ""


@pytest.fixture(autouse=True)
def aws(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "LOCALSTACK_HOST"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        yield


def put(backend, name, value):
    if backend == "ssm":
        client = boto3.client("ssm", REGION)
        client.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
        return
    client = boto3.client("secretsmanager", REGION)
    try:
        client.create_secret(Name=name, SecretString=value)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=name, SecretString=value)


def opened(backend, clock=None):
    settings = Settings.from_environment({**BASE, "GRAFT_SECRETS": backend})
    clients = AwsClients(Place())
    found = WorkflowSecrets(clients, settings.secrets_backend, settings.secrets_prefix, clock or ManualClock())
    return found, settings.secrets_prefix, clients


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_tenant_has_its_own_secrets(backend):
    secrets, prefix, _ = opened(backend)
    put(backend, f"{prefix}acme/KEY", "of acme")
    put(backend, f"{prefix}other/KEY", '{"user": "o"}')
    put(backend, f"{prefix}other/MINE", "of other")
    assert secrets.of("acme")("KEY") == "of acme"
    assert secrets.of("other")("KEY") == '{"user": "o"}'
    with pytest.raises(NotFound):
        secrets.of("acme")("MINE")
    for name in ("../other/MINE", "/other/MINE", "x/../../other/MINE"):
        with pytest.raises((NotFound, ClientError)):
            secrets.of("acme")(name)
    for tenant in ("", "acme/x", "/"):
        with pytest.raises(NotFound):
            secrets.of(tenant)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_value_is_kept_for_a_minute_and_a_rotated_one_is_seen_after_it(backend):
    clock = ManualClock()
    secrets, prefix, _ = opened(backend, clock)
    put(backend, f"{prefix}acme/KEY", "old")
    assert secrets.of("acme")("KEY") == "old"
    put(backend, f"{prefix}acme/KEY", "new")
    clock.advance(KEPT_MS - 1)
    assert secrets.of("acme")("KEY") == "old"
    clock.advance(1)
    assert secrets.of("acme")("KEY") == "new"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_secret_that_is_missing_is_asked_for_again_when_it_is_there(backend):
    secrets, prefix, _ = opened(backend)
    with pytest.raises(NotFound):
        secrets.of("acme")("KEY")
    put(backend, f"{prefix}acme/KEY", "now")
    assert secrets.of("acme")("KEY") == "now"


def test_a_secret_without_text_fails_the_node_for_good():
    secrets, prefix, _ = opened("secretsmanager")
    boto3.client("secretsmanager", REGION).create_secret(Name=f"{prefix}acme/KEY", SecretBinary=b"\x00")
    signal = work(message("echo", "${secret.KEY}"), {"function": FunctionWorker()}, ports(secrets))
    assert signal["error"] == {
        "type": "SecretUnavailable",
        "message": "secret 'KEY' at /config/params is no text",
        "retryable": False,
    }


def ports(secrets):
    made = memory_ports(artifacts=MemoryArtifacts())
    return type(made)(made.clock, made.artifacts, secrets.of)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_store_that_does_not_answer_makes_the_task_come_again(backend):
    secrets, _, clients = opened(backend)
    client = clients.client(backend)

    def refuse(**_):
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow"}}, "x")

    client.get_secret_value = client.get_parameter = refuse
    with pytest.raises(Unavailable):
        work(message("echo", "${secret.KEY}"), {"function": FunctionWorker()}, ports(secrets))


def test_a_task_of_one_tenant_never_gets_the_secret_of_another():
    secrets, prefix, _ = opened("secretsmanager")
    put("secretsmanager", f"{prefix}other/KEY", "of other")
    for tenant in ("acme", None):
        task = message("echo", "${secret.KEY}", tenant=tenant)
        signal = work(task, {"function": FunctionWorker()}, ports(secrets))
        assert signal["error"]["type"] == "SecretUnavailable"
        assert "of other" not in str(signal)
    signal = work(message("echo", "${secret.KEY}", tenant="other"), {"function": FunctionWorker()}, ports(secrets))
    assert signal["result"] == "[secret KEY]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("secretsmanager", "graft-dev/")),
        ("secretsmanager", ("secretsmanager", "graft-dev/")),
        ("ssm", ("ssm", "/graft-dev/")),
        ("ssm:/shop/secrets/", ("ssm", "/shop/secrets/")),
        ("secretsmanager:shop/", ("secretsmanager", "shop/")),
        ("none", ("", "")),
    ],
)
def test_the_setting_names_backend_and_prefix(text, expected):
    settings = Settings.from_environment({**BASE, "GRAFT_SECRETS": text})
    assert (settings.secrets_backend, settings.secrets_prefix) == expected


@pytest.mark.parametrize("text", ["vault", "ssm:shop/", "ssm:/shop", "secretsmanager:shop", "none:x"])
def test_a_wrong_setting_stops_the_process_from_starting(text):
    with pytest.raises(ConfigurationError, match="GRAFT_SECRETS"):
        Settings.from_environment({**BASE, "GRAFT_SECRETS": text})
