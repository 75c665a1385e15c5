"""Task messages: built from plan, values and the creating commit alone, so that every send of a job is byte-equal."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.domain.ids import UNDO, Job, job_id, parse_token
from chalicelib.domain.ir import Node, Template
from chalicelib.domain.journal import timestamp
from chalicelib.domain.templates import render
from chalicelib.engine.agent_tasks import AGENT, agent_part
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.services import Services

Json = Any
#: Bytes of resolved config that a message carries inline; larger ones go by reference.
CONFIG_BYTES = 128 * 1024
#: How long a callback is valid where the node has no timeout.
CALLBACK_MS = 14 * 24 * 3600 * 1000
_SECRET = re.compile(r"\$\{secret\.[A-Za-z_][A-Za-z0-9_-]*\}")


def resolved(node: Node, values: dict[str, Json]) -> dict[str, Json]:
    """The node's config with its templates filled. Raises TemplateError naming pointer and expression."""
    config: dict[str, Json] = render(node.config, values, "/config")
    return config


def task_message(
    services: Services, node: Node, job: Job, at_ms: int, values: dict[str, Json], tenant: str = ""
) -> Outgoing:
    """The message of SPEC 7 for one attempt that began at `at_ms`; `tenant` is the run's, where the config has secrets.

    Raises TemplateError, Unavailable.
    """
    token = parse_token(job.token)
    config = resolved(node, values)
    text = compact(config)
    signed = job_id(job, services.secret)
    deadline = None if node.timeout_ms is None else at_ms + node.timeout_ms
    callback = services.callback_token(signed, job.run_id, node.id, token.attempt, deadline or at_ms + CALLBACK_MS)
    message: dict[str, Json] = {
        "version": "1.0",
        "job_id": signed,
        "run_id": job.run_id,
        "node_id": node.id,
        "type": node.type,
        "attempt": token.attempt,
        "iteration": token.iteration,
        "loops": token.loops,
        "config": config,
        "deadline": None if deadline is None else timestamp(deadline),
        "callback": {"url": f"{services.public_url}/api/v1/tasks/{callback}", "token": callback},
        "trace": trace(job.run_id, signed),
    }
    message["secrets"] = secret_places(node.config)
    if message["secrets"]:
        message["tenant"] = tenant
    if node.type == AGENT:
        message["agent"] = agent_part(
            services, node, job, at_ms, deadline or at_ms + CALLBACK_MS, config, values, tenant
        )
    if node.check_before_start:
        message["check_before_start"] = True
    if token.index is not None:
        message["index"] = token.index
    if token.node.startswith(UNDO):
        message["compensation"] = True
    if len(text) > CONFIG_BYTES:
        message["config"] = {}
        message["config_ref"] = services.artifacts.put(text.encode())
    return Outgoing(node.queue, compact(message))


def secret_places(template: Template) -> list[str]:
    """JSON Pointers of the secret references that the workflow's author wrote: the worker resolves these and no other
    text that looks like one, so that data copied into a config cannot ask for a secret."""
    found: list[str] = []
    pending: list[tuple[str, Json]] = [("", template.value)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict):
            pending += [(f"{path}/{_escaped(key)}", item) for key, item in value.items()]
        elif isinstance(value, list):
            pending += [(f"{path}/{i}", item) for i, item in enumerate(value)]
        elif isinstance(value, str) and _SECRET.fullmatch(value):
            found.append(path)
    return sorted(found)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def trace(run_id: str, job: str) -> dict[str, str]:
    """W3C trace context, derived from the ids: one trace a run, one span a job."""
    run = hashlib.sha256(run_id.encode()).hexdigest()[:32]
    span = hashlib.sha256(job.encode()).hexdigest()[:16]
    return {"traceparent": f"00-{run}-{span}-01"}
