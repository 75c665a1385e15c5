"""Works `function` tasks: a registered Python function, or an allowed Lambda function."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from chalicelib.domain.errors import TaskError, Unavailable
from chalicelib.engine.secret_refs import RedactingLog
from chalicelib.engine.task import Task
from chalicelib.engine.work_result import as_json
from chalicelib.functions import HANDLERS, Context
from chalicelib.functions.registry import Handler
from chalicelib.workers.lambda_invoke import AllowedLambdas

Json = Any


class FunctionWorker:
    """Runs the handler that a task's config names; registered functions come before Lambda functions."""

    def __init__(self, lambdas: AllowedLambdas | None = None, handlers: Mapping[str, Handler] = HANDLERS) -> None:
        self._lambdas = lambdas or AllowedLambdas()
        self._handlers = handlers

    def run(self, task: Task) -> Json:
        """What the handler returns, as JSON. Raises TaskError, or what the handler raises."""
        config = task.config
        if not isinstance(config, dict) or not isinstance(config.get("handler"), str):
            raise TaskError("TaskFailed", "/config/handler must name a function", retryable=False)
        return self.call(config["handler"], config.get("params", {}), task)

    def call(self, name: str, params: Json, task: Task) -> Json:
        """Call `name` as part of `task`. Raises TaskError, or what the handler raises."""
        if (handler := self._handlers.get(name)) is not None:
            return as_json(_called(handler, params, _context(name, task)))
        if name in self._lambdas:
            return as_json(self._lambdas.invoke(name, params, _context_json(task)))
        raise TaskError(
            "TaskFailed",
            f"/config/handler: no function {name!r} is registered in chalicelib/functions, and no Lambda function "
            "of that name is on the deployment's allowlist",
            retryable=False,
        )


def _called(handler: Handler, params: Json, context: Context) -> Json:
    try:
        return handler(params, context)
    except Unavailable as error:
        # Beyond this worker the class means that Graft's own stores are down, and that the task is to come again.
        raise TaskError("Unavailable", error.detail) from error


def _context(name: str, task: Task) -> Context:
    ids = {"run_id": task.run_id, "node_id": task.node_id, "job_id": task.job_id}
    return Context(
        **ids,
        attempt=task.attempt,
        iteration=task.iteration,
        index=task.index,
        deadline=task.deadline,
        log=RedactingLog(logging.getLogger(f"graft.function.{name}"), dict(ids), task.vault),
        send_heartbeat=task.beat,
        collect_patch=task.patch,
    )


def _context_json(task: Task) -> Json:
    names = ("run_id", "node_id", "job_id", "attempt", "iteration", "index", "deadline")
    return {name: getattr(task, name) for name in names}
