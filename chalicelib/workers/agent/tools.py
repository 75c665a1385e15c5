"""The tools that a model may call: what each takes, and what it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol

from chalicelib.domain.errors import NotFound, TaskError
from chalicelib.engine.ports import Artifacts
from chalicelib.engine.secret_refs import Vault
from chalicelib.engine.task import Task
from chalicelib.workers.agent.graft_api import GraftApi
from chalicelib.workers.function import FunctionWorker
from chalicelib.workers.http import HttpWorker
from chalicelib.workers.own_api import ApiRefused

Json = Any
#: Seconds of one http_request.
HTTP_SECONDS = 30.0
#: Methods that change nothing: a repeat needs no key.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class ToolFailed(Exception):
    """A call failed in a way that the model is told of."""

    def __init__(self, kind: str, message: str, errors: Json = None) -> None:
        super().__init__(message)
        self.kind, self.message, self.errors = kind, message, errors


class Pipeline(Protocol):
    """Runs the steps of SPEC 10 over rows, an artifact of rows, or tables by name. Raises TaskError."""

    def __call__(
        self, steps: Json, data: Json = None, *, http: Callable[[Json], Json], fetch: Callable[[str], Json]
    ) -> Json:
        """What the last step gives. `http` makes the request that an `http_request` step's config describes, `fetch`
        gives the JSON value of an artifact."""
        ...


@dataclass(frozen=True, slots=True)
class ToolParts:
    """What tools work with."""

    http: HttpWorker
    functions: FunctionWorker
    artifacts: Artifacts
    #: None: this deployment has no pipeline.
    pipeline: Pipeline | None = None


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one attempt."""

    task: Task
    api: GraftApi
    parts: ToolParts
    #: Functions that `call_function` may call.
    functions: Collection[str]

    def run(self, name: str, arguments: dict[str, Json], key: str) -> Json:
        """What the tool gives. `key` is the same whenever this call is repeated.

        Raises ToolFailed for the model; Unavailable, and TaskError `ApiUnavailable`, for the whole attempt.
        """
        try:
            return _RUN[name](self, arguments, key)
        except ApiRefused as refusal:
            raise ToolFailed(
                "Refused", str(refusal.problem.get("detail") or refusal), refusal.problem.get("errors") or None
            ) from refusal
        except TaskError as error:
            if error.type == "ApiUnavailable":
                raise
            raise ToolFailed(error.type, error.message) from error

    def get_workflow(self, arguments: dict[str, Json], key: str) -> Json:
        """The run's graph now."""
        return self.api.workflow()

    def patch_workflow(self, arguments: dict[str, Json], key: str) -> Json:
        """Change the run."""
        return self.api.patch(arguments, key)

    def http_request(self, arguments: dict[str, Json], key: str) -> Json:
        """One request, guarded as those of http nodes are."""
        headers = dict(arguments.get("headers") or {})
        if arguments.get("method", "GET").upper() not in _SAFE:
            # Last: what the model sends under this name would make a repeat another request.
            headers = {name: value for name, value in headers.items() if name.lower() != "idempotency-key"}
            headers["Idempotency-Key"] = key
        # A vault without secrets: text of a model is never filled with them.
        return self.parts.http.request({**arguments, "headers": headers}, Vault(None), self._seconds(HTTP_SECONDS))

    def call_function(self, arguments: dict[str, Json], key: str) -> Json:
        """A function that the node allows; its `ctx.job_id` is this call's key."""
        name = arguments["name"]
        if name not in self.functions:
            listed = ", ".join(sorted(self.functions)) or "none"
            raise ToolFailed("NotAllowed", f"This node may not call the function {name!r}; it may call: {listed}.")
        task = replace(self.task, job_id=key, patches=[], metadata={})
        try:
            result = self.parts.functions.call(name, arguments.get("params"), task)
        except TaskError:
            raise
        except Exception as error:
            raise ToolFailed(type(error).__name__, str(error) or type(error).__name__) from error
        if task.patches:
            raise ToolFailed("NotAllowed", f"{name} asked for a patch; agents patch by patch_workflow only.")
        return result

    def execute_pipeline(self, arguments: dict[str, Json], key: str) -> Json:
        """Steps over rows that are given, or that an artifact holds."""
        if self.parts.pipeline is None:
            raise ToolFailed("NotAvailable", "This deployment runs no pipelines.")
        data = arguments.get("artifact", arguments.get("data"))
        numbers = count(1)

        def http(config: Json) -> Json:
            return self.http_request(config, f"{key}-{next(numbers)}")

        return self.parts.pipeline(arguments["steps"], data, http=http, fetch=self._fetch)

    def _fetch(self, ref: str) -> Json:
        """An artifact's value. Its id is as good as that: it is the value's hash."""
        try:
            return json.loads(self.parts.artifacts.get(ref))
        except NotFound as error:
            raise ToolFailed("NotFound", error.detail) from error
        except (ValueError, RecursionError) as error:
            raise ToolFailed("NotJson", f"{ref} is not JSON.") from error

    def _seconds(self, most: float) -> float:
        task = self.task
        left = most if task.deadline is None else (task.deadline - task.clock.now_ms()) / 1000
        return max(0.001, min(most, left, task.time_left_s()))


_RUN: Mapping[str, Callable[[Toolbox, dict[str, Json], str], Json]] = {
    "get_workflow": Toolbox.get_workflow,
    "patch_workflow": Toolbox.patch_workflow,
    "http_request": Toolbox.http_request,
    "call_function": Toolbox.call_function,
    "execute_pipeline": Toolbox.execute_pipeline,
}
