"""The shape of a workflow document as pydantic models, and its JSON Schema for editors."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from chalicelib.domain.names import ID_PATTERN, NAME_PATTERN
from chalicelib.domain.node_types import AVAILABLE_TYPES, BODY_TYPES

Json = Any

#: A year and a day: no timeout, backoff or heartbeat is longer.
MAX_MS = 366 * 24 * 3600 * 1000
#: Rules of one branch.
MAX_RULES = 1_000
#: Used where a loop names none.
DEFAULT_MAX_ITERATIONS = 100


def _node_id(value: str) -> str:
    if not re.fullmatch(ID_PATTERN[1:-1], value):
        text = "An id is a letter or _, then at most 63 letters, digits, _ or -"
        raise PydanticCustomError("bad_id", text)
    return value


def _name(value: str) -> str:
    if value == "validate" or not re.fullmatch(NAME_PATTERN[1:-1], value):
        text = "A name is a letter or digit, then at most 63 letters, digits, _ . or -, and not the word validate"
        raise PydanticCustomError("bad_name", text)
    return value


def _variable(value: str) -> str:
    if not re.fullmatch(ID_PATTERN[1:-1], value):
        text = "A run variable is a letter or _, then at most 63 letters, digits, _ or -"
        raise PydanticCustomError("bad_name", text)
    return value


def _kind(value: Json) -> str:
    return "<text>" if isinstance(value, str) else "<object>"


Id = Annotated[str, AfterValidator(_node_id), WithJsonSchema({"type": "string", "pattern": ID_PATTERN})]
Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})]
Variable = Annotated[str, AfterValidator(_variable)]
Label = Annotated[str, Field(max_length=1024)]
Millis = Annotated[int, Field(ge=1, le=MAX_MS)]
LimitValue = Annotated[int, Field(ge=1)]
#: Checked by `conditions`: a CEL string or a condition object of SPEC 4.
ConditionValue = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}]})]
#: Lists of ids or error types: the first entry that is no text is reported, to keep errors bounded.
Texts = Annotated[list[str], Field(fail_fast=True)]
#: Whole JSON objects that the schema does not look into.
Free = dict[str, Any]


class Part(BaseModel):
    """Base of all parts of a document: strict types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True)


class JoinPart(Part):
    """A join written as an object: exactly one of `any` and `count`."""

    any: Literal[True] | None = None
    count: int | None = None
    cancel_losers: bool | None = None


class RulePart(Part):
    """One rule of a branch."""

    condition: ConditionValue
    next_nodes: Texts


class BranchPart(Part):
    """A branch block, by rules or by the node's own output."""

    type: Literal["agent_driven"] | None = None
    mode: Literal["first", "all"] | None = None
    rules: Annotated[list[RulePart], Field(max_length=MAX_RULES)] | None = None
    default: Texts | None = None
    available_next_nodes: Texts | None = None


class LoopPart(Part):
    """A loop block."""

    condition: ConditionValue
    loop_back_to: str
    max_iterations: Annotated[int, Field(ge=1)] | None = None
    break_path: Texts | None = None
    timeout_path: Texts | None = None


class RetryPart(Part):
    """A retry policy (SPEC 9)."""

    max_attempts: Annotated[int, Field(ge=1, le=1000)] | None = None
    backoff_ms: Annotated[int, Field(ge=0, le=MAX_MS)] | None = None
    backoff_multiplier: Annotated[float, Field(ge=1, le=1000)] | None = None
    max_backoff_ms: Annotated[int, Field(ge=0, le=MAX_MS)] | None = None
    jitter: Literal["none", "full"] | None = None
    retry_on: Texts | None = None
    no_retry_on: Texts | None = None


JoinValue = Annotated[
    Annotated[Literal["all", "any"], Tag("<text>")] | Annotated[JoinPart, Tag("<object>")], Discriminator(_kind)
]


class NodePart(Part):
    """A node. Its config is checked by type in `node_config`."""

    id: Id
    type: Annotated[str, WithJsonSchema({"enum": sorted(AVAILABLE_TYPES)})]
    config: Free | None = None
    name: Label | None = None
    join: JoinValue | None = None
    branch: BranchPart | None = None
    loop: LoopPart | None = None
    retry: RetryPart | None = None
    timeout_ms: Millis | None = None
    heartbeat_ms: Millis | None = None
    check_before_start: bool | None = None
    set: dict[Variable, Any] | None = None
    compensate: Free | None = None
    metadata: Free | None = None


class BodyPart(Part):
    """A node body: what a map does for each item, or what undoes a node. Its config is checked by type."""

    type: Annotated[str, WithJsonSchema({"enum": sorted(BODY_TYPES)})]
    config: Free | None = None
    retry: RetryPart | None = None
    timeout_ms: Millis | None = None
    heartbeat_ms: Millis | None = None
    check_before_start: bool | None = None


class EdgePart(Part):
    """An edge of `edges[]`."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_by_alias=True)

    source: str = Field(alias="from")
    to: str
    condition: ConditionValue | None = None
    on: Literal["success", "failure", "always"] | None = None


class LimitsPart(Part):
    """Limits that the workflow lowers; see `limits.Limits` for what each bounds."""

    nodes: LimitValue | None = None
    edges: LimitValue | None = None
    map_items: LimitValue | None = None
    document_bytes: LimitValue | None = None
    input_bytes: LimitValue | None = None
    artifact_bytes: LimitValue | None = None
    hops: LimitValue | None = None
    loop_iterations: LimitValue | None = None
    patches: LimitValue | None = None
    agent_nodes: LimitValue | None = None
    patch_depth: LimitValue | None = None
    child_depth: LimitValue | None = None
    body_bytes: LimitValue | None = None


class WorkflowPart(Part):
    """A whole workflow document."""

    name: Name | None = None
    nodes: Annotated[list[NodePart], Field(min_length=1)]
    edges: list[EdgePart] | None = None
    input_schema: Free | bool | None = None
    output: Any = None
    timeout_ms: Millis | None = None
    on_failure: Literal["fail_fast", "finish_branches", "compensate"] | None = None
    vars: dict[Variable, Any] | None = None
    limits: LimitsPart | None = None
    metadata: Free | None = None
