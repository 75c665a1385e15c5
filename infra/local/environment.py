"""Decides the environment variables that a local stack's processes run under."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from infra.local.aws import ROOT
from infra.local.lambda_events import ACCOUNT
from infra.local.ports import HOST

STAGE = "local"
#: Unless the caller says otherwise. The pollers take partial failures as a mapping with ReportBatchItemFailures does.
_DEFAULTS = {
    "GRAFT_PARTIAL_BATCHES": "1",
    "GRAFT_SWEEP_MS": "1000",
    "GRAFT_SCHEDULER_GROUP": "graft-local",
    "GRAFT_SCHEDULER_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/graft-local-scheduler",
}
#: For a stand-in, which takes any credentials, but wants some.
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the stack's parts are; `aws_url` is empty where LOCALSTACK_HOST decides."""

    redis_url: str
    aws_url: str
    api_url: str
    #: Whether the AWS is this stack's own, and not one that was there before.
    own_aws: bool


def child_environment(caller: Mapping[str, str], endpoints: Endpoints, secret: str) -> dict[str, str]:
    """The caller's environment with the stack's own settings in it; other GRAFT_* settings pass through."""
    env = dict(caller)
    if endpoints.own_aws:
        env = {name: value for name, value in env.items() if not name.startswith(("AWS_", "LOCALSTACK_"))}
        env |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    env = {**_CREDENTIALS, **_DEFAULTS, **env}
    if endpoints.aws_url:
        env["AWS_ENDPOINT_URL"] = endpoints.aws_url
    env |= {
        "AWS_EC2_METADATA_DISABLED": "true",
        "GRAFT_STAGE": STAGE,
        "GRAFT_SIGNING_SECRET": secret,
        "GRAFT_PUBLIC_URL": endpoints.api_url,
        "REDIS_URL": endpoints.redis_url,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), caller.get("PYTHONPATH", "")])),
    }
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(filter(None, [caller.get(name, ""), HOST, "localhost"]))
    return env
