"""Child runs of `workflow` nodes: their ids, what they are called with, and what their ends mean to the node."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.commit import Emit, compact
from chalicelib.domain.errors import TaskError
from chalicelib.domain.ids import Job, Token, parse_token
from chalicelib.domain.input_schema import input_problems
from chalicelib.domain.ir import Node, Plan
from chalicelib.domain.journal import Item
from chalicelib.domain.node_kinds import node_at
from chalicelib.domain.outcome import Outcome
from chalicelib.domain.usage import run_metadata

Json = Any
#: The node type that calls a child run.
CALL = "workflow"
#: Places named where an input does not fit.
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Called:
    """The version that a call reached, and the bounds of the call."""

    name: str
    version: int
    #: Hash of its plan.
    plan: str
    #: Its input_schema; None without one.
    schema: Json
    #: Levels of child runs that may still be below the calling run.
    left: int
    #: Bytes that the input may have.
    max_bytes: int


def child_run_id(job: Job) -> str:
    """The run id of the child of a waiting call: the same however often it is asked for, another for each attempt.

    A fork shows what the run it comes from has called, so the run is no part of it; the commit's nonce is.
    """
    digest = hashlib.sha256(f"child\0{job.token}\0{job.no}\0{job.commit}".encode()).hexdigest()
    return f"r{digest[:24]}"


def call_emit(called: Called, token: Token, value: Json) -> Emit:
    """The token that waits for the child; what it holds fixes the child. Raises TaskError where none may start."""
    if called.left < 1:
        text = "Child runs are inside one another as deep as limits.child_depth allows: does a workflow call itself?"
        raise TaskError("LimitExceeded", text, retryable=False)
    size = len(compact(value))
    if size > called.max_bytes:
        text = f"The child's input has {size} bytes; {called.max_bytes} are allowed."
        raise TaskError("LimitExceeded", text, retryable=False)
    problems = () if called.schema is None else input_problems(called.schema, value)
    if problems:
        places = " ".join(f"{problem.path}: {problem.message}" for problem in problems[:SHOWN])
        text = f"The input does not fit the input_schema of {called.name}@{called.version}. {places}"
        raise TaskError("InvalidInput", text, retryable=False)
    data = {"workflow": called.name, "version": called.version, "plan": called.plan, "left": called.left - 1}
    return Emit(token, "h", {**data, "input": value})


def passes_on(node: Node) -> bool:
    """Whether the node gives its child what reached it, since it says nothing of an input."""
    return node.type == CALL and "input" not in node.config.value


def parent_text(job: Job) -> str:
    """The waiting call as its child's meta keeps it."""
    return compact([job.run_id, job.token, job.no, job.commit, job.gen, job.rev, job.graph])


def parent_job(text: str) -> Job:
    """The waiting call of a child's meta."""
    return Job(*json.loads(text))


def parent_view(meta: Mapping[str, str | None]) -> dict[str, str] | None:
    """A run's `parent` as it is shown; None for a run that nobody called."""
    text = meta.get("parent")
    if not text:
        return None
    job = parent_job(text)
    return {"run_id": job.run_id, "node_id": parse_token(job.token).node}


def outcome_of(child: str, end: Item) -> Outcome:
    """What the child's end, its last commit, means to the node that called it."""
    meta, metadata = end.body["meta"], run_metadata(*end.used)
    status = meta["status"]
    if status == "COMPLETED":
        ref = meta.get("output_ref")
        output = None if ref else json.loads(meta.get("output") or "null")
        return Outcome(output, ref, metadata=metadata)
    error = {"type": "Cancelled", "message": f"Child run {child} was cancelled.", "retryable": False}
    if status != "CANCELLED":
        raised = json.loads(meta.get("error") or "{}")
        error = {"type": raised.get("type") or "TaskFailed", "message": raised.get("message") or "", "retryable": True}
    return Outcome(error={**error, "child_run_id": child}, metadata=metadata)


def closed_calls(plan: Plan, item: Item) -> list[str]:
    """Tokens of calls that a commit settled or cancelled."""
    settled = item.body.get("settle")
    return calls(plan, [*(settled[:1] if settled else ()), *item.cancelled, *item.lost])


def calls(plan: Plan, texts: Iterable[str]) -> list[str]:
    """Those of the tokens that are calls which have begun to wait."""
    return [text for text in texts if not text.startswith("$") and _is_call(plan, parse_token(text))]


def _is_call(plan: Plan, token: Token) -> bool:
    return token.attempt > 0 and token.node in plan.nodes and node_at(plan, token).type == CALL


def has_calls(plan: Plan) -> bool:
    """Whether runs of the plan may have children."""
    return any(CALL in (node.type, node.body.type if node.body else "") for node in plan.nodes.values())
