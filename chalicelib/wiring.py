"""The only place where ports meet adapters; built once per warm process."""

from __future__ import annotations

import threading
import time
from functools import cache, partial
from typing import Any

from chalicelib.adapters.aws_clients import AwsClients
from chalicelib.adapters.clock import RandomIds, SystemClock
from chalicelib.adapters.dynamodb import DynamoJournal
from chalicelib.adapters.dynamodb_directory import DynamoDirectory
from chalicelib.adapters.lambda_invoker import BotoLambdaInvoker
from chalicelib.adapters.redis.store import RedisRunStore, connect
from chalicelib.adapters.s3 import S3Artifacts
from chalicelib.adapters.s3_notes import S3Notes
from chalicelib.adapters.scheduler import EventBridgeSchedules
from chalicelib.adapters.secrets import WorkflowSecrets, secret_text, signing_secret
from chalicelib.adapters.sqs import SqsQueues
from chalicelib.config import Settings
from chalicelib.domain.commit import compact
from chalicelib.engine.credentials import issue_callback_token
from chalicelib.engine.plans import PlanStore
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.services import Services
from chalicelib.engine.step import Coordinator
from chalicelib.engine.task import Worker
from chalicelib.engine.transforms import stored_json
from chalicelib.engine.work import WorkPorts
from chalicelib.functions import HANDLERS
from chalicelib.workers.function import FunctionWorker
from chalicelib.workers.http import HttpWorker
from chalicelib.workers.registry import WorkerParts, build_workers
from chalicelib.workers.task_check import is_wanted

Json = Any
#: What each thread has for itself.
_own = threading.local()


@cache
def settings() -> Settings:
    """The deployment's settings. Raises ConfigurationError."""
    return Settings.from_environment()


@cache
def aws() -> AwsClients:
    """One client per AWS service."""
    return AwsClients(settings())


@cache
def queues() -> SqsQueues:
    """The deployment's queues."""
    return SqsQueues(aws().client("sqs"), settings().queue_prefix, urls=settings().queue_allowlist)


@cache
def artifacts() -> S3Artifacts:
    """The deployment's artifacts."""
    return S3Artifacts(aws().client("s3"), settings().bucket)


@cache
def services() -> Services:
    """All that the coordinator and the API need. Raises ConfigurationError, Unavailable."""
    config = settings()
    secret = config.signing_secret.encode() or signing_secret(aws(), config.signing_secret_arn)
    store = RedisRunStore(connect(config.redis_url, cluster=config.redis_cluster))
    dynamodb = aws().client("dynamodb")
    directory = DynamoDirectory(dynamodb, config.table)
    return Services(
        stage=config.stage,
        secret=secret,
        public_url=config.public_url,
        limits=config.limits,
        clock=SystemClock(),
        ids=RandomIds(),
        journal=DynamoJournal(dynamodb, config.table),
        directory=directory,
        queues=queues(),
        artifacts=artifacts(),
        schedules=EventBridgeSchedules(
            aws().client("scheduler"), queues().arn, config.scheduler_role_arn, config.scheduler_group
        ),
        store=store,
        plans=PlanStore(artifacts(), directory, store),
        callback_token=partial(issue_callback_token, secret),
        has_handler=has_handler,
        has_queue=config.queue_allowlist.__contains__,
        pause=time.sleep,
    )


def has_handler(name: str) -> bool:
    """Whether a function node may name this handler: a registered function, or a Lambda function on the allowlist."""
    return name in HANDLERS or name in settings().lambda_allowlist


def coordinator() -> Coordinator:
    """This thread's coordinator, with its caches: one works one batch at a time. On Lambda there is one thread."""
    found: Coordinator | None = getattr(_own, "coordinator", None)
    if found is None:
        found = _own.coordinator = Coordinator(services())
    return found


@cache
def workers() -> dict[str, Worker]:
    """One worker per task type. They need neither Redis nor the table (DESIGN 1)."""
    config = settings()
    invoker = BotoLambdaInvoker(aws().client("lambda")) if config.lambda_allowlist else None
    stored = partial(stored_json, artifacts=artifacts())
    return build_workers(WorkerParts(config.http_allowlist, config.lambda_allowlist, invoker, stored, _agents))


def _agents(http: HttpWorker, functions: FunctionWorker) -> Worker:
    # Agents bring schemas, pipelines and models' clients: nobody else's cold start is to wait for them.
    from chalicelib.domain.pipeline import run_pipeline  # noqa: PLC0415
    from chalicelib.workers.agent.build import AgentSettings, agent_worker  # noqa: PLC0415

    config = settings()
    return agent_worker(
        AgentSettings(
            artifacts=artifacts(),
            notes=S3Notes(aws().client("s3"), config.bucket),
            clock=SystemClock(),
            pause=time.sleep,
            openai_base_url=config.openai_base_url,
            openai_key=_openai_key,
            bedrock_region=config.bedrock_region,
            bedrock_endpoint_url=config.bedrock_endpoint_url,
            bedrock_credentials=(
                config.bedrock_access_key_id,
                config.bedrock_secret_access_key,
                config.bedrock_session_token,
            ),
            prices=config.model_prices,
            pipeline=run_pipeline,
        ),
        http,
        functions,
    )


@cache
def _openai_key() -> str:
    """The key itself, or what the secret holds. Raises Unavailable."""
    config = settings()
    if config.openai_api_key or not config.openai_api_key_secret:
        return config.openai_api_key
    return secret_text(aws(), config.openai_api_key_secret).strip()


@cache
def work_ports() -> WorkPorts:
    """What working a task asks of the world."""
    config, clock = settings(), SystemClock()
    found = (
        WorkflowSecrets(aws(), config.secrets_backend, config.secrets_prefix, clock) if config.secrets_backend else None
    )
    wanted = partial(is_wanted, clock=clock, pause=time.sleep)
    secrets = None if found is None else found.of
    return WorkPorts(clock, artifacts(), secrets, _heartbeat, _progress, wanted=wanted)


def _progress(signal: Json) -> None:
    """Tell the coordinator what happens while a task is worked. Raises Unavailable."""
    queues().send([Outgoing("completion-signals", compact(signal))])


def _heartbeat(message: Json) -> None:
    """Say that the work on a task message is alive."""
    beat = {"version": "1.0", "kind": "heartbeat", "job_id": message["job_id"]}
    queues().send([Outgoing("completion-signals", compact(beat))])
