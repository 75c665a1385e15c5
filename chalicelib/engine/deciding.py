"""Which Draft settles a piece of Work: the bridge from loaded values to the pure decisions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.domain.breakpoints import passed_draft
from chalicelib.domain.children import CALL, Called, call_emit, passes_on
from chalicelib.domain.commit import Draft, Emit, Event
from chalicelib.domain.decide import settle
from chalicelib.domain.end_errors import fail_error, spent_error
from chalicelib.domain.errors import EvaluationError, TaskError, TemplateError
from chalicelib.domain.harmless import is_harmless, joins_ahead
from chalicelib.domain.ids import ARM, BEATEN, END, ROLLBACK, START, UNDO, Token, bare
from chalicelib.domain.ir import Node, Plan
from chalicelib.domain.lifecycle import (
    beaten_draft,
    end_draft,
    fan_draft,
    finish_node_draft,
    own_meta,
    retry_draft,
    skip_draft,
    start_draft,
)
from chalicelib.domain.map_items import begin_draft
from chalicelib.domain.node_kinds import ARMED_TYPES, kind_of, node_at
from chalicelib.domain.outcome import Moment, Outcome, template_error
from chalicelib.domain.pauses import PAUSED
from chalicelib.domain.templates import render
from chalicelib.domain.usage import used
from chalicelib.domain.waiting import armed_draft, waiting_emit
from chalicelib.engine.needs import Needs, config_needs
from chalicelib.engine.ports import Artifacts
from chalicelib.engine.progress import told_before
from chalicelib.engine.rollback_steps import begun_by_output, rollback_needs, rollback_step, undo_step
from chalicelib.engine.run_records import with_record
from chalicelib.engine.signals import Work
from chalicelib.engine.transforms import transformed

Json = Any
#: Meta fields that say who calls a child run, and how deep it would be.
CALL_META = ("tenant", "depth_left")
#: Node types that only pass on what reached them.
PASSING = frozenset({"pass", "branch", "loop"})
#: Node types whose config is resolved by the coordinator when they run.
CONFIGURED = frozenset({"transform", "fail", "succeed"})


def needs_of(work: Work, plan: Plan) -> Needs:
    """What deciding this work reads."""
    token = work.token
    if token.node == END:
        return _end_needs(plan, token)
    undoes = token.node.startswith((ROLLBACK, UNDO))
    needs = _undo_needs(work, plan) if undoes else Needs(plan, token, meta=own_meta(plan, token))
    if work.told is not None or (reads_record(work) and work.data is None):
        needs.tokens, needs.meta = (token.text,), (*needs.meta, PAUSED)
    node = None if work.told is not None else plan.nodes.get(token.node.removeprefix(ARM))
    if node is None or token.attempt == 0:
        needs.joins = (node.id,) if node is not None and node.counted and node.join.need > 1 else ()
        return needs
    own = node_at(plan, token)
    if token.node.startswith(ARM):
        _add_arming(needs, own, token)
        needs.joins = joins_ahead(plan, node.id)
        return needs
    if token.index is None:
        _add_settlement(needs, work, node)
    needs.box = tuple(one.field(token) for one in work.before)
    if own.type in PASSING:
        needs.reached = True
    elif own.type in CONFIGURED and not own.queue:
        needs.add_template(own.config)
    return needs


def _add_arming(needs: Needs, node: Node, token: Token) -> None:
    """What a node reads before it waits: its config; a call also whose it is, and the input that it passes on."""
    if node.type not in ARMED_TYPES:  # it has stopped at a breakpoint: its own token reads what it needs
        return
    needs.token = Token(bare(token.node), token.scope)
    needs.add_template(node.config)
    needs.meta += CALL_META if node.type == CALL else ()
    if passes_on(node) and token.index is None:
        needs.reached = True
    elif passes_on(node):
        needs.names |= {"item"}


def _add_settlement(needs: Needs, work: Work, node: Node) -> None:
    """What routing on from the node reads; items of a map lead nowhere."""
    if work.outcome.error is not None or _may_fail(node, work.token):
        needs.joins = joins_ahead(needs.plan, node.id)
    needs.names |= set(node.decide_names)
    needs.nodes |= set(node.decide_nodes)


def _undo_needs(work: Work, plan: Plan) -> Needs:
    if work.token.node.startswith(ROLLBACK):
        return rollback_needs(plan, work.token)
    inline = work.kind == "inline" and work.outcome.error is None
    return config_needs(plan, work.token) if inline else Needs(plan, work.token)


def reads_record(work: Work) -> bool:
    """Whether settling the work takes its token's record: what a worker answers to is not all that goes on with it."""
    return work.token.node != END and (work.kind in ("wake", "inline") or work.token.node.startswith(UNDO))


