"""Reads the deployment's signing secret from Secrets Manager."""

from __future__ import annotations

from chalicelib.adapters.aws_clients import AwsClients, answering
from chalicelib.domain.errors import ConfigurationError

#: Bytes; a shorter HMAC key could be guessed.
MIN_BYTES = 32


def signing_secret(clients: AwsClients, arn: str) -> bytes:
    """The secret's text as bytes. Raises ConfigurationError when it is too short, Unavailable."""
    with answering("secretsmanager.GetSecretValue"):
        text: str = clients.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    if len(text) < MIN_BYTES:
        raise ConfigurationError(f"The secret {arn} has {len(text)} characters; it needs at least {MIN_BYTES}.")
    return text.encode()
