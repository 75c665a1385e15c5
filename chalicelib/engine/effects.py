"""What a step must do once its commits stand: journal them, send messages, note what was sent. In this order."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.ids import Job, Token, job_id, parse_token
from chalicelib.domain.journal import Item
from chalicelib.engine.flush import Written, journal_item, write_items
from chalicelib.engine.history import advance_snapshot
from chalicelib.engine.places import leave_ended
from chalicelib.engine.ports import JournalItem, Outgoing
from chalicelib.engine.rebuild import give_way
from chalicelib.engine.services import Services
from chalicelib.engine.signals import Work, continue_text, wake_text
from chalicelib.engine.snapshots import EVERY
from chalicelib.engine.store_calls import CommitAnswer
from chalicelib.engine.waiting_list import make_known

Json = Any
log = logging.getLogger("graft.step")
#: The longest delay SQS takes; a longer wait is scheduled to its last minutes and finished by a delay (HAZARDS 42).
SQS_DELAY_MS = 900_000
LAST_MINUTES_MS = 600_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A commit that stands, and the tokens it created."""

    #: The job whose settlement it was: gives run, generation, revision and graph.
    job: Job
    item: Item
    origin: int

    def tokens(self) -> Iterator[tuple[Token, str, dict[str, Json]]]:
        """(token, kind, data) of every token created."""
        for text, _, kind, data, _ in self.item.opened():
            yield parse_token(text), kind, json.loads(data) if data else {}

    def job_of(self, token: Token) -> Job:
        """The job of one of them."""
        job = self.job
        return Job(job.run_id, token.text, self.item.no, self.item.id, job.gen, job.rev, job.graph)

    def data_of(self, token: Token) -> dict[str, Json]:
        """What one of them carries."""
        return next((data for made, _, data in self.tokens() if made == token), {})

    def known(self, reader: Token) -> dict[str, str]:
        """Stored outcomes written by this commit, by node, where the reader's scope reads exactly these."""
        out: dict[str, str] = {}
        for key, record in self.item.body.get("val", []):
            token = parse_token(f"{key}.0")
            if token.scope == reader.scope[: len(token.scope)]:
                out[token.node] = f"{self.item.no}|{record}"
        return out


@dataclass(slots=True)
class RunWrites:
    """Journal items of one run that this step committed or found unwritten."""

    items: dict[int, JournalItem] = field(default_factory=dict)
    #: Commits of other steps that must be in the journal too.
    needs: list[Written] = field(default_factory=list)
    lease: bool = False
    mark: int = 0
    #: True if other steps may be at this run, or nothing more will come: the mark is moved at once.
    settle_mark: bool = False
    #: True if the store lost one of this step's commits and gave its number to another, of this step or of another.
    forked: bool = False
    origins: set[int] = field(default_factory=set)

    def passed(self, every: int, last: int) -> bool:
        """Whether one of this step's commits, up to `last`, has a number that is a multiple of `every`."""
        return bool(self.items) and last // every > (min(self.items) - 1) // every


