"""Keeps content-addressed values in an S3 bucket, under `cas/<sha256>`."""

from __future__ import annotations

import base64
import hashlib
import re

from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from chalicelib.adapters.aws_clients import AwsClient, answering, error_code
from chalicelib.domain.errors import InvalidInput, NotFound
from chalicelib.engine.ports import Json

#: Seconds that a presigned URL is valid.
URL_SECONDS = 900
#: Bytes. Above this a HEAD is cheaper than sending the value again.
LOOK_FIRST_FROM = 1_048_576
_PREFIX = "artifact://sha256/"
_HASH = re.compile("[0-9a-f]{64}")
_CHECKSUM = "x-amz-checksum-sha256"
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})


class S3Artifacts:
    """Artifacts over one bucket."""

    def __init__(self, client: AwsClient, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        client.meta.events.register("before-sign.s3.PutObject", _bind_checksum, unique_id="graft-bind-checksum")

    def put(self, body: bytes, content_type: str = "application/json") -> str:
        """Store `body`; returns its id. Raises Unavailable."""
        digest = hashlib.sha256(body)
        sha256 = digest.hexdigest()
        if len(body) > LOOK_FIRST_FROM and self._head(sha256):
            return _PREFIX + sha256
        with answering("s3.PutObject"):
            self._client.put_object(
                Bucket=self._bucket,
                Key=_key(sha256),
                Body=body,
                ContentType=content_type,
                ChecksumSHA256=base64.b64encode(digest.digest()).decode("ascii"),
            )
        return _PREFIX + sha256

    def get(self, ref: str) -> bytes:
        """The bytes of `ref`, checked against it. Raises NotFound, Unavailable."""
        sha256 = _sha256_of(ref)
        try:
            with answering("s3.GetObject"):
                body: bytes = self._client.get_object(Bucket=self._bucket, Key=_key(sha256))["Body"].read()
        except ClientError as error:
            if error_code(error) in _ABSENT:
                raise NotFound(f"There is no artifact {ref}.") from error
            raise
        # An upload by URL is the one way in that this class does not control.
        if hashlib.sha256(body).hexdigest() != sha256:
            raise NotFound(f"What is stored as {ref} has another hash; upload the right bytes again.")
        return body

    def exists(self, ref: str) -> bool:
        """Whether the bucket holds this id. Raises Unavailable."""
        try:
            return self._head(_sha256_of(ref))
        except NotFound:
            return False

    def upload_url(self, sha256: str, size: int) -> str:
        """A presigned PUT, valid 15 minutes: S3 takes only a body of this length and hash. Raises InvalidInput."""
        if not _HASH.fullmatch(sha256):
            raise InvalidInput(f"{sha256!r} is not a SHA-256 in 64 lowercase hexadecimal digits.")
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode("ascii")
        return self._presign("put_object", sha256, ContentLength=size, ChecksumSHA256=checksum)

    def download_url(self, sha256: str) -> str:
        """A presigned GET, valid 15 minutes. Raises NotFound, Unavailable."""
        if not _HASH.fullmatch(sha256) or not self._head(sha256):
            raise NotFound(f"There is no artifact {_PREFIX}{sha256}.")
        return self._presign("get_object", sha256)

    def _presign(self, method: str, sha256: str, **more: Json) -> str:
        params = {"Bucket": self._bucket, "Key": _key(sha256), **more}
        url: str = self._client.generate_presigned_url(method, Params=params, ExpiresIn=URL_SECONDS)
        return url

    def _head(self, sha256: str) -> bool:
        try:
            with answering("s3.HeadObject"):
                self._client.head_object(Bucket=self._bucket, Key=_key(sha256))
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return False
            raise
        return True


def _key(sha256: str) -> str:
    return f"cas/{sha256}"


def _sha256_of(ref: str) -> str:
    """Raises NotFound for anything that is not an artifact id."""
    sha256 = ref.removeprefix(_PREFIX)
    if not ref.startswith(_PREFIX) or not _HASH.fullmatch(sha256):
        raise NotFound(f"{ref!r} is not an artifact id; ids look like {_PREFIX} and 64 hexadecimal digits.")
    return sha256


def _bind_checksum(request: AWSRequest, signature_version: str, **_: Json) -> None:
    """In a presigned PUT, move the checksum from a header, which every uploader would have to send, into the URL."""
    checksum = request.headers.get(_CHECKSUM)
    if checksum is None or not str(signature_version).endswith("-query"):
        return
    del request.headers[_CHECKSUM]
    request.params = {**(request.params or {}), _CHECKSUM: checksum}
