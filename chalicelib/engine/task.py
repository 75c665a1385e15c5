"""One node attempt as a worker sees it, read from the task message of SPEC 7."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, cast

from chalicelib.domain.errors import BadSignal, Problem, TaskError
from chalicelib.domain.names import NAME_PATTERN
from chalicelib.engine.ports import Clock
from chalicelib.engine.secret_refs import Vault
from chalicelib.engine.work_result import as_json

Json = Any
VERSION = "1.0"
#: Characters of an id; what Graft sends is shorter.
_MAX_ID = 1024
_TENANT = re.compile(NAME_PATTERN)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class HandOn(Exception):
    """The process has too little time left for this task: its message is sent again, for another one to go on."""


def _time_enough() -> float:
    """The time left where nobody says."""
    return float("inf")


def _no_progress(key: str, events: Sequence[Mapping[str, Json]]) -> None:
    """The progress where nobody listens, as in a test of one worker."""


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt of one node, its config complete: artifact loaded, secrets filled in."""

    type: str
    run_id: str
    node_id: str
    #: The same for every delivery of this attempt.
    job_id: str
    #: 1-based.
    attempt: int
    #: Count of the innermost loop.
    iteration: int
    #: Position inside a map, else None.
    index: int | None
    #: Milliseconds since the Unix epoch, or None.
    deadline: int | None
    config: Json = field(repr=False)
    vault: Vault
    clock: Clock
    #: Says that the work is alive.
    beat: Callable[[], None] = field(repr=False)
    #: What a worker tells beside its result, such as `tokens_used`; sent with failures too.
    metadata: dict[str, Json] = field(default_factory=dict)
    #: Patches asked for so far: (operations, description).
    patches: list[tuple[list[Json], str]] = field(default_factory=list, repr=False)
    #: What an agent's message carries besides: its credential, and where its API is.
    agent: Json = field(default=None, repr=False)
    #: Seconds until the process that works this ends.
    time_left_s: Callable[[], float] = field(default=_time_enough, repr=False)
    #: Tells what happened, `(key, [{type, data}])`; each key counts once. Raises Unavailable.
    tell: Callable[[str, Sequence[Mapping[str, Json]]], None] = field(default=_no_progress, repr=False)

    def patch(self, operations: Sequence[Mapping[str, Json]], description: str) -> None:
        """Ask for a patch with this completion; several add up in order. Raises TaskError when malformed."""
        if not isinstance(operations, list | tuple) or not all(isinstance(op, dict) for op in operations):
            raise TaskError("TaskFailed", "patch: operations must be a list of JSON Patch objects", retryable=False)
        if not isinstance(description, str):
            raise TaskError("TaskFailed", "patch: description must be a text saying why", retryable=False)
        self.patches.append((as_json(operations), as_json(description)))

    def patch_json(self) -> Json:
        """All patches as the one that the signal carries, or None."""
        if not self.patches:
            return None
        descriptions = dict.fromkeys(text for _, text in self.patches if text)
        return {"operations": [op for ops, _ in self.patches for op in ops], "description": "; ".join(descriptions)}


class Worker(Protocol):
    """Does the work of one node type."""

    def run(self, task: Task) -> Json:
        """The node's output. Raises TaskError to fail the attempt; any other error fails it under its class name."""
        ...


def check_message(message: Json) -> dict[str, Json]:
    """`message` when it is a task message of version 1.0. Raises BadSignal naming every wrong member."""
    if not isinstance(message, dict):
        raise BadSignal("a task message must be a JSON object")
    if message.get("version") != VERSION:
        problem = Problem("unknown_version", "/version", f'only "{VERSION}" is understood')
        raise BadSignal(f"a task message of unknown version: only {VERSION!r} is understood", (problem,))
    problems = tuple(
        Problem("bad_member", f"/{name}", f"must be {rule}")
        for name, (rule, fits) in _MEMBERS.items()
        if not fits(message.get(name))
    )
    if problems:
        raise BadSignal("a task message is wrong at " + ", ".join(p.path for p in problems), problems)
    return message


def deadline_ms(value: Json) -> int | None:
    """A message's `deadline` as milliseconds since the Unix epoch. Raises ValueError, OverflowError."""
    if value is None or _is_count(value):
        return cast("int | None", value)
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError(value)
    return int(datetime.fromisoformat(value.upper()).timestamp() * 1000)


def _is_id(value: Json) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID


def _is_count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_moment(value: Json) -> bool:
    try:
        return value is None or deadline_ms(value) is not None
    except (ValueError, OverflowError):
        return False


def _is_tenant(value: Json) -> bool:
    return value is None or (isinstance(value, str) and _TENANT.fullmatch(value) is not None)


def _is_pointers(value: Json) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value))


_ID = ("a text that is not empty", _is_id)
_MAYBE_COUNT = ("a whole number or null", lambda v: v is None or _is_count(v))
_MEMBERS: dict[str, tuple[str, Callable[[Json], bool]]] = {
    "job_id": _ID,
    "run_id": _ID,
    "node_id": _ID,
    "type": _ID,
    "attempt": ("a whole number from 1", lambda v: _is_count(v) and v >= 1),
    "iteration": _MAYBE_COUNT,
    "index": _MAYBE_COUNT,
    "deadline": ("an RFC 3339 time, milliseconds since the Unix epoch, or null", _is_moment),
    "config_ref": ("an artifact id, or absent", lambda v: v is None or _is_id(v)),
    "tenant": ("a tenant's name, or absent", _is_tenant),
    "check_before_start": ("true, false, or absent", lambda v: v is None or isinstance(v, bool)),
    "secrets": ("a list of JSON Pointers into the config, or absent", _is_pointers),
}
