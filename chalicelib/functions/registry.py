"""Registers Python functions under the names that `function` nodes call them by."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from chalicelib.domain.errors import ConfigurationError

Json = Any
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def _no_heartbeat() -> None:
    """The heartbeat where nobody listens, as in a unit test of a function."""


def _no_patch(operations: Sequence[Mapping[str, Json]], description: str) -> None:
    """The patch where nobody listens, as in a unit test of a function."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a function knows of the task it works on."""

    run_id: str
    node_id: str
    #: The same for every delivery of one attempt: use it as an idempotency key.
    job_id: str
    #: 1-based.
    attempt: int = 1
    #: Count of the innermost loop, 1-based.
    iteration: int = 1
    #: Position of the item inside a map, else None.
    index: int | None = None
    #: Milliseconds since the Unix epoch after which the result is of no use; None: no limit.
    deadline: int | None = None
    #: Knows the run, node and job; hides secret values.
    log: logging.LoggerAdapter[logging.Logger] = field(
        default_factory=lambda: logging.LoggerAdapter(logging.getLogger("graft.function"), {})
    )
    send_heartbeat: Callable[[], None] = field(default=_no_heartbeat, repr=False)
    collect_patch: Callable[[Sequence[Mapping[str, Json]], str], None] = field(default=_no_patch, repr=False)

    def heartbeat(self) -> None:
        """Say that the work is alive; needed more often than the node's `heartbeat_ms`."""
        self.send_heartbeat()

    def patch(self, operations: Sequence[Mapping[str, Json]], description: str) -> None:
        """Change the run's workflow together with this completion. Several calls add up; a failed task sends none.

        Raises TaskError when `operations` is no list of JSON objects or `description` no text.
        """
        self.collect_patch(operations, description)


Handler = Callable[[Json, Context], Json]
_HANDLERS: dict[str, Handler] = {}
#: Every registered function by name; read-only.
HANDLERS: Mapping[str, Handler] = MappingProxyType(_HANDLERS)


def function(name: str) -> Callable[[Handler], Handler]:
    """Register `def f(params, ctx)` as `name`; the decorated function stays what it was.

    Raises ConfigurationError for a malformed name, a name already taken, a coroutine, or other parameters.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no function name: use a letter or _, then up to 63 letters, digits, '_', '-' or '.', "
            'as in @function("score_order")'
        )

    def register(handler: Handler) -> Handler:
        _check(name, handler)
        if name in _HANDLERS:
            taken = f"{_HANDLERS[name].__module__}.{_HANDLERS[name].__qualname__}"
            raise ConfigurationError(f"function {name!r} is already registered by {taken}: choose another name")
        _HANDLERS[name] = handler
        return handler

    return register


def _check(name: str, handler: Handler) -> None:
    if inspect.iscoroutinefunction(handler):
        raise ConfigurationError(f"function {name!r} is a coroutine: register a plain def f(params, ctx)")
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError as error:
        raise ConfigurationError(f"function {name!r} must be callable as f(params, ctx): {error}") from error
