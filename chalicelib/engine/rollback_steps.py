"""The coordinator's steps of a rollback: what they read, and the Drafts that settle their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.domain.commit import Draft, Event
from chalicelib.domain.compensation import (
    begun,
    page_draft,
    remaining,
    rolled_back_draft,
    undo_again_draft,
    undo_draft,
)
from chalicelib.domain.errors import TemplateError
from chalicelib.domain.ids import END, ROLLBACK, Token
from chalicelib.domain.ir import Plan
from chalicelib.domain.node_kinds import node_at
from chalicelib.domain.outcome import Moment, Outcome, template_error
from chalicelib.domain.templates import render
from chalicelib.engine.needs import Needs
from chalicelib.engine.ports import Artifacts
from chalicelib.engine.run_records import RECORD_META, with_record
from chalicelib.engine.signals import Work
from chalicelib.engine.transforms import transformed

Json = Any
Meta = Mapping[str, str | None]


def rollback_needs(plan: Plan, token: Token) -> Needs:
    """What tells whether and how a run is being rolled back, and what its end takes."""
    return Needs(plan, token, meta=("error", "result", "result_ref", "phase", "timeout_at", "forked_no", *RECORD_META))


def undoes(token: Token, plan: Plan, meta: Meta) -> bool:
    """Whether settling the token takes what is left to undo: all that was settled has to be read."""
    if token.node.startswith(ROLLBACK):
        return True
    failed = plan.on_failure == "compensate" and bool(meta.get("error"))
    return token.node == END and (failed or bool(meta.get("phase")))


def rollback_step(
    token: Token, plan: Plan, done: Mapping[str, str], meta: Meta, error: dict[str, Json] | None, now_ms: int
) -> Draft:
    """Settle `$end` or `$rollback`: the next page of undos begins, or the run has been rolled back."""
    assert error is not None  # a rollback begins with the error that the run will end with
    undos = remaining(plan, done, int(meta.get("forked_no") or 0))
    if not undos:
        return with_record(rolled_back_draft(token, done, error, now_ms), meta)
    draft = page_draft(plan, token, undos)
    if not meta.get("phase"):
        draft.meta |= begun(meta, error, now_ms)
    return draft


def begun_by_output(token: Token, meta: Meta, error: dict[str, Json], now_ms: int) -> Draft:
    """Settle `$end` of a run whose `output` template failed: another `$end` follows and rolls it back."""
    said = Event("condition_failed", data={"where": "output", "message": error["message"]})
    return Draft(settle=token, meta=begun(meta, error, now_ms), events=[said])


def undo_step(
    token: Token, plan: Plan, work: Work, values: dict[str, Json], moment: Moment, artifacts: Artifacts
) -> Draft:
    """Settle an attempt of an undo, or the timer before one."""
    data = work.data or {}
    if token.node.startswith("$retry:"):
        return undo_again_draft(plan, token, data)
    outcome = work.outcome
    if work.kind == "inline" and outcome.error is None:
        try:
            outcome = transformed(render(node_at(plan, token).config, values, "/config"), artifacts)
        except TemplateError as error:
            outcome = Outcome(error=template_error(error))
    return undo_draft(plan, token, data, outcome, moment)
