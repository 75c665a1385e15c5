"""Checks the config of a task once its templates are filled: what they gave was not there when it compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from chalicelib.domain.errors import TaskError
from chalicelib.domain.node_config import ADAPTERS
from chalicelib.domain.problem_list import pointer

Json = Any


def check_config(config: Json, providers: Sequence[str]) -> None:
    """Raises TaskError `TaskFailed`, not retryable, naming the first thing that is wrong."""
    if not isinstance(config, dict) or config.get("provider") not in providers:
        raise _wrong("/provider", f"must be one of {', '.join(providers)}")
    if "task" not in config:
        raise _wrong("/task", "must say what to do")
    try:
        # A template may give a task that is no text.
        ADAPTERS["agent"].validate_python({**config, "task": "given"})
    except ValidationError as refused:
        first = refused.errors(include_url=False, include_input=False)[0]
        raise _wrong(pointer(*first["loc"]), first["msg"]) from None
    budget = config.get("budget") or {}
    for path, value in (("/max_turns", config.get("max_turns")), *((f"/budget/{k}", v) for k, v in budget.items())):
        if isinstance(value, str):
            raise _wrong(path, "must be a number")


def _wrong(path: str, rule: str) -> TaskError:
    return TaskError("TaskFailed", f"/config{path} {rule}", retryable=False)
