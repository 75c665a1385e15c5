"""Calls Lambda functions through boto3."""

from __future__ import annotations

import json
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain.errors import TaskError

Json = Any
#: A boto3 Lambda client; boto3 has no types of its own.
Client = Any
#: Seconds; the longest that a Lambda function runs, and a little for the way.
_READ_TIMEOUT = 910
#: Errors of the service after which a later attempt may well succeed.
_PASSING = frozenset(
    {"TooManyRequestsException", "ServiceException", "EC2ThrottledException", "ResourceNotReadyException"}
)


def lambda_client(region: str | None = None, endpoint_url: str | None = None) -> Client:
    """A boto3 client that never calls twice on its own: retries are the workflow's to decide."""
    config = Config(read_timeout=_READ_TIMEOUT, retries={"total_max_attempts": 1}, tcp_keepalive=True)
    return boto3.client("lambda", region_name=region, endpoint_url=endpoint_url, config=config)


class BotoLambdaInvoker:
    """Calls a function synchronously and reads its JSON answer."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def invoke(self, name: str, payload: Json) -> Json:
        """The function's answer. Raises TaskError: under the function's own error type when it failed."""
        body = json.dumps(payload, ensure_ascii=False, allow_nan=False).encode()
        try:
            answer = self._client.invoke(FunctionName=name, InvocationType="RequestResponse", Payload=body)
            text = answer["Payload"].read()
        except ClientError as error:
            raise _service_error(name, error) from error
        except BotoCoreError as error:
            raise TaskError("TaskFailed", f"Lambda function {name}: {type(error).__name__}") from error
        value = _parse(name, text)
        if answer.get("FunctionError"):
            raise _function_error(name, value)
        return value


def _parse(name: str, text: bytes) -> Json:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        raise TaskError("TaskFailed", f"Lambda function {name} answered no JSON", retryable=False) from error


def _function_error(name: str, value: Json) -> TaskError:
    details = value if isinstance(value, dict) else {}
    kind, message = details.get("errorType"), details.get("errorMessage")
    return TaskError(str(kind or "TaskFailed"), f"Lambda function {name}: {message or 'failed without a message'}")


def _service_error(name: str, error: ClientError) -> TaskError:
    code = str(error.response.get("Error", {}).get("Code", "Unknown"))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    passing = code in _PASSING or "Throttl" in code or status >= 500
    return TaskError("TaskFailed", f"Lambda function {name} could not be called: {code}", retryable=passing)
