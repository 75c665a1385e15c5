"""Speaks to the HTTP API: one call, one JSON answer, or a CliError that says what to do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from infra.cli.errors import SERVER_ERROR, USAGE, CliError

Json = Any

PREFIX = "/api/v1"
#: Seconds: to connect, and to wait for an answer; a long poll takes up to 25.
CONNECT_S, READ_S = 5.0, 40.0
#: Bytes of an answer that are read.
MAX_ANSWER = 64 << 20
#: Statuses that are the server's trouble and not the caller's.
_LATER = frozenset({429})


class Api:
    """The API at `url`, called with a bearer token."""

    def __init__(self, url: str, token: str, hint: str = "") -> None:
        self.url = url.rstrip("/").removesuffix(PREFIX)
        self._token = token
        #: What to do when nothing answers.
        self._hint = hint or "Check --url or GRAFT_URL."
        timeout = urllib3.Timeout(connect=CONNECT_S, read=READ_S)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False)

    def get(self, path: str, **query: Json) -> Json:
        """GET; query values of None are left out. Raises CliError."""
        return self._call("GET", path, None, query)

    def post(self, path: str, body: Json) -> Json:
        """POST, under an Idempotency-Key, so that a repeat after a broken connection is harmless. Raises CliError."""
        return self._call("POST", path, body, {})

    def put(self, path: str, body: Json) -> Json:
        """PUT. Raises CliError."""
        return self._call("PUT", path, body, {})

    def patch(self, path: str, body: Json, if_match: int | None = None) -> Json:
        """PATCH, repeated as POST is, and only of what `if_match` numbers, if that is given. Raises CliError."""
        return self._call("PATCH", path, body, {}, {} if if_match is None else {"If-Match": f'"{if_match}"'})

    def delete(self, path: str) -> Json:
        """DELETE; repeated after a broken connection it may find nothing any more. Raises CliError."""
        return self._call("DELETE", path, None, {})

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _call(
        self, method: str, path: str, body: Json, query: Mapping[str, Json], more: Mapping[str, str] | None = None
    ) -> Json:
        given = {name: value for name, value in query.items() if value is not None}
        url = f"{self.url}{PREFIX}{path}" + (f"?{urlencode(given)}" if given else "")
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json", **(more or {})}
        data = None
        if method not in ("GET", "DELETE"):
            headers |= {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
            data = json.dumps(body).encode()
        status, text = self._send(method, url, data, headers)
        answer = _parse(status, text)
        if 200 <= status < 300:
            return answer
        raise _refused(status, answer)

    def _send(self, method: str, url: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        for last in (False, True):
            try:
                answer = self._pool.request(
                    method, url, body=data, headers=headers, redirect=False, preload_content=False
                )
                try:
                    return answer.status, _read(answer)
                finally:
                    answer.release_conn()
            except urllib3.exceptions.ProtocolError as error:
                if last:
                    raise self._silent(error) from None
            except (urllib3.exceptions.HTTPError, ValueError) as error:
                raise self._silent(error) from None
        raise AssertionError("the loop returns or raises")

    def _silent(self, error: Exception) -> CliError:
        reason: BaseException = error
        while reason.__cause__ is not None or reason.__context__ is not None:
            reason = reason.__cause__ or reason.__context__ or reason
        said = getattr(reason, "strerror", None) or reason
        return CliError(f"{self.url} does not answer ({said}). {self._hint}", SERVER_ERROR)


def segment(text: str) -> str:
    """A name or id as one segment of a path."""
    return quote(text, safe="")


def _read(answer: urllib3.BaseHTTPResponse) -> bytes:
    body = answer.read(MAX_ANSWER + 1)
    if len(body) > MAX_ANSWER:
        raise ValueError(f"an answer of more than {MAX_ANSWER} bytes")
    return body


def _parse(status: int, text: bytes) -> Json:
    try:
        return json.loads(text) if text else None
    except ValueError:
        if 200 <= status < 300:
            raise CliError("The answer is not JSON; is this the address of a Graft API?", SERVER_ERROR) from None
        return None


def _refused(status: int, answer: Json) -> CliError:
    problem = answer if isinstance(answer, dict) else {}
    said = problem.get("detail") or problem.get("title") or problem.get("message") or problem.get("Message")
    message = str(said or f"The server answered with status {status}.")
    if status == 401:
        message += " Pass --token or GRAFT_TOKEN; `graft token create` makes one."
    found = problem.get("errors")
    problems = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    code = SERVER_ERROR if status >= 500 or status < 400 or status in _LATER else USAGE
    return CliError(message, code, problems=problems, status=status)
