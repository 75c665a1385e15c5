"""The config of each node type, as pydantic models."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, WithJsonSchema, WrapValidator
from pydantic_core import PydanticCustomError

from chalicelib.domain.agent_config import AgentConfig
from chalicelib.domain.call_config import Reference, WorkflowConfig
from chalicelib.domain.schema import Name, Part

Json = Any

#: A year and a day: no wait is longer.
MAX_WAIT_S = 366 * 24 * 3600
#: As the http worker reads it.
_STATUS = re.compile(r"[1-5](xx|[0-9]{2})", re.IGNORECASE | re.ASCII)
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)


def _unless_templated(value: Json, check: Callable[[Json], Json]) -> Json:
    """A string with `${` is checked when it is evaluated; anything else now."""
    return value if isinstance(value, str) and "${" in value else check(value)


_late = WrapValidator(_unless_templated)


def _url(value: str) -> str:
    if not re.match(r"https?://[^/\s?#]", value, re.IGNORECASE):
        raise PydanticCustomError("bad_value", "A URL starts with http:// or https:// and a host")
    return value


def _until(value: str) -> str:
    try:
        if not _RFC3339.fullmatch(value):
            raise ValueError
        datetime.fromisoformat(value[:19].upper().replace(" ", "T"))
    except ValueError:
        raise PydanticCustomError("bad_value", "A time is RFC 3339, such as 2030-01-31T12:00:00Z") from None
    return value


def _status(value: Json) -> Json:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError("wrong_type", 'A status is a number, or a pattern such as "2xx"')
    if not _STATUS.fullmatch(str(value)):
        raise PydanticCustomError("bad_value", 'A status is 100 to 599, or a pattern such as "2xx"')
    return value


def _statuses(value: Json) -> Json:
    return value if isinstance(value, list) else [value]


_Text = Annotated[str, Field(min_length=1)]
_Url = Annotated[str, WrapValidator(lambda value, check: _unless_templated(value, lambda raw: _url(check(raw))))]
_Until = Annotated[str, WrapValidator(lambda value, check: _unless_templated(value, lambda raw: _until(check(raw))))]
_Seconds = Annotated[
    float,
    Field(ge=0, le=MAX_WAIT_S),
    _late,
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": MAX_WAIT_S}, {"type": "string"}]}),
]
_Method = Annotated[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], _late]
_STATUS_SCHEMA = {"type": ["integer", "string"]}
_Statuses = Annotated[
    list[Annotated[Any, BeforeValidator(_status), _late]],
    Field(min_length=1, max_length=500),
    BeforeValidator(_statuses),
    WithJsonSchema({"anyOf": [{"type": ["integer", "string"]}, {"type": "array", "items": _STATUS_SCHEMA}]}),
]
_Object = Annotated[dict[str, Any], _late]


def _auth(value: Json) -> Json:
    if isinstance(value, (str, dict)):
        return value
    raise PydanticCustomError("wrong_type", "auth is a secret reference such as ${{secret.NAME}}, or an object of them")


def _failure(value: Json) -> Json:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and value.keys() <= {"type", "message"}:
        return value
    raise PydanticCustomError("wrong_type", "error is a text, or an object with type and message")


class FunctionConfig(Part):
    """Config of `function`."""

    handler: _Text
    params: Any = None


class HttpConfig(Part):
    """Config of `http`."""

    url: _Url
    method: _Method | None = None
    headers: _Object | None = None
    query: _Object | None = None
    body: Any = None
    expect_status: _Statuses | None = None
    auth: Annotated[Any, BeforeValidator(_auth)] = None


class TransformConfig(Part):
    """Config of `transform`: exactly one of `value` and `pipeline`."""

    value: Any = None
    pipeline: Annotated[Any, WithJsonSchema({"type": "array", "items": {"type": "object"}})] = None
    data: Any = None


class WaitConfig(Part):
    """Config of `wait`: exactly one of `seconds` and `until`."""

    seconds: _Seconds | None = None
    until: _Until | None = None


class HumanConfig(Part):
    """Config of `human`."""

    message: Any
    form: Annotated[dict[str, Any] | bool | None, Field()] = None
    approvers: Annotated[list[_Text], Field(min_length=1, max_length=1000), _late] | None = None
    quorum: Annotated[int, Field(ge=1, le=1000)] | None = None
    on_reject: Literal["fail", "continue"] | None = None
    on_timeout: Literal["fail", "approve", "reject"] | None = None


class EventConfig(Part):
    """Config of `event`."""

    name: Annotated[str, Field(min_length=1, max_length=1024)]


class MapConfig(Part):
    """Config of `map`."""

    items: Any
    max_concurrency: Annotated[int, Field(ge=1), _late] | None = None
    tolerate_failures: Annotated[int | str, _late] | None = None
    body: dict[str, Any] | None = None
    workflow: Reference | None = None
    input: Any = None


class QueueConfig(Part):
    """Config of `queue`: a worker of the user's own."""

    queue: Annotated[Name, _late]
    payload: Any = None


class FailConfig(Part):
    """Config of `fail`."""

    error: Annotated[Any, BeforeValidator(_failure)] = None


class SucceedConfig(Part):
    """Config of `succeed`."""

    output: Any = None


class EmptyConfig(Part):
    """Config of types that take none."""


CONFIGS: dict[str, type[Part]] = {
    "function": FunctionConfig,
    "http": HttpConfig,
    "agent": AgentConfig,
    "transform": TransformConfig,
    "wait": WaitConfig,
    "human": HumanConfig,
    "event": EventConfig,
    "map": MapConfig,
    "queue": QueueConfig,
    "workflow": WorkflowConfig,
    "fail": FailConfig,
    "succeed": SucceedConfig,
    **dict.fromkeys(("branch", "loop", "pass"), EmptyConfig),
}
ADAPTERS = {name: TypeAdapter(model) for name, model in CONFIGS.items()}
