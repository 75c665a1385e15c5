"""Reads from a Chalice app what is deployed: its queue handlers, its schedules, its routes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from chalice.app import Chalice, ScheduledEventConfig, ScheduleExpression, SQSEventConfig

from chalicelib.domain.errors import ConfigurationError
from infra.local.aws import ROOT

Handler = Callable[[dict[str, Any], Any], Any]


@dataclass(frozen=True, slots=True)
class QueueHandler:
    """A function that gets batches of a queue's messages."""

    name: str
    #: The queue's physical name.
    queue: str
    batch_size: int
    handler: Handler


@dataclass(frozen=True, slots=True)
class Schedule:
    """A function that is called now and then, by an expression such as `rate(1 minute)`."""

    name: str
    expression: str
    handler: Handler


def load(path: str) -> Chalice:
    """The app at `package.module:name`. Raises ConfigurationError when there is none."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    module, _, name = path.partition(":")
    found = getattr(import_module(module), name or "app", None)
    if not isinstance(found, Chalice):
        raise ConfigurationError(f"{path} is not a Chalice app: name it as package.module:app.")
    return found


def queue_handlers(app: Chalice) -> list[QueueHandler]:
    """Every `on_sqs_message` function, as Lambda's event source mappings would call it."""
    return [
        QueueHandler(
            name=source.name,
            queue=source.queue or str(source.queue_arn).rpartition(":")[2],
            batch_size=max(1, min(10, source.batch_size)),
            handler=app.handler_map[source.name],
        )
        for source in app.event_sources
        if isinstance(source, SQSEventConfig)
    ]


def schedules(app: Chalice) -> list[Schedule]:
    """Every `schedule` function with its expression."""
    return [
        Schedule(source.name, _expression(source.schedule_expression), app.handler_map[source.name])
        for source in app.event_sources
        if isinstance(source, ScheduledEventConfig)
    ]


def _expression(expression: str | ScheduleExpression) -> str:
    return expression if isinstance(expression, str) else str(expression.to_string())


def serve_many(app: Chalice) -> Chalice:
    """Make the app's current request a matter of the thread: one Lambda serves one request, a local server many."""
    kept = threading.local()

    def held(name: str) -> property:
        return property(lambda _: getattr(kept, name, None), lambda _, value: setattr(kept, name, value))

    members = {"current_request": held("request"), "lambda_context": held("context")}
    app.__class__ = type("ThreadedApp", (app.__class__,), members)
    return app