def _may_fail(node: Node, token: Token) -> bool:
    """Whether completing the node may fail it: by a template of its own, by a choice that there is not, or at the limit
    of its loop."""
    at_limit = node.loop is not None and not node.loop.has_timeout and token.iteration >= node.loop.max_iterations
    choosing = node.branch is not None and node.branch.mode == "agent_driven"
    return at_limit or choosing or bool(node.sets) or node.type in CONFIGURED


def _end_needs(plan: Plan, token: Token) -> Needs:
    needs = rollback_needs(plan, token)
    if plan.output is not None:
        needs.names, needs.nodes = set(plan.output.names), set(plan.output.nodes)
    else:
        needs.nodes = set(plan.terminals)
    return needs


@dataclass(frozen=True, slots=True)
class Situation:
    """A work with all that its decision reads, loaded."""

    work: Work
    plan: Plan
    values: dict[str, Json]
    #: Meta fields asked for by Needs.meta.
    meta: dict[str, str | None]
    now_ms: int
    chance: float
    #: Where the tables of pipelines come from.
    artifacts: Artifacts
    #: Joins asked for by Needs.joins that have fired.
    fired: tuple[str, ...] = ()
    #: The commits that the run may have, where the token began after them; else 0.
    spent: int = 0
    #: The counts of the join that is skipped, as stored, where Needs.joins asked for them.
    arrived: str = ""
    #: What was settled and how, as in the store, where a rollback goes on.
    done: Mapping[str, str] | None = None
    #: What a call that is about to begin has reached, or the error that it fails with.
    called: Called | TaskError | None = None

    def moment(self) -> Moment:
        """What the pure decision may depend on."""
        node = self.work.token.node.removeprefix(ARM)
        harmless = bool(self.fired) and is_harmless(self.plan, node, self.fired)
        return Moment(self.now_ms, self.chance, self.work.token.epoch, self.values, harmless)


def decide(s: Situation) -> Draft:
    """The Draft that settles the work's token."""
    token, plan = s.work.token, s.plan
    if s.work.told is not None:
        return s.work.told.draft(token)
    if token.node.startswith("$"):
        return _decide_internal(s)
    if token.attempt == 0:
        return skip_draft(plan, token, s.moment(), s.arrived)
    if s.spent:
        return finish_node_draft(token, Outcome(error=spent_error(s.spent)), failed=True)
    node = node_at(plan, token)
    if s.work.kind == "wake":
        return settle(plan, token, Outcome(output={}), s.moment())
    if s.work.kind == "signal":
        settled = told_before(settle(plan, token, s.work.outcome, s.moment()), token, s.work.before)
        return used(settled, token, s.work.outcome.metadata, counted=s.work.looked)
    return _decide_inline(s, node)


def _decide_internal(s: Situation) -> Draft:
    token, plan = s.work.token, s.plan
    kind = token.node.split(":", 1)[0]
    if kind == START:
        return start_draft(plan, token, s.moment(), paused=s.meta.get("status") == "PAUSED")
    if s.done is not None:
        return rollback_step(token, plan, s.done, s.meta, _ending(s)[1], s.now_ms)
    if kind == END:
        return _end(s)
    if UNDO in token.node:
        draft = undo_step(token, plan, s.work, s.values, s.moment(), s.artifacts)
        return used(draft, token, s.work.outcome.metadata)
    if kind == "$fan":
        stopped = s.work.job.no < int(s.meta.get("cut") or 0)
        return fan_draft(plan, token, s.work.data or {}, s.moment(), stopped=stopped)
    if f"{kind}:" == BEATEN:
        return beaten_draft(plan, token, s.moment())
    if kind == "$retry":
        return retry_draft(plan, token)
    return _arm(s)


