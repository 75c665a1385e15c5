"""Calls the deployment's own HTTP API, again while it is busy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from chalicelib.domain.errors import ConfigurationError, TaskError
from chalicelib.engine.ports import Clock
from chalicelib.workers.address_guard import AddressGuard
from chalicelib.workers.http_client import HttpClient, Request, Response
from chalicelib.workers.retry_after import retry_after_s
from chalicelib.workers.url import parse_url

Json = Any
#: Seconds of one call; API Gateway ends any after 29.
CALL_SECONDS = 30.0
#: Times a call is made while the API is busy, and the longest wait between two in seconds.
TRIES, LONGEST_WAIT_S = 5, 10.0


class ApiRefused(Exception):
    """The API refused the call: the status, and what its problem document says."""

    def __init__(self, status: int, problem: dict[str, Json]) -> None:
        super().__init__(problem.get("detail") or f"status {status}")
        self.status, self.problem = status, problem


def client_for(url: str) -> HttpClient:
    """A client that reaches this URL's host and port although they may be private. Raises ConfigurationError."""
    try:
        parsed = parse_url(url)
    except TaskError as error:
        raise ConfigurationError(f"{url!r} is not a base URL: {error.message}.") from error
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    return HttpClient(AddressGuard((f"{host}:{parsed.port}",)))


class OwnApi:
    """The API at `base`, a URL that begins with the deployment's own address. `pause` waits that many seconds."""

    def __init__(
        self,
        base: Json,
        clock: Clock,
        pause: Callable[[float], None],
        client: Callable[[str], HttpClient] = client_for,
    ) -> None:
        """Raises TaskError where the coordinator did not know the address."""
        if not isinstance(base, str) or not base.startswith(("http://", "https://")):
            text = "the deployment does not know its own address: set GRAFT_PUBLIC_URL where the coordinator runs"
            raise TaskError("TaskFailed", text, retryable=False)
        self._base, self._clock, self._pause = base, clock, pause
        self._client = client(base)

    def call(
        self, method: str, path: str, name: str, headers: dict[str, str], body: bytes | None = None, tries: int = TRIES
    ) -> Response:
        """The answer of success; `name` stands for the path in messages. Raises ApiRefused, TaskError."""
        sent = {"accept": "application/json", "user-agent": "graft", **headers}
        request = Request(method, parse_url(self._base + path, where="GRAFT_PUBLIC_URL"), sent, body)
        last = ""
        for number in range(tries):
            wait: float | None = None
            try:
                response = self._client.send(request, CALL_SECONDS, lambda status: True)
                if response.status < 400:
                    return response
                if response.status != 429 and response.status < 500:
                    raise ApiRefused(response.status, _problem(response))
                last = f"status {response.status}"
                wait = retry_after_s(response.headers.get("retry-after"), self._clock.now_ms())
            except TaskError as error:
                last = error.message
            if number < tries - 1:
                self._pause(min(LONGEST_WAIT_S, 0.5 * 2**number if wait is None else wait))
        raise TaskError("ApiUnavailable", f"Graft's own API did not answer {method} {name}: {last}")


def answered_json(response: Response) -> Json:
    """The answer's body. Raises TaskError where it is no JSON."""
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        raise TaskError("ApiUnavailable", "Graft's own API answered with something that is not JSON") from None


def _problem(response: Response) -> dict[str, Json]:
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"detail": f"status {response.status}"}
