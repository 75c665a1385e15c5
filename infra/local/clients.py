"""Makes boto3 clients that go where the settings say: a stand-in, a LocalStack, or AWS."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from chalicelib.config import Settings

#: A boto3 client; its methods are made at run time.
Client = Any

#: Loopback either answers at once or not at all.
_CONFIG = Config(connect_timeout=2, read_timeout=30, retries={"total_max_attempts": 3, "mode": "standard"})


def client(settings: Settings, service: str, *, connections: int = 10) -> Client:
    """A client of `service` with room for `connections` calls at a time."""
    url = endpoint(settings.localstack_host, settings.aws_endpoint_url)
    config = _CONFIG.merge(Config(max_pool_connections=connections))
    return boto3.client(service, endpoint_url=url, config=config)


def endpoint(localstack_host: str, aws_endpoint_url: str) -> str | None:
    """The URL where AWS calls go; None is AWS itself."""
    if aws_endpoint_url or not localstack_host:
        return aws_endpoint_url or None
    from localstack_client.config import get_service_endpoint  # noqa: PLC0415 - only where it is asked for

    # All services share one port; asking for one that the client knows keeps the others from going to AWS.
    return str(get_service_endpoint("sqs", localstack_host=localstack_host))
