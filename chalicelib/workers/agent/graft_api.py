"""What an agent asks of its run by HTTP, with the credential of its attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from chalicelib.domain.errors import TaskError
from chalicelib.engine.task import Task
from chalicelib.engine.work_result import as_json, canonical
from chalicelib.workers.http_client import HttpClient, Response
from chalicelib.workers.own_api import OwnApi, answered_json

Json = Any


class GraftApi:
    """The routes of one run. `task.agent` is `{url, token}`: where the run is, and who asks; `client` makes the client
    for that URL."""

    def __init__(self, task: Task, pause: Callable[[float], None], client: Callable[[str], HttpClient]) -> None:
        given = task.agent if isinstance(task.agent, dict) else {}
        if not isinstance(given.get("url"), str) or not isinstance(given.get("token"), str):
            raise TaskError("TaskFailed", "the task message carries no agent credential", retryable=False)
        self._api = OwnApi(given["url"], task.clock, pause, client)
        task.vault.hide_also(given["token"], "agent credential")
        self._token, self._task = given["token"], task

    def workflow(self) -> Json:
        """`{revision, workflow}`: the run's graph as it is now. Raises ApiRefused, TaskError."""
        response = self._call("GET", f"/runs/{quote(self._task.run_id, safe='')}/workflow", None, "")
        return {"revision": response.headers.get("etag", "").strip('W/"'), "workflow": answered_json(response)}

    def patch(self, body: dict[str, Json], key: str) -> Json:
        """The answer of SPEC 11; under the same `key` a repeat is harmless. Raises ApiRefused, TaskError."""
        return answered_json(self._call("POST", f"/runs/{quote(self._task.run_id, safe='')}/patch", body, key))

    def _call(self, method: str, path: str, body: Json, key: str) -> Response:
        # API Gateway with IAM in front leaves X-Graft-Token alone.
        headers = {"authorization": f"Bearer {self._token}"}
        if body is None:
            return self._api.call(method, path, path, headers)
        headers |= {"content-type": "application/json", "idempotency-key": key}
        return self._api.call(method, path, path, headers, canonical(as_json(body)))
