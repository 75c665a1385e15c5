"""Loads what a round of works reads, in one round trip, and turns started tasks into messages."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chalicelib.domain.commit import Draft, compact
from chalicelib.domain.errors import BadSignal, GraftError, NotFound, TemplateError
from chalicelib.domain.ids import ARM, Job, Token
from chalicelib.domain.ir import Plan
from chalicelib.domain.limits import hops_allowed
from chalicelib.domain.map_items import parse_progress, progress_field
from chalicelib.domain.node_kinds import check_node, node_at
from chalicelib.domain.outcome import Outcome, template_error
from chalicelib.domain.pauses import is_held
from chalicelib.domain.records import parse_began
from chalicelib.domain.templates import render
from chalicelib.engine.agent_tasks import AGENT
from chalicelib.engine.children import resolve_call
from chalicelib.engine.deciding import Situation, decide, needs_of, reads_record
from chalicelib.engine.dispatch import secret_places, task_message
from chalicelib.engine.effects import Effects, Opened
from chalicelib.engine.item_pages import ItemPages
from chalicelib.engine.large_values import bound_result
from chalicelib.engine.maps import TooManyItems, begin
from chalicelib.engine.needs import NOW, Needs, RunInfo, config_needs, run_info, values
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.repeats import gone, recover, resend
from chalicelib.engine.rollback_steps import undoes
from chalicelib.engine.services import Services
from chalicelib.engine.signals import Work
from chalicelib.engine.store_calls import ReadAnswer

Json = Any
log = logging.getLogger("graft.step")
#: A task that began, and its message.
Sent = tuple[Opened, Token, Outgoing]
#: Runs whose input is kept in memory, and the largest input kept (bytes).
RUNS_KEPT = 10_000
INPUT_KEPT = 16 * 1024


class Loader:
    """Reads for decisions and for messages. Keeps what cannot change: plans, and small run inputs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._runs: OrderedDict[str, RunInfo] = OrderedDict()
        self._situations: dict[int, Situation] = {}
        self._pages = ItemPages(services.artifacts)
        #: (run, field of a map's progress) -> the artifact that lists the pages of its items.
        self._listed: OrderedDict[tuple[str, str], str] = OrderedDict()

    def prepare(self, works: Sequence[Work], effects: Effects, failed: set[int]) -> list[Work]:
        """Load all that deciding these works reads. Returns those that can be decided now."""
        self._situations.clear()
        wanted: list[tuple[Work, Needs]] = []
        for work in works:
            try:
                bound_result(self._services, work)
                plan = self._services.plans.load(work.job.graph)
                check_node(work.token, plan)
                wanted.append((work, self._with_item(work.job.run_id, needs_of(work, plan), work.token)))
            except BadSignal as error:
                effects.refuse(work.job.token, error.detail, work.origin)
            except GraftError:
                failed.add(work.origin)
        answers = self._read([(work.job.run_id, _as_of(work), needs) for work, needs in wanted])
        ready: list[Work] = []
        for (work, needs), answer in zip(wanted, answers, strict=True):
            if answer is not None and not answer.found:
                recover(self._services, work, effects, failed)
            elif self._due(work, answer, effects) and self._situate(work, needs, answer, failed):
                ready.append(work)
        return [work for work in ready if id(work) in self._situations]

    def decide(self, work: Work) -> Draft:
        """The Draft of a prepared work."""
        return decide(self._situations[id(work)])

    def _read(self, wanted: Sequence[tuple[str, int, Needs]]) -> list[ReadAnswer | None]:
        """One answer per need, None where nothing had to be read; one round trip for all."""
        calls = {
            i: needs.call(run_id, as_of)
            for i, (run_id, as_of, needs) in enumerate(wanted)
            if not needs.empty(has_run=run_id in self._runs)
        }
        found = self._services.store.read(list(calls.values())) if calls else []
        answers: list[ReadAnswer | None] = [None] * len(wanted)
        for i, answer in zip(calls, found, strict=True):
            answers[i] = answer
        return answers

    def _due(self, work: Work, answer: ReadAnswer | None, effects: Effects) -> bool:
        """Fill in the token's record where it was read; a wake-up that came early is put off."""
        if work.told is not None:
            record = answer.tokens.get(work.token.text) if answer is not None else None
            work.expect = work.told.expect(work.token, record or "")
            return record is not None  # told too late: nothing changes
        if work.before and answer is not None:
            work.before = tuple(one for one in work.before if answer.box.get(one.field(work.token)) is None)
            work.expect = tuple(one.untold(work.token) for one in work.before)
        if work.data is None and answer is not None and reads_record(work):
            record = answer.tokens.get(work.token.text)
            if record is None:
                gone(work)
                return True
            began = parse_began(record)
            if work.kind == "inline" and began.kind != "i":
                if not is_held(answer.meta, began):  # else the store has fallen back behind the resume that sends it
                    resend(self._services, began.job(work.job.run_id, work.token.text), work.origin, began, effects)
                return False
            work.data = began.data
        due = (work.data or {}).get("due", 0)
        if work.kind == "wake" and due > self._services.clock.now_ms():
            effects.wake(self._services, work.job, due, work.origin)
            return False
        return True

    def _situate(self, work: Work, needs: Needs, answer: ReadAnswer | None, failed: set[int]) -> bool:
        """Make ready what deciding the work takes. False, and its message delivered again, where a value is gone."""
        job, plan = work.job, needs.plan
        reads_it = "output" in needs.names or work.token.node in needs.nodes
        meta = answer.meta if answer else {}
        try:
            called = resolve_call(self._services, plan, work.token, meta)
            loaded = self._values(needs, answer, job.run_id, job.rev, _as_of(work), {})
            loaded |= self._item(job.run_id, work.token, needs, answer)
            if work.token.node.startswith(ARM) and node_at(plan, work.token).type == "map":
                work.prepared = self._begin_map(plan, work.token, loaded)
            if work.outcome.ref is not None and work.outcome.output is None and reads_it:
                work.outcome = replace(work.outcome, output=self.fetch(work.outcome.ref))
        except NotFound:
            log.exception("a stored value is gone", extra={"run_id": job.run_id, "token": job.token})
            failed.add(work.origin)
            return False
        now, chance = self._services.clock.now_ms(), self._services.ids.uniform()
        joins = answer.joins if answer else {}
        fired = tuple(name for name in needs.joins if "|fire:" in (joins.get(needs.join_field(name)) or ""))
        spent = spent_hops(self._services, plan, job.no)
        skipped = needs.joins[:1] if work.token.attempt == 0 else ()
        arrived = "".join(joins.get(needs.join_field(name)) or "" for name in skipped)
        artifacts, done = self._services.artifacts, None
        if undoes(work.token, plan, meta):
            state = self._services.store.snapshot(job.run_id, ("done",))
            done = {} if state is None else state["done"]
        if "cut" in meta:
            missed = work.expect if work.data is None else ()
            work.expect = (*missed, ("meta", "cut", meta["cut"] or ""))
        self._situations[id(work)] = Situation(
            work, plan, loaded, meta, now, chance, artifacts, fired, spent, arrived, done, called
        )
        return True

    def _values(
        self, needs: Needs, answer: ReadAnswer | None, run_id: str, rev: int, as_of: int, known: dict[str, str]
    ) -> dict[str, Json]:
        info = self._info(answer, run_id)
        return values(needs, answer, info, rev, run_id, self.fetch, as_of, known)

    def _info(self, answer: ReadAnswer | None, run_id: str) -> RunInfo | None:
        """The run's, from memory or from what was read."""
        info = self._runs.get(run_id)
        if info is None and answer is not None:
            info = run_info(answer, self.fetch)
            if info.started_at is not None and len(answer.meta.get("input") or "") <= INPUT_KEPT:
                self._runs[run_id] = info
                while len(self._runs) > RUNS_KEPT:
                    self._runs.popitem(last=False)
        return info

    def fetch(self, ref: str) -> Json:
        """The JSON value of an artifact, or its text where it is no JSON. Raises NotFound, Unavailable."""
        return artifact_value(self._services.artifacts.get(ref))

    def _with_item(self, run_id: str, needs: Needs, token: Token) -> Needs:
        """Let an item of a map also read where the items are, where this is not known yet."""
        field = progress_field(token)
        if token.index is not None and needs.names & {"item", "index"} and (run_id, field) not in self._listed:
            needs.box = (*needs.box, field)
        return needs

    def _item(self, run_id: str, token: Token, needs: Needs, answer: ReadAnswer | None) -> dict[str, Json]:
        """`item` and `index` of an item of a map. Raises NotFound, Unavailable."""
        if token.index is None or not needs.names & {"item", "index"}:
            return {}
        key = (run_id, progress_field(token))
        text = answer.box.get(key[1]) if answer else None
        if text is not None:
            self._listed[key] = parse_progress(text).pages
            while len(self._listed) > RUNS_KEPT:
                self._listed.popitem(last=False)
        if key not in self._listed:
            raise NotFound(f"The items of {token.node} are not known.")
        return {"item": self._pages.item(self._listed[key], token.index), "index": token.index}

    def _begin_map(self, plan: Plan, token: Token, loaded: dict[str, Json]) -> dict[str, Json]:
        """What the map's token keeps, or {"error"}: its config cannot be resolved, or it has too many items."""
        try:
            config = render(node_at(plan, token).config, loaded, "/config")
            return begin(self._services, plan.document, config, self.fetch)
        except TooManyItems as error:
            return {"error": {"type": "LimitExceeded", "message": str(error), "retryable": False}}
        except (TemplateError, ValueError, NotFound) as error:
            text = error.detail if isinstance(error, GraftError) else f"/config: {error}"
            return {"error": {"type": "TemplateError", "message": text, "retryable": False}}

    def messages(self, tasks: Sequence[tuple[Opened, Token]], failed: set[int]) -> tuple[list[Sent], list[Work]]:
        """The messages of tasks that began, and the works that fail those whose config cannot be resolved."""
        wanted: list[tuple[str, int, Needs]] = []
        for opened, token in tasks:
            plan = self._services.plans.load(opened.job.graph)
            needs = self._with_item(opened.job.run_id, _config_needs(plan, token, opened), token)
            if not needs.empty(has_run=opened.job.run_id in self._runs):
                needs.tokens = (token.text,)
            wanted.append((opened.job.run_id, opened.item.no, needs))
        answers = self._read(wanted)
        sent: list[Sent] = []
        broken: list[Work] = []
        for (opened, token), (run_id, as_of, needs), answer in zip(tasks, wanted, answers, strict=True):
            job = opened.job_of(token)
            if answer is not None and not _has_begun(answer, token, job):
                failed.add(opened.origin)
                continue
            try:
                node = node_at(needs.plan, token)
                loaded = self._values(needs, answer, run_id, job.rev, as_of, opened.known(token))
                loaded |= self._item(run_id, token, needs, answer)
                info = self._info(answer, run_id)
                tenant = info.tenant if info else ""
                message = task_message(self._services, node, job, opened.item.body["at"], loaded, tenant)
                sent.append((opened, token, message))
            except TemplateError as error:
                outcome = Outcome(error=template_error(error))
                data = opened.data_of(token)
                broken.append(Work(job, token, "signal", opened.origin, outcome, data=data, proven=False))
            except NotFound:
                failed.add(opened.origin)
        return sent, broken


