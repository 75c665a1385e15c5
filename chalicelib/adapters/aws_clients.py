"""Makes one AWS client per service, and turns AWS's failures to answer into `Unavailable`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from chalicelib.domain.errors import ConfigurationError, Unavailable

#: botocore makes its clients while running: they have no static type.
AwsClient = Any
#: Seconds. A coordinator's whole step has seconds, so a dead endpoint must show quickly.
CONNECT_TIMEOUT_S = 2
#: Seconds. Longer than a long poll of SQS (20 s), so that pollers can share the clients.
READ_TIMEOUT_S = 25
#: Calls in all, the first included.
ATTEMPTS = 3
#: Services whose requests botocore does not check before it sends them. That takes a third of a hop's calls, and the
#: contract tests check every shape that these adapters send.
_UNCHECKED = frozenset({"dynamodb", "sqs"})
#: Error codes below status 500 that mean "not now" rather than "not like this".
TRANSIENT_CODES = frozenset(
    {
        "InternalServerError",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)


class AwsSettings(Protocol):
    """The part of the deployment's settings that says where AWS is."""

    @property
    def aws_endpoint_url(self) -> str:
        """Where calls go instead of AWS; empty for AWS itself."""
        ...

    @property
    def localstack_host(self) -> str:
        """Host, or host:port, of a LocalStack; empty for none. It wins over the endpoint."""
        ...


#: What LocalStack documents; others may be refused where it checks signed links.
_LOCALSTACK_KEYS = ("test", "test")


class AwsClients:
    """One cached client per service. Threads may share it; nothing connects before the first call."""

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._clients: dict[str, AwsClient] = {}
        self._lock = threading.Lock()
        self._session: Any = None

    def client(self, service: str) -> AwsClient:
        """The client of `service` (`dynamodb`, `sqs`, `s3`, `scheduler`, …). Raises ConfigurationError."""
        found = self._clients.get(service)
        if found is not None:
            return found
        # Sessions are not safe to share while clients are being made from them.
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def _make(self, service: str) -> AwsClient:
        local = bool(self._settings.localstack_host or self._settings.aws_endpoint_url)
        options: dict[str, Any] = {"config": _config(service, local)}
        if self._session is None:
            self._session = _localstack(self._settings.localstack_host) if self._settings.localstack_host else Session()
        if self._settings.aws_endpoint_url and not self._settings.localstack_host:
            options["endpoint_url"] = self._settings.aws_endpoint_url
            options["region_name"] = self._session.region_name or "us-east-1"
        return self._session.client(service, **options)


def _localstack(host: str) -> Session:
    """A session that sends every call to the LocalStack at `host`."""
    try:
        # A tool of development: the deployed package does not hold it.
        from localstack_client.session import Session as LocalStackSession  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "LOCALSTACK_HOST is set but localstack-client is not installed; "
            "install it, or set AWS_ENDPOINT_URL to the LocalStack's URL instead."
        ) from None
    return LocalStackSession(*_LOCALSTACK_KEYS, localstack_host=host)


def _config(service: str, local: bool) -> Config:
    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        tcp_keepalive=True,
        max_pool_connections=16,
        parameter_validation=service not in _UNCHECKED,
        # S3's older signature, still the default for links in some regions, cannot bind a link to headers.
        signature_version="s3v4" if service == "s3" else None,
        # Stand-ins answer on one host name, so buckets go into the path there.
        s3={"addressing_style": "path" if local else "auto"},
        # Whole-body checksums are given where they matter; chunked trailers confuse stand-ins.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


@contextmanager
def answering(call: str) -> Iterator[None]:
    """Around one AWS call (`dynamodb.PutItem`, say): raises Unavailable when AWS did not answer or asked to wait.

    Every other error, such as a refused condition or a request that is wrong, passes through unchanged.
    """
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code not in TRANSIENT_CODES and status < 500 and status != 429:
            raise
        message = error.response.get("Error", {}).get("Message", "")
        raise Unavailable(f"{call} was refused for now with {code}: {message} Send the request again.") from error
    except (BotoConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise Unavailable(f"{call} got no answer: {error} Send the request again.") from error


def error_code(error: ClientError) -> str:
    """AWS's name of the error, without the namespace that some stand-ins put before it."""
    return str(error.response.get("Error", {}).get("Code", "")).rsplit("#", 1)[-1]
