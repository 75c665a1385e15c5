"""Reads secrets: the deployment's own, and those that workflows name, one prefix for each tenant."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from botocore.exceptions import ClientError

from chalicelib.adapters.aws_clients import AwsClients, answering, error_code
from chalicelib.domain.errors import ConfigurationError, NotFound
from chalicelib.engine.ports import Clock

#: Bytes; a shorter HMAC key could be guessed.
MIN_BYTES = 32
#: Milliseconds that a value is used before it is asked for again: a rotated secret is seen within this time.
KEPT_MS = 60_000
#: Values kept by one process.
MAX_KEPT = 1_000
_MISSING = frozenset({"ResourceNotFoundException", "ParameterNotFound", "InvalidRequestException"})


def secret_text(clients: AwsClients, name: str) -> str:
    """The text of a secret, by its ARN or name. Raises Unavailable."""
    with answering("secretsmanager.GetSecretValue"):
        text: str = clients.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
    return text


def signing_secret(clients: AwsClients, arn: str) -> bytes:
    """The secret's text as bytes. Raises ConfigurationError when it is too short, Unavailable."""
    text = secret_text(clients, arn)
    if len(text) < MIN_BYTES:
        raise ConfigurationError(f"The secret {arn} has {len(text)} characters; it needs at least {MIN_BYTES}.")
    return text.encode()


class WorkflowSecrets:
    """The secrets of all tenants: `NAME` of a tenant is `<prefix><tenant>/NAME` in the backend.

    A tenant's name holds no `/`, so no name leads from one tenant's secrets to another's. Threads may share it.
    """

    def __init__(self, clients: AwsClients, backend: str, prefix: str, clock: Clock) -> None:
        self._read = {"secretsmanager": self._from_manager, "ssm": self._from_parameters}[backend]
        self._clients = clients
        self._prefix = prefix
        self._clock = clock
        #: Full name -> (value, when it was read).
        self._kept: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, tenant: str) -> Callable[[str], str]:
        """The tenant's secrets by name. The function raises NotFound, Unavailable, and AWS's refusals."""
        if not tenant or "/" in tenant:
            raise NotFound("No tenant is named so.")
        return partial(self._value, tenant)

    def _value(self, tenant: str, name: str) -> str:
        full, now = f"{self._prefix}{tenant}/{name}", self._clock.now_ms()
        with self._lock:
            found = self._kept.get(full)
        if found is not None and 0 <= now - found[1] < KEPT_MS:
            return found[0]
        value = self._read(full)
        with self._lock:
            self._kept[full] = (value, now)
            self._kept.move_to_end(full)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return value

    def _from_manager(self, name: str) -> str:
        try:
            with answering("secretsmanager.GetSecretValue"):
                answer = self._clients.client("secretsmanager").get_secret_value(SecretId=name)
        except ClientError as error:
            raise _refused(error) from error
        # A binary secret has no text: that is said by whoever asked.
        text: str = answer.get("SecretString")
        return text

    def _from_parameters(self, name: str) -> str:
        try:
            with answering("ssm.GetParameter"):
                answer = self._clients.client("ssm").get_parameter(Name=name, WithDecryption=True)
        except ClientError as error:
            raise _refused(error) from error
        text: str = answer["Parameter"]["Value"]
        return text


def _refused(error: ClientError) -> Exception:
    """A secret that is not there, or is to be deleted, as NotFound; other refusals as they are."""
    return NotFound("There is no such secret.") if error_code(error) in _MISSING else error
