"""The functions that come with Graft, for examples and for trying a deployment out."""

from __future__ import annotations

import time
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.functions.registry import Context, function

Json = Any
#: Milliseconds; a Lambda function lives no longer.
MAX_SLEEP_MS = 900_000


@function("echo")
def echo(params: Json, ctx: Context) -> Json:
    """Return `params`."""
    return params


@function("sleep")
def sleep(params: Json, ctx: Context) -> Json:
    """Wait `ms` milliseconds, then return `params`. Raises TaskError `Timeout` when the deadline comes first."""
    wait_ms = _number(_object(params), "ms", MAX_SLEEP_MS)
    left_ms = wait_ms if ctx.deadline is None else ctx.deadline - time.time() * 1000
    time.sleep(max(0.0, min(wait_ms, left_ms)) / 1000)
    if left_ms < wait_ms:
        raise TaskError("Timeout", f"sleep: the deadline came before {wait_ms:g} ms were over")
    return params


@function("flaky")
def flaky(params: Json, ctx: Context) -> Json:
    """Fail the first `failures` attempts with error type `type` and `retryable`, then return `params`."""
    options = _object(params)
    failures = _number(options, "failures", 1_000_000)
    kind, retryable = options.get("type", "TaskFailed"), options.get("retryable", True)
    if not isinstance(kind, str) or not isinstance(retryable, bool):
        raise _refused("/type must be a text and /retryable true or false")
    if ctx.attempt <= failures:
        raise TaskError(kind, f"flaky: attempt {ctx.attempt} of {failures:g} that fail", retryable)
    return params


@function("send_email")
def send_email(params: Json, ctx: Context) -> Json:
    """Log the mail it would send, and return `{to, subject, logged}`; no mail leaves."""
    mail = _object(params)
    to, subject, body = mail.get("to"), mail.get("subject", ""), mail.get("body", "")
    ctx.log.info("send_email would send to=%s subject=%s body=%s", to, subject, body)
    return {"to": to, "subject": subject, "logged": True}


def _object(params: Json) -> dict[str, Json]:
    if not isinstance(params, dict):
        raise _refused("must be an object")
    return params


def _number(options: dict[str, Json], name: str, most: int) -> float:
    value = options.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise _refused(f"/{name} must be a number from 0 to {most}")
    return value


def _refused(rule: str) -> TaskError:
    return TaskError("TaskFailed", f"/config/params{'' if rule.startswith('/') else ' '}{rule}", retryable=False)
