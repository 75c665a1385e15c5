"""One coordinator step: a batch of messages, settled in pipelined rounds, journaled, dispatched.

Order matters and is always the same (DESIGN 1): decide, commit, journal, dispatch; the caller acknowledges last. A step
that dies anywhere is repeated by the queue, finds its tokens settled, and does the rest again.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from chalicelib.domain.commit import body as commit_body
from chalicelib.domain.errors import BadSignal, GraftError, TooLarge
from chalicelib.domain.ids import Job, Token, job_id, parse_token
from chalicelib.domain.journal import compose, parse_item
from chalicelib.domain.node_kinds import attempted
from chalicelib.engine.breakpoints import stop_before
from chalicelib.engine.children import stop_child
from chalicelib.engine.effects import Effects, Opened
from chalicelib.engine.holding import hold_back, while_running
from chalicelib.engine.large_values import check_commit, keep_apart
from chalicelib.engine.late import is_late, record_late
from chalicelib.engine.loading import Loader, spent_hops
from chalicelib.engine.looking import again, look
from chalicelib.engine.parents import stop_messages
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.rearm import attempt_deadlines, heard_of
from chalicelib.engine.repeats import emitted_before, ended_before, recover
from chalicelib.engine.services import Services
from chalicelib.engine.signal_patches import give_up_patch, merged, plan_signals
from chalicelib.engine.signals import Work, lighten, parse, stop_text
from chalicelib.engine.store_calls import CommitAnswer, CommitCall

log = logging.getLogger("graft.step")

#: Rounds of inline work, and commits, of one step; what is left goes on by a `continue` signal (HAZARDS 13).
MAX_ROUNDS = 50
MAX_COMMITS = 400
#: Milliseconds of inline work in one step.
MAX_STEP_MS = 5000
#: Times one work is decided again on a newer graph.
MAX_TRIES = 20
#: `$fan` parts worked in this step; each dispatches up to a hundred tasks.
MAX_FANS = 2


@dataclass(slots=True)
class Step:
    """What one batch has come to so far."""

    effects: Effects
    started_ms: int
    failed: set[int] = field(default_factory=set)
    commits: int = 0
    #: Works to be decided once more in the next round.
    again: list[Work] = field(default_factory=list)


class Coordinator:
    """Settles batches of signals. One lives as long as its process; it keeps caches, never state."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._loader = Loader(services)
        #: run id -> its newest known (generation, graph, revision): a hint that a commit checks.
        self._graphs: OrderedDict[str, tuple[str, str, int]] = OrderedDict()

    def handle(self, messages: Sequence[str]) -> set[int]:
        """Work a batch as a whole. Returns the positions to be delivered again; the others are done."""
        step = Step(Effects(self._services.ids.new()), self._services.clock.now_ms())
        works = self._parse(messages, step)
        rounds = 0
        while works:
            if rounds >= MAX_ROUNDS or self._late(step):
                self._postpone(works, step)
                break
            works = self._hold_back_fans(works, step) if rounds else works
            works = self._round(works, step)
            rounds += 1
        step.effects.perform(self._services, step.failed)
        return step.failed

    def _late(self, step: Step) -> bool:
        elapsed = self._services.clock.now_ms() - step.started_ms
        return step.commits >= MAX_COMMITS or elapsed >= MAX_STEP_MS

    def _parse(self, messages: Sequence[str], step: Step) -> list[Work]:
        works: list[Work] = []
        for position, text in enumerate(messages):
            try:
                works += parse(text, position, self._services.secret)
            except BadSignal as error:
                step.effects.refuse(text, error.detail, position)
        for work in works:
            if work.kind == "heartbeat":
                step.effects.beats |= heard_of(self._services, work.job, work.token)
            if work.kind == "stop":
                self._stop(work, step)
        return [work for work in works if work.kind not in ("heartbeat", "stop")]

    def _stop(self, work: Work, step: Step) -> None:
        """End a child. Each takes some calls, and may wait for a step that writes it: the rest is left to others."""
        if self._late(step):
            text = stop_text([job_id(work.job, self._services.secret)])
            step.effects.send(Outgoing("completion-signals", text), work.origin, replace(work.job, token=""))
            return
        try:
            stop_child(self._services, work.job)
        except GraftError:
            log.exception("a child run could not be stopped", extra={"run_id": work.job.run_id})
            step.failed.add(work.origin)

    def _postpone(self, works: list[Work], step: Step) -> None:
        for work in works:
            if work.proven:
                step.failed.add(work.origin)  # a message not begun: delivered again
            else:
                step.effects.go_on(work)

    def _hold_back_fans(self, works: list[Work], step: Step) -> list[Work]:
        fans = [work for work in works if work.token.node.startswith("$fan:")]
        for work in fans[MAX_FANS:]:
            step.effects.go_on(work)
        late = {id(work) for work in fans[MAX_FANS:]}
        return [work for work in works if id(work) not in late]

    def _round(self, works: list[Work], step: Step) -> list[Work]:
        """Load, decide and commit all works, one round trip each; returns what is to be settled next."""
        for work in works:
            self._refresh(work)
        works = stop_before(self._services, works, step.effects, step.failed)
        works = look(self._services, works, step.effects, step.failed)
        works = plan_signals(self._services, works, step.failed)
        works = self._loader.prepare(works, step.effects, step.failed)
        decided = [(work, self._decided(work, step)) for work in works]
        calls = [(work, call) for work, call in decided if call is not None]
        answers = self._services.store.commit([call for _, call in calls])
        step.commits += len(calls)
        following, step.again = step.again, []
        for (work, call), answer in zip(calls, answers, strict=True):
            following += self._answered(work, call, answer, step)
        recovered, step.effects.recovered = step.effects.recovered, []
        return following + recovered + self._messages(step)

    def _messages(self, step: Step) -> list[Work]:
        """Build the messages of tasks that began in this round; a config that cannot be resolved fails its node."""
        tasks, step.effects.tasks = step.effects.tasks, []
        if not tasks:
            return []
        sent, broken = self._loader.messages(tasks, step.failed)
        for opened, token, message in sent:
            step.effects.send(message, opened.origin, opened.job_of(token))
            self._watch(opened, token, step)
        return broken

    def _watch(self, opened: Opened, token: Token, step: Step) -> None:
        """Enter an attempt's deadlines into the index, for the timeout detector."""
        node = attempted(self._services.plans.load(opened.job.graph), token)
        if node is not None:
            at = opened.item.body["at"]
            job = opened.job_of(token)
            step.effects.watch(job.run_id, attempt_deadlines(self._services, node, job, at, at))

    def _refresh(self, work: Work) -> None:
        """Use the newest generation this process has heard of, if it is newer than the job's."""
        hint = self._graphs.get(work.job.run_id)
        if hint is not None and hint[2] > work.job.rev:
            work.job = replace(work.job, gen=hint[0], graph=hint[1], rev=hint[2])

    def _decided(self, work: Work, step: Step) -> CommitCall | None:
        """The commit call of one work, or None where it fails alone: its message is delivered again."""
        now, job = self._services.clock.now_ms(), work.job
        try:
            draft = self._loader.decide(work)
            keep_apart(self._services, draft, job.graph)
        except TooLarge as error:
            self._too_large(work, error.detail, step)
            return None
        except GraftError:
            log.exception("a signal could not be decided", extra={"run_id": job.run_id, "token": job.token})
            step.failed.add(work.origin)
            return None
        planned = work.planned
        if planned is not None and draft.status != "COMPLETED":
            give_up_patch(work)
            step.again.append(work)
            return None
        commit_id, actor = self._services.ids.new(), "graft"
        if planned is not None:
            draft, commit_id, actor = merged(planned, draft), planned.commit_id, f"node:{work.token.node}"
        draft.drop += work.drop
        actor = f"node:{work.token.node}" if work.told is not None else actor
        text = commit_body(draft, commit_id=commit_id, at=now, gen=job.gen, graph=job.graph, rev=job.rev, actor=actor)
        try:
            check_commit(text)
        except TooLarge as error:
            self._too_large(work, error.detail, step)
            return None
        acks = ((job.no, job.commit),) if work.proven else ()
        expect = (*(planned.expect if planned else ()), *work.expect, *while_running(work.token))
        return CommitCall(job.run_id, text, step.effects.owner, now, acks, job.no, expect)

    def _too_large(self, work: Work, detail: str, step: Step) -> None:
        """What the work gives cannot be kept: it is decided again with less, or as failed."""
        if lighten(work, detail):
            step.again.append(work)
            return
        log.error("a commit is too large", extra={"run_id": work.job.run_id, "token": work.job.token})
        step.failed.add(work.origin)

    def _answered(self, work: Work, call: CommitCall, answer: CommitAnswer, step: Step) -> list[Work]:
        if answer.word == "OK":
            text = compose(answer.head, call.body)
            if work.planned is not None:
                self._patched(work)
            opened = Opened(work.job, parse_item(text), work.origin)
            step.effects.committed(opened, text, answer)
            self._leave(opened, work, step)
            return [] if answer.status == "PAUSED" else self._next(opened, step)
        if is_late(work, answer):
            record_late(self._services, work, step.effects, step.failed)
            return []
        if answer.word == "SETTLED":
            return emitted_before(self._services, work, answer, step.effects, step.failed)
        if answer.word == "STALE":
            return self._again(work, answer, step)
        if answer.word == "ENDED":
            ended_before(self._services, work, step.effects, step.failed)
            return []
        recover(self._services, work, step.effects, step.failed, answer.word)
        return []

    def _leave(self, opened: Opened, work: Work, step: Step) -> None:
        """Children whose call this commit closed are stopped, unless it was closed by their end."""
        known = work.token.text if work.looked else ""
        for message in stop_messages(self._services, work.job.run_id, opened.item, known):
            step.effects.send(message, work.origin, replace(work.job, token=""))

    def _patched(self, work: Work) -> None:
        """The work's commit changed the graph: what comes of it goes on from there."""
        assert work.planned is not None
        work.job = replace(work.job, gen=work.planned.commit_id)
        self._hint(work.job)

    def _hint(self, job: Job) -> None:
        self._graphs[job.run_id] = (job.gen, job.graph, job.rev)
        self._graphs.move_to_end(job.run_id)
        while len(self._graphs) > 10_000:
            self._graphs.popitem(last=False)

    def _again(self, work: Work, answer: CommitAnswer, step: Step) -> list[Work]:
        """Decided on another graph or before a control action: decide again on the present one (DESIGN 1)."""
        if work.told is not None and work.job.gen == answer.gen:
            return []  # told before, or the attempt has ended
        if hold_back(self._services, work, answer):
            return []
        work.job = replace(work.job, gen=answer.gen, graph=answer.graph, rev=answer.rev)
        self._hint(work.job)
        work.planned = None
        again(work)
        work.tries += 1
        if work.tries > MAX_TRIES:
            step.failed.add(work.origin)
            return []
        return [work]

    def _next(self, opened: Opened, step: Step) -> list[Work]:
        """Inline tokens go on here; tasks are made into messages; timers get their wake-ups."""
        inline: list[Work] = []
        spent = spent_hops(self._services, self._services.plans.load(opened.job.graph), opened.item.no)
        for text in opened.item.maps_over():
            job = opened.job_of(parse_token(text))
            inline.append(Work(job, parse_token(text), "inline", opened.origin, proven=False))
        for token, kind, data in opened.tokens():
            job = opened.job_of(token)
            if kind == "i" or (spent and not token.node.startswith("$")):
                inline.append(Work(job, token, "inline", opened.origin, data=data, proven=False))
            elif kind == "t":
                step.effects.task(opened, token)
            elif kind == "h":
                inline.append(Work(job, token, "inline", opened.origin, proven=False))
            else:
                step.effects.wake(self._services, job, int(data["due"]))
                self._watch(opened, token, step)
        return inline
