"""Keeps named texts that are written once in an S3 bucket, under `notes/`."""

from __future__ import annotations

from botocore.exceptions import ClientError

from chalicelib.adapters.aws_clients import AwsClient, answering, error_code
from chalicelib.domain.errors import Unavailable

_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
#: What a refused `If-None-Match: *` answers: there is an object, or another one is being written just now.
_THERE = frozenset({"PreconditionFailed", "412"})
_RACING = frozenset({"ConditionalRequestConflict", "409"})


class S3Notes:
    """Notes over one bucket."""

    def __init__(self, client: AwsClient, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def create(self, name: str, body: bytes) -> bytes | None:
        """Store `body` unless there is something; returns that, or None when stored. Raises Unavailable."""
        try:
            with answering("s3.PutObject"):
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=_key(name),
                    Body=body,
                    ContentType="application/json",
                    IfNoneMatch="*",
                )
        except ClientError as error:
            code = error_code(error)
            if code in _RACING:
                raise Unavailable(f"notes/{name} is being written by another process; try again.") from error
            if code not in _THERE:
                raise
            there = self.get(name)
            if there is None:
                raise Unavailable(f"notes/{name} was there, and is gone; try again.") from error
            return there
        return None

    def get(self, name: str) -> bytes | None:
        """What is stored, or None. Raises Unavailable."""
        try:
            with answering("s3.GetObject"):
                body: bytes = self._client.get_object(Bucket=self._bucket, Key=_key(name))["Body"].read()
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return None
            raise
        return body


def _key(name: str) -> str:
    return f"notes/{name}"