def _decide_inline(s: Situation, node: Node) -> Draft:
    token = s.work.token
    if s.work.outcome.error is not None:
        return settle(s.plan, token, s.work.outcome, s.moment())
    if node.type in PASSING:
        return settle(s.plan, token, Outcome(output=s.values.get("output")), s.moment())
    try:
        config = render(node.config, s.values, "/config")
    except TemplateError as error:
        return settle(s.plan, token, Outcome(error=template_error(error)), s.moment())
    if node.type == "transform":
        return settle(s.plan, token, transformed(config, s.artifacts), s.moment())
    if node.type == "fail":
        return finish_node_draft(token, Outcome(error=fail_error(config.get("error"))), failed=True)
    return finish_node_draft(token, Outcome(output=config.get("output")), failed=False)


def _arm(s: Situation) -> Draft:
    """Resolve what a node waits for, or fail it. A node that only stopped at a breakpoint begins."""
    token = s.work.token
    node = node_at(s.plan, token)
    attempt = replace(token, node=node.id)
    if node.type not in ARMED_TYPES:
        return passed_draft(token, Emit(attempt, kind_of(node)))
    if s.work.prepared is not None:
        return _arm_map(s, node, attempt, s.work.prepared)
    try:
        config = render(node.config, s.values, "/config")
        emit = _call(s, node, attempt, config) if s.called else waiting_emit(node.type, attempt, config, s.now_ms)
        return armed_draft(token, emit)
    except TaskError as error:
        failed = {"type": error.type, "message": error.message, "retryable": error.retryable}
    except (TemplateError, ValueError, TypeError, OverflowError) as error:
        failed = {"type": "TemplateError", "message": f"/config: {error}", "retryable": False}
    return _unarmed(s, attempt, failed)


def _arm_map(s: Situation, node: Node, attempt: Token, prepared: dict[str, Json]) -> Draft:
    """Let a map and its first items begin, or fail it."""
    if "error" in prepared:
        return _unarmed(s, attempt, prepared["error"])
    return begin_draft(node, s.work.token, prepared)


def _unarmed(s: Situation, attempt: Token, error: dict[str, Json]) -> Draft:
    """The node fails before it began to wait."""
    draft = settle(s.plan, attempt, Outcome(error=error), s.moment())
    draft.settle = s.work.token
    return draft


def _call(s: Situation, node: Node, attempt: Token, config: dict[str, Json]) -> Emit:
    """A call begins with its input: what the config gives, what reached the node, or its item. Raises TaskError."""
    assert s.called is not None
    if isinstance(s.called, TaskError):
        raise s.called
    reached = "output" if attempt.index is None else "item"
    return call_emit(s.called, attempt, s.values[reached] if passes_on(node) else config["input"])


def _end(s: Situation) -> Draft:
    """The run's end. Its commit repeats what the directory shows of the run: whoever journals it can write that."""
    output, error = _ending(s)
    if error is not None and s.plan.on_failure == "compensate":
        return begun_by_output(s.work.token, s.meta, error, s.now_ms)
    draft = end_draft(s.work.token, s.now_ms, output, error)
    draft = with_record(draft, s.meta)
    ref = s.meta.get("result_ref")
    if ref and error is None:
        del draft.meta["output"]
        draft.meta["output_ref"], draft.events = ref, [Event("run_completed", data={"output_ref": ref})]
    return draft


def _ending(s: Situation) -> tuple[Json, dict[str, Json] | None]:
    """Its error, a `succeed` node's result, its output template, or its terminals' outputs."""
    if s.work.outcome.error is not None:  # its output is larger than may be kept
        return None, {"type": s.work.outcome.error["type"], "message": s.work.outcome.error["message"]}
    plan, error, result = s.plan, s.meta.get("error"), s.meta.get("result")
    if error:
        return None, json.loads(error)
    if result or s.meta.get("result_ref"):
        return json.loads(result or "null"), None
    if plan.output is None:
        ctx = s.values["ctx"]
        return {name: ctx[name]["output"] for name in plan.terminals if ctx[name]["status"] == "COMPLETED"}, None
    try:
        return render(plan.output, s.values, "/output"), None
    except (TemplateError, EvaluationError) as failure:
        return None, {"type": "TemplateError", "message": failure.detail}
