"""Calls the deployment's own HTTP API with the credential of one agent, for its one run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from chalicelib.domain.errors import ConfigurationError, TaskError
from chalicelib.engine.task import Task
from chalicelib.engine.work_result import as_json, canonical
from chalicelib.workers.address_guard import AddressGuard
from chalicelib.workers.agent.retry_after import retry_after_s
from chalicelib.workers.http_client import HttpClient, Request, Response
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


class GraftApi:
    """The routes of one run. `task.agent` is `{url, token}`: where the run is, and who asks."""

    def __init__(self, task: Task, pause: Callable[[float], None]) -> None:
        given = task.agent if isinstance(task.agent, dict) else {}
        if not isinstance(given.get("url"), str) or not isinstance(given.get("token"), str):
            raise TaskError("TaskFailed", "the task message carries no agent credential", retryable=False)
        if not given["url"].startswith(("http://", "https://")):
            text = "the deployment does not know its own address: set GRAFT_PUBLIC_URL where the coordinator runs"
            raise TaskError("TaskFailed", text, retryable=False)
        task.vault.hide_also(given["token"], "agent credential")
        self._base, self._token, self._task, self._pause = given["url"], given["token"], task, pause
        self._client = client_for(given["url"])

    def workflow(self) -> Json:
        """`{revision, workflow}`: the run's graph as it is now. Raises ApiRefused, TaskError."""
        response = self._call("GET", f"/runs/{quote(self._task.run_id, safe='')}/workflow", None, "")
        return {"revision": response.headers.get("etag", "").strip('W/"'), "workflow": _json(response)}

    def patch(self, body: dict[str, Json], key: str) -> Json:
        """The answer of SPEC 11; under the same `key` a repeat is harmless. Raises ApiRefused, TaskError."""
        return _json(self._call("POST", f"/runs/{quote(self._task.run_id, safe='')}/patch", body, key))

    def _call(self, method: str, path: str, body: Json, key: str) -> Response:
        # API Gateway with IAM in front leaves X-Graft-Token alone.
        headers = {"authorization": f"Bearer {self._token}", "accept": "application/json", "user-agent": "graft"}
        raw = None
        if body is not None:
            raw = canonical(as_json(body))
            headers |= {"content-type": "application/json", "idempotency-key": key}
        request = Request(method, parse_url(self._base + path, where="GRAFT_PUBLIC_URL"), headers, raw)
        last = ""
        for number in range(TRIES):
            wait: float | None = None
            try:
                response = self._client.send(request, CALL_SECONDS, lambda status: True)
                if response.status < 400:
                    return response
                if response.status != 429 and response.status < 500:
                    raise ApiRefused(response.status, _problem(response))
                last = f"status {response.status}"
                wait = retry_after_s(response.headers.get("retry-after"), self._task.clock.now_ms())
            except TaskError as error:
                last = error.message
            if number < TRIES - 1:
                self._pause(min(LONGEST_WAIT_S, 0.5 * 2**number if wait is None else wait))
        raise TaskError("ApiUnavailable", f"Graft's own API did not answer {method} {path}: {last}")


def client_for(url: str) -> HttpClient:
    """A client that reaches this URL's host and port although they may be private. Raises ConfigurationError."""
    try:
        parsed = parse_url(url)
    except TaskError as error:
        raise ConfigurationError(f"{url!r} is not a base URL: {error.message}.") from error
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    return HttpClient(AddressGuard((f"{host}:{parsed.port}",)))


def _json(response: Response) -> Json:
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