def _has_begun(answer: ReadAnswer, token: Token, job: Job) -> bool:
    """Whether the store that was read has the commit by which the token began, and the token has not ended since."""
    record = answer.tokens.get(token.text) if answer.found else None
    return record is not None and record.startswith(f"{job.no}|{job.commit}|")


def artifact_value(body: bytes) -> Json:
    """What expressions see of an artifact. NaN and Infinity are not JSON."""
    try:
        value = json.loads(body)
        compact(value)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
    return value


def spent_hops(services: Services, plan: Plan, no: int) -> int:
    """The commits that a run of the plan may have, where commit `no` was past the last of them; else 0."""
    allowed = hops_allowed(services.limits, plan.document)
    return allowed if no >= allowed else 0


def _config_needs(plan: Plan, token: Token, opened: Opened) -> Needs:
    """What the task's config reads, less what its commit has at hand."""
    needs = config_needs(plan, token)
    node = node_at(plan, token)
    if secret_places(node.config) or node.type == AGENT:
        # The message says whose secrets these are, or is a credential for the run's tenant; that is read with `run`.
        needs.names.add("run")
    known = opened.known(token)
    if needs.wanted_nodes() and set(needs.wanted_nodes()) <= set(known) and not needs.edge_fields():
        return _AtHand(plan, token, needs.names, needs.nodes, needs.reached)
    return needs


class _AtHand(Needs):
    """Needs whose nodes are all at hand: only variables, input and run may still have to be read."""

    def empty(self, *, has_run: bool) -> bool:
        """True if nothing has to be read."""
        return "vars" not in self.names and (has_run or not self.names & {"input", "run"})


def _as_of(work: Work) -> int:
    """Inline work sees the values of the commit that created it; a signal's conditions see the newest."""
    return work.job.no if work.kind == "inline" and work.token.node != "$end" else NOW
