"""What must hold in every world after every event, whatever was killed, repeated or reordered."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from chalicelib.adapters.redis.keys import run_key
from chalicelib.domain.ids import UNDO, Job, parse_job_id, parse_token
from chalicelib.domain.journal import Item, expand, parse_item
from chalicelib.domain.state import ENDED
from chalicelib.engine.dispatch import CALLBACK_MS
from chalicelib.engine.ports import JournalItem, RunState
from tests.simulation.invariants_maps import MapWatch
from tests.simulation.kinship import Kinship
from tests.simulation.violations import Violation as Violation
from tests.simulation.violations import require as require

Json = Any
#: Jobs that one message may name, however many there are.
MOST_JOBS = 100


@dataclass(slots=True)
class Chain:
    """What the journal of one run has said so far, read without the engine's own fold."""

    items: list[JournalItem] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    #: Losers skipped before they started; what would have skipped them later says so again.
    dropped: set[str] = field(default_factory=set)
    #: Settlements that are not retried, by (node, scope, index, epoch).
    ends: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    #: Node instance -> commit by which it completed last; the commit whose work was undone last.
    completed: dict[str, int] = field(default_factory=dict)
    undone: int = 1 << 60
    maps: MapWatch = field(default_factory=MapWatch)
    status: str = "PENDING"
    #: Token -> when its time began, in milliseconds; None while a pause holds it.
    counts: dict[str, int | None] = field(default_factory=dict)


