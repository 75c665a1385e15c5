"""Worlds with every fault that the design names: Redis loses data, services fail, schedules run and die."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from chalicelib.domain.errors import Unavailable
from chalicelib.domain.state import ENDED
from chalicelib.engine.dead_letters import Arrived, take_in
from chalicelib.engine.directory_keys import LIVE_SHARDS
from chalicelib.engine.supervise import GRACE_MS, UNSENT_MS, detect_timeouts, sweep
from tests.simulation.clients import Clients, Intent
from tests.simulation.drawn import SimulatedRun
from tests.simulation.invariants import require
from tests.simulation.memory import Memory
from tests.simulation.ports import SIGNALS, PartlySent
from tests.simulation.strands import Killed, Strand
from tests.simulation.unheard import with_unheard
from tests.simulation.unsaid import with_unsaid
from tests.simulation.world import Option, World

DEAD = f"{SIGNALS}-dlq"
#: Times that all schedules run over an idle world before it counts as stuck; every third time an hour passes.
MOST_ROUNDS = 15
HOUR_MS = 3_600_000
#: Milliseconds that a Lambda may take: most steps take less, lazy ones are killed wherever they are.
LAMBDA_MS = (None, 3_000, 25_000)


@dataclass(frozen=True)
class Wear:
    """How often what goes wrong."""

    #: Losses of data and outages, all kinds together.
    losses: int
    kinds: tuple[str, ...]
    #: Chance weight of the schedules running besides; how often a signal is received before it is a dead letter.
    schedules: float
    receives: int
    lambda_ms: int | None

    @classmethod
    def draw(cls, rng: random.Random) -> Wear:
        """Some worlds know one kind of loss, most know all."""
        kinds = (*LOSSES,) if rng.random() < 0.6 else (rng.choice(LOSSES),)
        return cls(
            losses=rng.choice([1, 3, 6]), kinds=kinds, schedules=rng.choice([0.02, 0.05, 0.2]),
            receives=rng.choice([2, 4, 1000]), lambda_ms=rng.choice(LAMBDA_MS),
        )  # fmt: skip


LOSSES = ("wipe", "fall back", "fall back", "deadlines", "scripts", "restart", "outage")
PORTS = ("store", "journal", "directory", "queues", "artifacts", "schedules")


class RoughWorld(World):
    """A world in which only the journal, the queues and the schedules' next run can be relied on."""

    def __init__(self, client: redis.Redis, seed: int, *, racing: bool, mixed: bool = False) -> None:
        super().__init__(client, seed, racing=racing, mixed=mixed)
        self.runs = {run_id: with_unheard(run, self.rng) for run_id, run in self.runs.items()}
        self.runs = {run_id: with_unsaid(run, self.rng, racing=racing) for run_id, run in self.runs.items()}
        self.family.silence(list(self.runs.values()))
        self._waiting = list(self.runs.values())
        self.wear, self.memory = Wear.draw(self.rng), Memory(client)
        self.queues.lower_receives(self.wear.receives)
        self._losses, self._rounds, self._idled = self.wear.losses, 0, 0
        self.clients = Clients(self.rng)
        self.clients.want(("pause", "read"), list(self.runs), self.rng.choice([0, 1, 3]))
        #: Port -> calls that it will still refuse.
        self._out: dict[str, int] = {}
        #: Calls that can be refused or killed, and data that can be lost: at most so many rounds come to nothing.
        self._spoilt = self.chaos.harm + self.wear.losses

    def let_go(self) -> None:
        """The schedules let go of the ended runs, and nothing of them is left in Redis."""
        try:
            self._harm = self._losses = self._repeats = 0
            self._out.clear()
            self.clock.advance(GRACE_MS + UNSENT_MS)
            self._schedules_all()
            self._drain()
            left = [key for key in self.memory.names() if ":plan:" not in key]
            require(not left, f"Redis still has {left} of runs that ended long ago")
        finally:
            self.strands.close()
            self.memory.close()

    def _adopt(self, run: SimulatedRun) -> None:
        super()._adopt(run)
        self.clients.want(("pause", "read"), [run.run_id], self.rng.choice([0, 0, 0, 1]))

    # What can happen.

    def _options(self) -> list[Option]:
        options = super()._options()
        if (self.queues.next_visible(DEAD) or self.clock.now_ms() + 1) <= self.clock.now_ms():
            options.append((1, self._take_in))
        return options

    def _chances(self) -> list[Option]:
        chances = super()._chances()
        # Each sweep looks at the calls that wait, and each look makes room for more sweeps.
        often = min(self.wear.schedules, 0.03) if self.family.documents else self.wear.schedules
        chances.append((often, self._schedule))
        asked = self.clients.ready({run.run_id for run in self._waiting})
        if asked:
            chances.append((0.25, lambda: self._ask(self.rng.choice(asked))))
        if self._losses and self.strands.open:
            chances += [(0.1, self.memory.keep), (0.15, self._lose)]
        return chances

    def _lose(self) -> None:
        kind = self.rng.choice(self.wear.kinds)
        self._losses -= 1
        self.trace.append(f"loss: {kind}")
        if kind == "wipe" or (kind == "restart" and self.rng.random() < 0.3):
            self.memory.wipe()
        if kind == "fall back" or (kind == "restart" and self.rng.random() < 0.5):
            self.memory.fall_back(self.rng)
        if kind == "deadlines":
            self.memory.forget_deadlines()
        if kind == "scripts":
            self.client.script_flush()
        if kind in ("restart", "outage"):
            port = "store" if kind == "restart" else self.rng.choice(PORTS)
            self._out[port] = self.rng.choice([2, 5, 15])
            self._spoilt += self._out[port]

    def _harm_to(self, strand: Strand) -> BaseException | None:
        limit, port = self.wear.lambda_ms, strand.where.split(".")[0]
        if limit is not None and self.clock.now_ms() - strand.born_ms > limit and strand.name.startswith("step"):
            return Killed()
        if self._out.get(port):
            self._out[port] -= 1
            return Unavailable(f"{strand.where} failed: {port} is out.")
        order = super()._harm_to(strand)
        if isinstance(order, Unavailable) and strand.where == "queues.send.before" and self.rng.random() < 0.7:
            return PartlySent("Some entries of the batch were refused.")
        return order

    def _ask(self, intent: Intent) -> None:
        """A client asks for what it wants."""
        nodes = [node["id"] for node in self.runs[intent.run_id].document["nodes"]]
        nodes = self.people.asked_of(intent.run_id) or nodes
        body = self.clients.ask(intent, self.services(), nodes)
        name = f"client's {intent.kind} {intent.key} of {intent.run_id}"
        self._spawn(name, body, lambda strand: self._heard(intent, strand))

    def _heard(self, intent: Intent, strand: Strand) -> None:
        self.trace.append(f"{strand.name}: {strand.error!r}"[:200])
        self.clients.heard(intent, strand)

    def _start_again(self, run: SimulatedRun) -> None:
        """Some clients give up; a run that is in the journal goes its way all the same."""
        if run.run_id in self.audit.chains and self.rng.random() < 0.5:
            self.trace.append(f"the client of {run.run_id} gives up")
        else:
            super()._start_again(run)

    # The schedules and the dead letters.

    def _schedule(self) -> None:
        """A scheduled Lambda runs, perhaps while its last run still does."""
        if self.rng.random() < 0.5:
            self._supervise("timeouts", lambda: detect_timeouts(self.services()))
        else:
            self._sweep(self.rng.choice([*self._slices(), self.rng.randrange(LIVE_SHARDS)]))

    def _sweep(self, slice_: int) -> None:
        self._supervise(f"sweep of slice {slice_}", lambda: sweep(self.services(), slice_))

    def _schedules_all(self) -> None:
        for slice_ in range(LIVE_SHARDS):
            self._sweep(slice_)
        self._supervise("timeouts", lambda: detect_timeouts(self.services()))

    def _slices(self) -> list[int]:
        return sorted({zlib.crc32(run_id.encode()) % LIVE_SHARDS for run_id in self.runs})

    def _supervise(self, name: str, body: Callable[[], Any]) -> None:
        self._spawn(name, body, _passing)

    def _take_in(self) -> None:
        """The dead letters' Lambda has one of them."""
        message = self.queues.receive(DEAD, 1)[0]
        letter = Arrived(message.id, SIGNALS, message.body, self.clock.now_ms(), message.count)
        services, coordinator = self.services(), self._coordinator()

        def ended(strand: Strand) -> None:
            _passing(strand)
            if strand.error is None and strand.result:
                self.queues.delete(DEAD, message.receipt)

        self._spawn(f"letter {message.receipt}", lambda: take_in(services, coordinator.handle, letter), ended)

    # Time.

    def _pass_time(self) -> bool:
        if super()._pass_time():
            self._rounds = 0
            return True
        asked = self.clients.ready(set())
        if asked:
            self._ask(asked[0])
            return True
        if self._losses and self.rng.random() < 0.5:
            self._lose()  # nothing is under way that would notice
        unsettled = self.unsettled()
        if not unsettled:
            return False
        self._rounds += 1
        require(self._rounds <= MOST_ROUNDS + self._spoilt, f"nothing moves any more: {'; '.join(unsettled)}")
        self._idled += 1
        # The sweep looks at each call that waits, which is never idle for three rounds.
        rounds = self._idled if self.family.documents else self._rounds
        self.clock.advance(UNSENT_MS + 1 if rounds % 3 else HOUR_MS)
        self.trace.append(f"idle, on to {self.clock.now_ms()}")
        for slice_ in self._slices():
            self._sweep(slice_)
        self._supervise("timeouts", lambda: detect_timeouts(self.services()))
        return True

    def _next_visible(self) -> list[int | None]:
        return [*super()._next_visible(), self.queues.next_visible(DEAD)]

    def unsettled(self) -> list[str]:
        """What the schedules have still to mend: runs that go on, and stores that say otherwise than the journal."""
        found = []
        for run_id in self.runs:
            chain = self.audit.chains.get(run_id)
            if chain is None or chain.status not in ENDED:
                found.append(f"{run_id} is {chain.status if chain else 'not begun'}")
                continue
            stored = self.store.inner.snapshot(run_id, ("meta",))
            if stored and stored["meta"]["cid"] != chain.items[-1].id:
                found.append(f"the store has {run_id} as of commit {stored['meta']['no']} of {chain.items[-1].no}")
        return found


def _passing(strand: Strand) -> None:
    """A schedule that dies or fails runs again another time."""
    if strand.error is not None and not isinstance(strand.error, Killed | Unavailable):
        raise strand.error