@dataclass(slots=True)
class Effects:
    """Collected while the step goes; performed once, at its end."""

    #: Names the step for the flush leases of its runs.
    owner: str = ""
    runs: dict[str, RunWrites] = field(default_factory=dict)
    tasks: list[tuple[Opened, Token]] = field(default_factory=list)
    #: (message, position of the signal it comes from, run id, token text or "").
    outgoing: list[tuple[Outgoing, int, str, str]] = field(default_factory=list)
    #: (name, when in milliseconds, message, position of the signal it comes from, job that is woken).
    schedules: list[tuple[str, int, Outgoing, int, Job]] = field(default_factory=list)
    #: (message, position of the signal it comes from).
    refused: list[tuple[Outgoing, int]] = field(default_factory=list)
    continues: list[Work] = field(default_factory=list)
    #: Works whose run was rebuilt: they are tried again in the next round.
    recovered: list[Work] = field(default_factory=list)
    #: Deadlines by run: of attempts that began, and of the run itself; and of attempts that were heard of
    #: (see rearm.attempt_deadlines).
    due: dict[str, dict[str, int]] = field(default_factory=dict)
    beats: dict[str, int] = field(default_factory=dict)
    #: (run, token) sent without a commit of this step: once, and that they were sent is noted all the same.
    resent: set[tuple[str, str]] = field(default_factory=set)

    #: Jobs of waiting tokens whose beginning is to be made known, and the positions they come from.
    begun: list[tuple[Job, int]] = field(default_factory=list)

    def wait(self, job: Job, origin: int, due: dict[str, int]) -> None:
        """A node waits: what others must know of it is written, and its deadline is set."""
        self.begun.append((job, origin))
        self.resent.add((job.run_id, job.token))
        self.watch(job.run_id, due)

    def committed(self, opened: Opened, text: str, answer: CommitAnswer) -> None:
        """A commit stands: its item is to be journaled."""
        writes = self.runs.setdefault(opened.job.run_id, RunWrites(mark=answer.mark, lease=answer.lease))
        before = writes.items.get(opened.item.no - 1)
        follows = opened.item.no not in writes.items and (before is None or before.id == opened.item.prev_id)
        writes.forked = writes.forked or not follows
        writes.items[opened.item.no] = journal_item(opened.job.run_id, text, opened.item)
        writes.origins.add(opened.origin)
        created = sum(1 for _ in opened.item.opened())
        writes.settle_mark = writes.settle_mark or answer.out > created or answer.out == 0
        timeout = opened.item.body.get("meta", {}).get("timeout_at")
        if timeout:
            self.watch(opened.job.run_id, {f"run:{opened.job.run_id}": int(timeout)})

    def unjournaled(self, run_id: str, last: Written, origin: int) -> None:
        """A commit that the step's answer rests on, and that an earlier, dead step may have left unwritten."""
        writes = self.runs.setdefault(run_id, RunWrites())
        writes.needs.append(last)
        writes.origins.add(origin)
        writes.settle_mark = True

    def task(self, opened: Opened, token: Token) -> None:
        """A task began: its message is to be built and sent."""
        self.tasks.append((opened, token))

    def send(self, message: Outgoing, origin: int, job: Job) -> None:
        """A message to send once everything is journaled."""
        self.outgoing.append((message, origin, job.run_id, job.token))

    def watch(self, run_id: str, due: dict[str, int]) -> None:
        """Deadlines to enter into the index once the run's commits are journaled."""
        self.due.setdefault(run_id, {}).update(due)

    def wake(self, services: Services, job: Job, due_ms: int, origin: int = -1) -> None:
        """Wake this timer at `due_ms`: by a delayed message, or a one-time schedule first if that is far off."""
        left = due_ms - services.clock.now_ms()
        text = wake_text(job_id(job, services.secret))
        if left <= SQS_DELAY_MS:
            delay = max(0, -(-left // 1000))
            self.send(Outgoing("completion-signals", text, delay), origin, job)
            return
        name = f"{job.run_id}-{job.no}-{job.commit}"
        at_ms = due_ms - LAST_MINUTES_MS
        self.schedules.append((name, at_ms, Outgoing("completion-signals", text), origin, job))

    def go_on(self, work: Work) -> None:
        """Another step goes on with this inline work."""
        self.continues.append(work)

    def refuse(self, text: str, reason: str, origin: int) -> None:
        """A message that can never be processed: to the dead letters, with its reason (SPEC 6.5)."""
        log.warning("a message was refused", extra={"reason": reason})
        letter = compact({"reason": reason, "message": text[:65536]})
        self.refused.append((Outgoing("completion-signals-dlq", letter), origin))

    def perform(self, services: Services, failed: set[int]) -> None:
        """Journal, then send, then note. Positions whose effects could not be done are added to `failed`."""
        written = self._journal(services, failed)
        sent = self._send(services, failed)
        marked = [(run, w) for run, w in written.items() if self.runs[run].settle_mark]
        acks = [(run, w.no, w.id, self._sent(run) if sent else []) for run, w in marked]
        noted = {run for run, _ in self.resent} - {run for run, _ in marked} if sent else set()
        acks += [(run, 0, "", self._sent(run)) for run in sorted(noted)]
        if acks:
            try:
                services.store.acknowledge(acks)
            except Unavailable:
                log.warning("the journaled mark was not moved; the next step of these runs moves it")
        leave_ended(services, [item for run_id in written for item in self.runs[run_id].items.values()])
        for run_id, last in written.items():
            if self.runs[run_id].passed(EVERY, last.no):
                advance_snapshot(services, run_id)

    def _sent(self, run_id: str) -> list[str]:
        begun = [job.token for job, _ in self.begun if job.run_id == run_id]
        begun += [job.token for *_, job in self.schedules if job.run_id == run_id]
        return [token for _, _, run, token in self.outgoing if run == run_id and token] + begun

    def _journal(self, services: Services, failed: set[int]) -> dict[str, Written]:
        """Write all items. Runs that could not be written keep their messages back, and their signals fail."""
        written, lost = write_items(services, self.owner, self.runs)
        for run_id in lost:
            failed |= self.runs[run_id].origins
            self.due.pop(run_id, None)  # of attempts that may never have begun
            give_way(services, run_id)
        for run_id, last in written.items():
            # Other steps' items were written too: they wait for the mark.
            self.runs[run_id].settle_mark |= last.no not in self.runs[run_id].items
        self.outgoing = [entry for entry in self.outgoing if entry[2] not in lost]
        self.continues = [work for work in self.continues if work.job.run_id not in lost]
        self.begun = [(job, origin) for job, origin in self.begun if job.run_id not in lost]
        self.schedules = [entry for entry in self.schedules if entry[4].run_id not in lost]
        return written

    def _send(self, services: Services, failed: set[int]) -> bool:
        """Send everything. False, and the origins of all of it in `failed`, where some could not be sent."""
        jobs = [job_id(work.job, services.secret) for work in self.continues]
        onward = [Outgoing("completion-signals", continue_text([job])) for job in jobs]
        messages = [entry[0] for entry in self.outgoing] + onward + [entry[0] for entry in self.refused]
        try:
            self._index(services)
            for job, _ in self.begun:
                make_known(services, job)
            services.queues.send(messages)
            for name, at_ms, message, *_ in self.schedules:
                services.schedules.once(name, at_ms, message)
        except Unavailable:
            log.warning("messages could not be sent; their signals are delivered again")
            for writes in self.runs.values():
                failed |= writes.origins
            failed |= {origin for _, origin, _, _ in self.outgoing if origin >= 0}
            failed |= {origin for _, origin in self.begun} | {entry[3] for entry in self.schedules if entry[3] >= 0}
            failed |= {work.origin for work in self.continues} | {origin for _, origin in self.refused}
            return False
        return True

    def _index(self, services: Services) -> None:
        """Before the tasks go out: an attempt without its deadline would never time out."""
        due = {member: at for members in self.due.values() for member, at in members.items()}
        if due:
            services.store.put_due(due)
        if self.beats:
            services.store.put_due(self.beats, only_known=True)