class Audit:
    """Watches commits, journal and messages of one world. Holds no part of the engine's state as its own."""

    def __init__(self, client: redis.Redis, secret: bytes, timeout_ms: int | None = None) -> None:
        self._client, self._secret = client, secret
        #: The `timeout_ms` of all attempts that have one; None where they differ, and are not looked at.
        self._timeout_ms = timeout_ms
        self.chains: dict[str, Chain] = {}
        self.kinship = Kinship()
        #: job id -> message text: every send of a job is byte-equal (HAZARDS 11).
        self._sent: dict[str, str] = {}
        #: Told of each new item of a journal: its run, what it says, and its name in a sentence.
        self.followers: list[Callable[[str, Item, str], None]] = []

    def store(self, run_id: str) -> None:
        """After a commit: tokens are conserved, and a live run has one."""
        pipe = self._client.pipeline(transaction=False)
        pipe.hmget(run_key(run_id, "meta"), ["out", "status"])
        pipe.hlen(run_key(run_id, "tok"))
        (out, status), tokens = pipe.execute()
        if out is None:
            return
        require(int(out) == tokens, f"run {run_id} counts {out} outstanding tokens and has {tokens}")
        if status in ENDED:
            require(tokens == 0, f"run {run_id} is {status} with {tokens} tokens outstanding")
        else:
            require(tokens > 0, f"run {run_id} is {status} with nothing outstanding")

    def replaced(self, run_id: str, before: RunState, replaces: str) -> None:
        """A rebuild took the place of `before`: of the state that it looked at, and of nothing that the journal, as it
        is now, would still have taken."""
        meta, items = before["meta"], self.chains.get(run_id, Chain()).items
        position = f"{meta['no']}|{meta['cid']}"
        require(position == replaces, f"run {run_id} was at {position} when a rebuild of {replaces} was installed")
        head = before["tail"].get(str(len(items) + 1))
        if items and head is not None:
            prev = parse_item("{" + head + ',"c":{}}').prev_id
            require(prev != items[-1].id, f"a rebuild of run {run_id} wipes what was not yet journaled: {head}")

    def marked(self, ack: tuple[str, int, str, Sequence[str]], before: RunState) -> None:
        """After an acknowledgement: the store forgot its copies up to the commit of that id, or none."""
        run_id, no, commit_id, _ = ack
        mark = self._client.hget(run_key(run_id, "meta"), "mark")
        if mark is not None and mark != before["meta"]["mark"]:
            head, items = before["tail"].get(mark, ""), self.chains.get(run_id, Chain()).items
            mine = int(mark) == no and f'"id":"{commit_id}"' in head
            require(mine, f"the store forgets commit {mark} of run {run_id}, {head}, for {commit_id}")
            known = len(items) >= no and items[no - 1].id == commit_id
            require(known, f"the store takes commit {no} of run {run_id}, {commit_id}, for journaled")

    def appended(self, item: JournalItem) -> None:
        """A new journal item: the chain is whole, and each execution is settled once."""
        chain = self.chains.setdefault(item.run_id, Chain())
        before = chain.items[-1] if chain.items else None
        seq, no, prev = (before.seq + before.events, before.no + 1, before.id) if before else (1, 1, "")
        place = f"commit {item.no} of run {item.run_id}"
        require((item.seq, item.no, item.prev_id) == (seq, no, prev), f"{place} does not follow the journal's end")
        require(item.events >= 1, f"{place} says nothing")
        shown = expand(item.text, item.run_id, lambda job: job.token)
        require(len(shown) == item.events, f"{place} counts {item.events} events and shows {len(shown)}")
        late = {event["type"] for event in shown} == {"signal_ignored"}
        parsed = parse_item(item.text)
        taken_up = chain.items and "epoch" in parsed.body.get("meta", {})
        require(chain.status not in ENDED or taken_up or late, f"{place} comes after the run was {chain.status}")
        chain.items.append(item)
        self._tokens(chain, parsed, place)
        wrong = self.kinship.appended(item.run_id, parsed)
        require(not wrong, wrong)
        for follower in self.followers:
            follower(item.run_id, parsed, place)

    def _tokens(self, chain: Chain, item: Item, place: str) -> None:
        body = item.body
        if "settle" in body:
            token, status, _ = body["settle"]
            self._close(chain, token, status, place)
            if status == "COMPLETED":
                chain.completed[token.split("#")[0]] = item.no
        for token in [text for text, _ in body.get("skips", []) if text not in chain.dropped]:
            self._end(chain, token, place)
        chain.dropped |= set(item.dropped)
        for emit in item.opened():
            require(emit[0] not in chain.opened, f"{place} creates {emit[0]} a second time")
            self._undo(chain, emit[0], emit[1], place)
            chain.opened.add(emit[0])
        for token in (*item.cancelled, *item.lost):
            self._close(chain, token, "CANCELLED", place)
        chain.maps.follow(item, place)
        chain.status = body.get("meta", {}).get("status", chain.status)
        self._count(chain, item)
        outstanding = {token for token in chain.opened - chain.closed if not token.startswith("$end")}
        # A commit from outside that makes no work leaves an earlier `$end` where it is.
        idle = not body.keys() & {"settle", "emits", "arr"}
        if chain.status not in ENDED:
            require(bool(outstanding) or bool(item.end) or idle, f"{place} leaves nothing outstanding in a live run")

    def _count(self, chain: Chain, item: Item) -> None:
        """What begins in a pause counts from what ends the pause."""
        paused = chain.status == "PAUSED"
        chain.counts |= dict.fromkeys((emit[0] for emit in item.opened()), None if paused else item.body["at"])
        for token in [] if paused else [token for token, at in chain.counts.items() if at is None]:
            chain.counts[token] = item.body["at"]

    def _undo(self, chain: Chain, token: str, instance: str, place: str) -> None:
        """Undos run one at a time, and go back in time."""
        if not token.startswith(UNDO):
            return
        others = [text for text in chain.opened - chain.closed if UNDO in text]
        require(not others, f"{place} begins {token} while {others} are outstanding")
        done = chain.completed[instance.removeprefix(UNDO)]
        require(done < chain.undone or token.split(".")[-1] != "1", f"{place} undoes {instance} out of order")
        chain.undone = done

    def _close(self, chain: Chain, token: str, status: str, place: str) -> None:
        require(token in chain.opened, f"{place} settles {token}, which was never created")
        require(token not in chain.closed, f"{place} settles {token} a second time")
        chain.closed.add(token)
        if status != "RETRIED":
            self._end(chain, token, place)

    def _end(self, chain: Chain, text: str, place: str) -> None:
        token = parse_token(text)
        if token.node.startswith("$") and not token.node.startswith(UNDO):
            return
        key = (token.node, token.scope, token.index, token.epoch)
        chain.ends[key] += 1
        require(chain.ends[key] == 1, f"{place} ends {text}, and its node has ended in this scope before")

    def message(self, queue: str, body: str) -> None:
        """A message leaves: what it names is in the journal, and a repeat is the same to the byte."""
        raw = json.loads(body)
        require(not queue.endswith("-dlq"), f"a message went to {queue}: {body[:300]}")
        jobs = raw["jobs"] if "jobs" in raw else [raw["job_id"]]
        require(len(jobs) <= MOST_JOBS, f"a message for {queue} names {len(jobs)} jobs")
        for text in jobs:
            job = parse_job_id(text, self._secret)
            items = self.chains.get(job.run_id, Chain()).items
            known = len(items) >= job.no and items[job.no - 1].id == job.commit
            require(known, f"a message for {job.token} leaves before commit {job.no} is in the journal")
        if queue.startswith("tasks-"):
            self._time(parse_job_id(raw["job_id"], self._secret), raw)
            require(self._sent.setdefault(raw["job_id"], body) == body, f"two different messages of one job: {body}")

    def _time(self, job: Job, task: Json) -> None:
        """The attempt's time runs from the commit that let it go. What has no deadline says it by its callback."""
        wanted = self.chains[job.run_id].counts[job.token]
        require(wanted is not None, f"{job.token} of run {job.run_id} is sent though a pause holds it")
        lasts = CALLBACK_MS if task["deadline"] is None else self._timeout_ms
        if lasts is not None:
            began = int(task["callback"]["token"].rsplit("-", 1)[1]) - lasts
            require(began == wanted, f"{job.token} of run {job.run_id} counts from {began}, not from {wanted}")
