"""What a decision is made of: the outcome of an attempt, and the moment it is judged in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.commit import Draft, Event
from chalicelib.domain.conditions import holds
from chalicelib.domain.errors import EvaluationError, TemplateError
from chalicelib.domain.ids import Token
from chalicelib.domain.ir import Condition

Json = Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt. `ref` replaces `output` where the result is an artifact."""

    output: Json = None
    ref: str | None = None
    error: dict[str, Json] | None = None
    #: The job id the worker answered with; None for inline work.
    job: str | None = None
    metadata: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a decision may depend on besides the plan: time, chance, and the run's state, all as arguments."""

    now_ms: int
    chance: float
    epoch: int
    #: Variables of SPEC 4 as far as the node's conditions name them: ctx, input, run, vars.
    values: Mapping[str, Json]
    #: True if every way forward of a failing node ends in joins that already fired (HAZARDS 20).
    harmless: bool = False


def with_own(values: Mapping[str, Json], token: Token, status: str, outcome: Outcome) -> dict[str, Json]:
    """`values` with `ctx.<node>` of the node being settled as this settlement leaves it, if it is read at all."""
    ctx = values.get("ctx", {})
    if token.node not in ctx:
        return dict(values)
    output = None if outcome.error else outcome.output
    mine = {"output": output, "status": status, "error": outcome.error}
    mine |= {"iteration": token.iteration, "attempt": token.attempt}
    return {**values, "ctx": {**ctx, token.node: mine}}


def holds_or_note(condition: Condition, values: Mapping[str, Json], draft: Draft, token: Token, what: str) -> bool:
    """Whether the condition holds. An evaluation error is recorded and does not match (SPEC 4)."""
    try:
        return holds(condition, values)
    except EvaluationError as error:
        draft.events.append(Event("condition_failed", token, {"where": what, "message": error.detail}))
        return False


def template_error(error: TemplateError) -> dict[str, Json]:
    """The node error of a config template that failed (SPEC 4)."""
    return {"type": "TemplateError", "message": error.detail, "retryable": False}


def value_record(status: str, token: Token, outcome: Outcome) -> dict[str, Json]:
    """What expressions may read of this outcome later: SPEC 4's `ctx.<node>`."""
    record: dict[str, Json] = {"s": status, "i": token.iteration, "a": token.attempt}
    if outcome.ref is not None:
        record["r"] = outcome.ref
    elif outcome.error is None:
        record["o"] = outcome.output
    if outcome.error is not None:
        record["e"] = outcome.error
    return record


def event_data(outcome: Outcome) -> dict[str, Json]:
    """What a completion event carries besides its node: where a large output is, and the worker's metadata."""
    data: dict[str, Json] = {"output_ref": outcome.ref} if outcome.ref else {}
    if outcome.metadata:
        data["metadata"] = outcome.metadata
    return data
