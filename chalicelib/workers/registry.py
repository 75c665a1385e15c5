"""Says which worker does the tasks of each node type."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.engine.task import Task, Worker
from chalicelib.workers.address_guard import AddressGuard
from chalicelib.workers.function import FunctionWorker
from chalicelib.workers.http import HttpWorker
from chalicelib.workers.http_client import HttpClient
from chalicelib.workers.lambda_invoke import AllowedLambdas, LambdaInvoker
from chalicelib.workers.transform import TransformWorker

Json = Any


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a deployment's settings give the workers."""

    #: CIDR blocks and `host:port` that http nodes may reach although they are not public.
    http_allowlist: Collection[str] = ()
    #: Names and ARNs of Lambda functions that function nodes may call.
    lambda_allowlist: Collection[str] = ()
    #: None: no Lambda function can be called.
    lambda_invoker: LambdaInvoker | None = None
    #: Artifact id -> its JSON value, for pipelines. None: no artifact can be read.
    fetch: Callable[[str], Json] | None = None
    #: Makes what agents work with, at the first agent task; None: no agent can be run.
    agents: Callable[[HttpWorker, FunctionWorker], Worker] | None = None

    def http_client(self) -> HttpClient:
        """A guarded client. Raises ConfigurationError for a malformed allowlist entry."""
        return HttpClient(AddressGuard(self.http_allowlist))

    def function_worker(self) -> FunctionWorker:
        """Runs registered functions, and the Lambda functions that are allowed."""
        return FunctionWorker(AllowedLambdas(self.lambda_allowlist, self.lambda_invoker))

    def agent_worker(self) -> Worker:
        """Runs agents. Their parts are loaded when the first one comes: most processes need none."""
        return _Late(lambda: _agents(self))


class _Late:
    """A worker that is made when its first task comes."""

    def __init__(self, make: Callable[[], Worker]) -> None:
        self._make, self._lock = make, Lock()
        self._worker: Worker | None = None

    def run(self, task: Task) -> Any:  # noqa: ANN401 - any JSON value
        """See Worker."""
        with self._lock:
            worker = self._worker = self._worker or self._make()
        return worker.run(task)


def _agents(parts: WorkerParts) -> Worker:
    if parts.agents is None:
        raise TaskError("TaskFailed", "no agents are run here", retryable=False)
    return parts.agents(HttpWorker(parts.http_client()), parts.function_worker())


#: Task type -> maker of its worker.
WORKERS: Mapping[str, Callable[[WorkerParts], Worker]] = {
    "function": WorkerParts.function_worker,
    "http": lambda parts: HttpWorker(parts.http_client()),
    "transform": lambda parts: TransformWorker(HttpWorker(parts.http_client()), parts.fetch or _no_artifacts),
    "agent": WorkerParts.agent_worker,
}


def _no_artifacts(ref: str) -> Json:
    raise TaskError("PipelineError", "artifacts cannot be read here", retryable=False)


def build_workers(parts: WorkerParts) -> dict[str, Worker]:
    """One worker per task type. Raises ConfigurationError for a malformed allowlist entry."""
    return {task_type: make(parts) for task_type, make in WORKERS.items()}
