"""Works `transform` tasks: pipelines that make requests, which the coordinator cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.engine.task import Task
from chalicelib.workers.http import DEFAULT_SECONDS, HttpWorker

Json = Any
#: Seconds for all requests of a pipeline whose task has no deadline: less than a worker's Lambda has.
PIPELINE_SECONDS = 240.0


class TransformWorker:
    """Runs pipelines with the guarded client. `fetch` reads an artifact as JSON."""

    def __init__(self, requests: HttpWorker, fetch: Callable[[str], Json]) -> None:
        self._requests = requests
        self._fetch = fetch

    def run(self, task: Task) -> Json:
        """The last step's table. Raises TaskError: `PipelineError`, and `HttpError` of a request."""
        # Loaded with the first pipeline: its schemas would double the cold start of every other process.
        from chalicelib.domain.pipeline import run_pipeline  # noqa: PLC0415

        config = task.config
        if not isinstance(config, dict) or "pipeline" not in config:
            raise TaskError("PipelineError", "/config has no pipeline", retryable=False)
        start = task.clock.now_ms()
        end = start + round(PIPELINE_SECONDS * 1000) if task.deadline is None else task.deadline

        def http(request: dict[str, Json]) -> Json:
            left = (end - task.clock.now_ms()) / 1000
            if left <= 0:
                raise TaskError("HttpError", "no time is left for this request", retryable=True)
            seconds = left if task.deadline is not None else min(left, DEFAULT_SECONDS)
            return self._requests.request(request, task.vault, seconds)

        return run_pipeline(config["pipeline"], config.get("data"), http=http, fetch=self._fetch)
