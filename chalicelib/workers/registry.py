"""Says which worker does the tasks of each node type."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.engine.task import Worker
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

    def http_client(self) -> HttpClient:
        """A guarded client. Raises ConfigurationError for a malformed allowlist entry."""
        return HttpClient(AddressGuard(self.http_allowlist))


#: Task type -> maker of its worker.
WORKERS: Mapping[str, Callable[[WorkerParts], Worker]] = {
    "function": lambda parts: FunctionWorker(AllowedLambdas(parts.lambda_allowlist, parts.lambda_invoker)),
    "http": lambda parts: HttpWorker(parts.http_client()),
    "transform": lambda parts: TransformWorker(HttpWorker(parts.http_client()), parts.fetch or _no_artifacts),
}


def _no_artifacts(ref: str) -> Json:
    raise TaskError("PipelineError", "artifacts cannot be read here", retryable=False)


def build_workers(parts: WorkerParts) -> dict[str, Worker]:
    """One worker per task type. Raises ConfigurationError for a malformed allowlist entry."""
    return {task_type: make(parts) for task_type, make in WORKERS.items()}
