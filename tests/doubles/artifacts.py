"""Content-addressed values in memory."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs, urlsplit

from chalicelib.domain.errors import InvalidInput, NotFound
from tests.doubles.faults import Fault, effect, never

_PREFIX = "artifact://sha256/"


class MemoryArtifacts:
    """Artifacts over a dictionary. Its URLs are taken by `upload` and `download`."""

    def __init__(self, fault: Fault | None = None) -> None:
        self._fault = fault or never
        self._bodies: dict[str, bytes] = {}

    def put(self, body: bytes, content_type: str = "application/json") -> str:
        sha256 = hashlib.sha256(body).hexdigest()
        with effect(self._fault, "artifacts.put"):
            self._bodies[sha256] = bytes(body)
        return _PREFIX + sha256

    def get(self, ref: str) -> bytes:
        self._fault("artifacts.get")
        if not self._holds(ref):
            raise NotFound(f"There is no artifact {ref}.")
        return self._bodies[ref.removeprefix(_PREFIX)]

    def exists(self, ref: str) -> bool:
        self._fault("artifacts.exists")
        return self._holds(ref)

    def upload_url(self, sha256: str, size: int) -> str:
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise InvalidInput(f"{sha256!r} is not a SHA-256 in 64 lowercase hexadecimal digits.")
        return f"memory://artifacts/{sha256}?size={size}"

    def download_url(self, sha256: str) -> str:
        self._fault("artifacts.download_url")
        if sha256 not in self._bodies:
            raise NotFound(f"There is no artifact {_PREFIX}{sha256}.")
        return f"memory://artifacts/{sha256}"

    def upload(self, url: str, body: bytes) -> None:
        """What a client does with an upload URL; the wrong bytes are refused."""
        parts = urlsplit(url)
        sha256 = parts.path.removeprefix("/")
        assert len(body) == int(parse_qs(parts.query)["size"][0]), "the body's length is not the signed one"
        assert hashlib.sha256(body).hexdigest() == sha256, "the body's hash is not the signed one"
        self._bodies[sha256] = body

    def download(self, url: str) -> bytes:
        """What a client does with a download URL."""
        return self._bodies[urlsplit(url).path.removeprefix("/")]

    def _holds(self, ref: str) -> bool:
        return ref.startswith(_PREFIX) and ref.removeprefix(_PREFIX) in self._bodies
