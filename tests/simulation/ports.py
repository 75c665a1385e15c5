"""The ports of the simulated world: the real store, and doubles that report what passes through them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chalicelib.adapters.redis.store import RedisRunStore
from chalicelib.domain.errors import Unavailable
from chalicelib.engine.ports import RUN_HASHES, JournalItem, Outgoing, RunState
from chalicelib.engine.store_calls import CommitAnswer, CommitCall, ReadAnswer, ReadCall
from tests.doubles.clock import ManualClock
from tests.doubles.directory import MemoryDirectory
from tests.doubles.faults import Fault, effect
from tests.doubles.journal import MemoryJournal
from tests.doubles.queues import MemoryQueues
from tests.simulation.invariants import Audit

SIGNALS = "completion-signals"


class WatchedStore:
    """The Redis store with a stop around every call, and between the parts of a pipeline."""

    def __init__(self, inner: RedisRunStore, at: Fault, audit: Audit) -> None:
        self.inner, self._at, self._audit = inner, at, audit

    def commit(self, calls: Sequence[CommitCall]) -> list[CommitAnswer]:
        answers = []
        with effect(self._at, "store.commit"):
            for number, call in enumerate(calls):
                if number:
                    self._at("store.commit.between")
                answers += self.inner.commit([call])
                self._audit.store(call.run_id)
        return answers

    def read(self, calls: Sequence[ReadCall]) -> list[ReadAnswer]:
        self._at("store.read")
        return self.inner.read(calls)

    def install(self, run_id: str, state: RunState, replaces: str = "") -> bool:
        with effect(self._at, "store.install"):
            before = self.inner.snapshot(run_id, ("meta", "tail"))
            done = self.inner.install(run_id, state, replaces)
            if done and before is not None:
                self._audit.replaced(run_id, before, replaces)
        return done

    def acknowledge(self, acks: Sequence[tuple[str, int, str, Sequence[str]]]) -> None:
        with effect(self._at, "store.acknowledge"):
            for ack in acks:
                before = self.inner.snapshot(ack[0], ("meta", "tail"))
                self.inner.acknowledge([ack])
                if before is not None:
                    self._audit.marked(ack, before)

    def hold(self, run_id: str, tokens: Sequence[str], now_ms: int) -> None:
        with effect(self._at, "store.hold"):
            self.inner.hold(run_id, tokens, now_ms)

    def unwritten(self, run_id: str, owner: str, now_ms: int) -> tuple[int, bool, list[tuple[str, str]]]:
        with effect(self._at, "store.unwritten"):
            return self.inner.unwritten(run_id, owner, now_ms)

    def snapshot(self, run_id: str, hashes: Sequence[str] = RUN_HASHES) -> RunState | None:
        self._at("store.snapshot")
        return self.inner.snapshot(run_id, hashes)

    def fields(self, run_id: str, hash_: str, names: Sequence[str]) -> list[str | None]:
        self._at("store.fields")
        return self.inner.fields(run_id, hash_, names)

    def retire(self, run_id: str, position: str) -> None:
        with effect(self._at, "store.retire"):
            self.inner.retire(run_id, position)

    def put_due(self, due: Mapping[str, int], *, only_known: bool = False, only_new: bool = False) -> None:
        with effect(self._at, "store.put_due"):
            self.inner.put_due(due, only_known=only_known, only_new=only_new)

    def due(self, now_ms: int, limit: int) -> list[str]:
        self._at("store.due")
        return self.inner.due(now_ms, limit)

    def drop_due(self, members: Sequence[str]) -> None:
        with effect(self._at, "store.drop_due"):
            self.inner.drop_due(members)

    def get_plan(self, hash: str) -> str | None:
        self._at("store.get_plan")
        return self.inner.get_plan(hash)

    def put_plan(self, hash: str, text: str) -> None:
        self.inner.put_plan(hash, text)

    def ping(self) -> bool:
        return self.inner.ping()


class WatchedJournal(MemoryJournal):
    """The journal; each item that is new to it is judged."""

    def __init__(self, directory: MemoryDirectory, at: Fault, audit: Audit) -> None:
        super().__init__(directory, at)
        self._audit = audit

    def _store(self, item: JournalItem) -> None:
        known = len(self._chains.get(item.run_id, []))
        super()._store(item)
        if len(self._chains[item.run_id]) > known:
            self._audit.appended(item)


class PartlySent(Unavailable):
    """SQS took some entries of a batch only."""


class WatchedQueues(MemoryQueues):
    """SQS that remembers every signal it ever carried, and has each message judged before it leaves."""

    def __init__(self, clock: ManualClock, at: Fault, rng: random.Random | None, audit: Audit) -> None:
        super().__init__(clock, at, rng, max_receives=10_000)
        self._audit, self._chance = audit, rng or random.Random(0)
        self.carried: list[str] = []
        self.tasks: list[dict[str, Any]] = []

    def send(self, messages: Sequence[Outgoing]) -> None:
        try:
            super().send(messages)
        except PartlySent:
            for message in messages:
                if self._chance.random() < 0.5:
                    self._put(message.queue, message)
            raise

    def lower_receives(self, most: int) -> None:
        """From now on a signal that was received so often goes to the dead letters."""
        self._max_receives = most

    def _redrive(self, queue: str, now: int) -> None:
        if not queue.startswith("tasks-"):  # a task given up would end otherwise than in the reference
            super()._redrive(queue, now)

    def _put(self, queue: str, message: Outgoing) -> None:
        if queue == SIGNALS:
            self.carried.append(message.body)
        else:
            self.tasks.append(json.loads(message.body))
        self._audit.message(queue, message.body)
        super()._put(queue, message)


def pausing(clock: ManualClock, rng: random.Random, at: Fault) -> Callable[[float], None]:
    """`Services.pause`: lets the others go on, and time pass by the wait or by much more."""

    def pause(seconds: float) -> None:
        at("pause")
        clock.advance(rng.choice([max(1, int(seconds * 1000)), 50, 700]))

    return pause
