"""The config of `agent` nodes, as pydantic models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from chalicelib.domain.schema import Part

Json = Any
#: Turns that one attempt may have, and that a script may hold.
MAX_TURNS = 500
#: Names in one list of `allow`.
MAX_NAMES = 500


def _unless_templated(value: Json, check: Callable[[Json], Json]) -> Json:
    """A string with `${` is checked when it is evaluated; anything else now."""
    return value if isinstance(value, str) and "${" in value else check(value)


_late = WrapValidator(_unless_templated)


def _no_template(value: str) -> str:
    if "${" in value:
        raise PydanticCustomError(
            "bad_value", "This takes no template: what a node may reach is fixed when it compiles"
        )
    return value


def _schema(value: Json) -> Json:
    # Coordinators know these models without compiling: the schema library would double their cold start.
    from chalicelib.domain.schema_conditions import schema_problems  # noqa: PLC0415

    problems = schema_problems(value, "")
    if problems:
        where = f" (at {problems[0].path})" if problems[0].path else ""
        raise PydanticCustomError("bad_value", "{why}", {"why": problems[0].message.rstrip(".") + where})
    return value


def _task(value: Json) -> Json:
    if not isinstance(value, str) or not value.strip():
        raise PydanticCustomError("bad_value", "A task is a text that says what to do")
    return value


#: As strict as `Part`; the checks come after the type's.
Fixed = Annotated[str, Field(min_length=1, max_length=2048), WrapValidator(lambda v, check: _no_template(check(v)))]
Names = Annotated[list[Fixed], Field(max_length=MAX_NAMES)]
Tool = Literal["get_workflow", "patch_workflow", "http_request", "call_function", "execute_pipeline"]


class AllowPart(Part):
    """What the agent may call, and what its patches may add."""

    node_types: Names | None = None
    functions: Names | None = None
    queues: Names | None = None
    workflows: Names | None = None
    secrets: Names | None = None


class BudgetPart(Part):
    """What one attempt may use."""

    tokens: Annotated[int, Field(ge=1), _late] | None = None
    usd: Annotated[float, Field(gt=0), _late] | None = None


class CallPart(Part):
    """A tool call of a scripted turn; the tool need not exist, since models err as well."""

    tool: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: Any = None


class UsagePart(Part):
    """The tokens that a scripted turn counts for."""

    input_tokens: Annotated[int, Field(ge=0), _late] | None = None
    output_tokens: Annotated[int, Field(ge=0), _late] | None = None


class TurnPart(Part):
    """One turn of a script."""

    text: str | None = None
    output: Any = None
    calls: Annotated[list[CallPart], Field(max_length=100)] | None = None
    usage: UsagePart | None = None
    delay_ms: Annotated[int, Field(ge=0, le=900_000), _late] | None = None


class AgentConfig(Part):
    """Config of `agent`."""

    task: Annotated[Any, BeforeValidator(_task), WithJsonSchema({"type": "string", "minLength": 1})]
    provider: Literal["bedrock", "openai", "scripted"]
    model: Fixed | None = None
    tools: Annotated[list[Tool], Field(max_length=20)] | None = None
    max_turns: Annotated[int, Field(ge=1, le=MAX_TURNS), _late] | None = None
    budget: BudgetPart | None = None
    output_schema: Annotated[
        Any, BeforeValidator(_schema), WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "boolean"}]})
    ] = None
    allow: AllowPart | None = None
    turns: Annotated[list[TurnPart], Field(min_length=1, max_length=MAX_TURNS)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _fits_its_provider(cls, raw: Json) -> Json:
        """What one member asks of another."""
        if not isinstance(raw, dict):
            return raw
        provider, scripted = raw.get("provider"), raw.get("provider") == "scripted"
        if scripted and raw.get("turns") is None:
            raise PydanticCustomError("bad_value", 'Provider "scripted" plays the turns that "turns" lists; add them')
        if isinstance(provider, str) and not scripted and raw.get("turns") is not None:
            raise PydanticCustomError("bad_value", '"turns" are for the provider "scripted" only; remove them')
        if provider in ("bedrock", "openai") and raw.get("model") is None:
            raise PydanticCustomError("bad_value", '"model" is missing: name the model to ask')
        return raw
