"""One seeded world: coordinators over one store, their clients and workers, and a scheduler that owns all chance.

The scheduler chooses every event: which step goes on to its next I/O call, which dies there, what is delivered, when
and how often, and how time passes. The same seed gives the same world to the last event.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from chalicelib.adapters.redis.store import RedisRunStore
from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.fold import fold
from chalicelib.domain.ids import parse_job_id
from chalicelib.domain.ir import Plan
from chalicelib.domain.journal import parse_item
from chalicelib.domain.limits import Limits
from chalicelib.engine.plans import PlanStore
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.runs import StartRequest, start_run
from chalicelib.engine.services import Services
from chalicelib.engine.step import Coordinator
from tests.doubles.artifacts import MemoryArtifacts
from tests.doubles.clock import ManualClock, SeededIds
from tests.doubles.directory import MemoryDirectory
from tests.doubles.queues import Received
from tests.doubles.schedules import MemorySchedules
from tests.simulation.agents import AGENT_TASKS, Agents
from tests.simulation.drawn import TIMEOUT_MS, SimulatedRun, draw
from tests.simulation.family import Family
from tests.simulation.invariants import Audit, require
from tests.simulation.people import Errand, People
from tests.simulation.ports import SIGNALS, WatchedJournal, WatchedQueues, WatchedStore, pausing
from tests.simulation.reference_state import UNDO_ATTEMPTS, named
from tests.simulation.strands import Killed, Strand, Strands
from tests.simulation.unheard import UNHEARD

Json = Any
SECRET = b"a secret of simulated worlds"
#: Events after which a world counts as hanging.
MOST_EVENTS = 20_000
#: Where workers take tasks: the last is the queue of `queue` nodes.
TASKS = ("tasks-function", "tasks-http", "tasks-own")
SIZES = (1, 1, 2, 3, 5, 10)
Option = tuple[float, Callable[[], None]]


@dataclass(frozen=True)
class Chaos:
    """How rough this world is."""

    #: Chance that an I/O call kills its step, and that it fails with Unavailable; how often at most.
    kill: float
    refuse: float
    harm: int
    #: Signals delivered again, at any time; chance that an acknowledgement is lost.
    repeats: int
    unacknowledged: float

    @classmethod
    def draw(cls, rng: random.Random) -> Chaos:
        """A calm world now and then, a rough one mostly."""
        return cls(
            kill=rng.choice([0, 0.01, 0.05, 0.15]),
            refuse=rng.choice([0, 0, 0.03, 0.1]),
            harm=rng.choice([3, 10, 30]),
            repeats=rng.choice([0, 3, 10]),
            unacknowledged=rng.choice([0, 0.05, 0.2]),
        )


class World:
    """Runs a seed to its end. `trace` tells what happened, an event a line."""

    def __init__(self, client: redis.Redis, seed: int, *, racing: bool, mixed: bool = False) -> None:
        self.client, self.seed = client, seed
        self.rng = random.Random(f"world {seed}")
        self.chaos = Chaos.draw(self.rng)
        self.trace: list[str] = []
        self.clock, self.ids = ManualClock(1_800_000_000_000), SeededIds(seed)
        self.strands, self.audit = Strands(), Audit(client, SECRET, TIMEOUT_MS)
        at = self.strands.at
        self.store = WatchedStore(RedisRunStore(client), at, self.audit)
        self.directory, self.artifacts = MemoryDirectory(at), MemoryArtifacts(at)
        self.journal = WatchedJournal(self.directory, at, self.audit)
        self.queues = WatchedQueues(self.clock, at, self.rng, self.audit)
        self.schedules = MemorySchedules(self.queues, at)
        self.runs = {run.run_id: run for run in draw(self.rng, seed, racing=racing, mixed=mixed)}
        self.family = Family.drawn(seed) if mixed else Family(seed)
        self.people = People(seed, SECRET, self.audit, racing)
        self._waiting = list(self.runs.values())
        self._idle = [self._coordinator() for _ in range(self.rng.choice([1, 2, 2, 3]))]
        self._harm, self._repeats = self.chaos.harm, self.chaos.repeats
        self.agents = Agents(self, self._spawn)

    def services(self) -> Services:
        """What one process has: the common ports, its own caches."""
        return Services(
            stage="test", secret=SECRET, public_url="https://graft.test", limits=Limits(), clock=self.clock,
            ids=self.ids, journal=self.journal, directory=self.directory, queues=self.queues, artifacts=self.artifacts,
            schedules=self.schedules, store=self.store, plans=PlanStore(self.artifacts, self.directory, self.store),
            callback_token=lambda job, run, node, attempt, expires: f"callback-{node}-{attempt}-{expires}",
            has_handler=lambda name: True, has_queue=lambda name: True,
            pause=pausing(self.clock, self.rng, self.strands.at),
        )  # fmt: skip

    def _coordinator(self) -> Coordinator:
        return Coordinator(self.services())

    def play(self) -> None:
        """Run to the end: every run has ended, no message is left. Then repeat some signals: nothing may change."""
        try:
            self.family.save(self.services(), self.runs.values())
            self._drain()
            before = {run_id: _lasting(self.state(run_id)) for run_id in self.runs}
            for body in self.rng.sample(self.queues.carried, min(5, len(self.queues.carried))):
                self.queues.send([Outgoing(SIGNALS, body)])
            self._drain()
            for run_id, state in before.items():
                require(_lasting(self.state(run_id)) == state, f"run {run_id} has changed after its end")
        finally:
            self.strands.close()

    def let_go(self) -> None:
        """What happens to runs some time after their end; here no schedule runs."""

    def folded(self, run_id: str) -> dict[str, dict[str, str]]:
        """The run's hashes as its journal says."""
        return fold(parse_item(item.text) for item in self.audit.chains[run_id].items)

    def state(self, run_id: str) -> dict[str, dict[str, str]]:
        """The run's hashes without what is the store's own business; of a run that has left the store, as folded."""
        state = self.store.inner.snapshot(run_id) or self.folded(run_id)
        for name in ("tail", "ready"):
            state.pop(name)
        for name in ("mark", "lease", "lease_until"):
            state["meta"].pop(name, None)
        return state

    def _drain(self) -> None:
        for _ in range(MOST_EVENTS):
            if not self._event():
                return
        raise AssertionError(f"the world does not come to an end; its last event: {self.trace[-1]}")

    def _event(self) -> bool:
        """One event chosen by chance among the possible ones. False when none is left."""
        options = self._options()
        if not options and not self._pass_time():
            return False
        options += self._chances()
        weights, actions = zip(*options, strict=True)
        self.rng.choices(actions, weights)[0]()
        return True

    def _options(self) -> list[Option]:
        """What there is to do, each with its weight."""
        now = self.clock.now_ms()
        visible = {queue: (self.queues.next_visible(queue) or now + 1) <= now for queue in (SIGNALS, *TASKS)}
        options: list[Option] = []
        options += [(6 * strand.laziness, lambda s=strand: self._resume(s)) for strand in self.strands.open]
        if self._idle and visible[SIGNALS]:
            options.append((3, self._deliver))
        options += [(3, lambda q=queue: self._work(q)) for queue in TASKS if visible[queue]]
        if self._waiting:
            options.append((1, self._start))
        return options + self.agents.options()

    def _chances(self) -> list[Option]:
        """What may happen besides, while there is something to do."""
        chances: list[Option] = [(0.1, lambda: self._tick(self.rng.choice([1, 100, 3000])))]
        if self._repeats and self.queues.carried:
            chances.append((0.3, self._repeat))
        if self.people.ready(self.runs):
            chances.append((self.people.weight, self._say))
        return chances + self.agents.chances()

    def _tick(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds)
        self.trace.append(f"time passes: {milliseconds} ms")

    def _pass_time(self) -> bool:
        """Nothing can happen now but that somebody says something: on to the next message or schedule."""
        if self.people.ready(self.runs):
            self._say()
            return True
        due = [time for time in self._next_visible() if time is not None]
        if not due:
            return False
        self.clock.advance_to(min(due))
        self.schedules.fire(self.clock.now_ms())
        self.trace.append(f"on to {self.clock.now_ms()}")
        return True

    def _next_visible(self) -> list[int | None]:
        """When the next message or schedule can come."""
        return [self.queues.next_visible(queue) for queue in (SIGNALS, *TASKS, AGENT_TASKS)] + [
            self.schedules.next_at()
        ]

    def _resume(self, strand: Strand) -> None:
        order = self._harm_to(strand)
        self.trace.append(f"{strand.name} at {strand.where}" + (f": {type(order).__name__}" if order else ""))
        self.strands.resume(strand, order)
        for run_id in sorted(self.audit.chains.keys() - self.runs.keys()):
            self._adopt(self.family.child(self.audit.chains[run_id].items[0], self.runs))
        if strand.done:
            strand.ended(strand)

    def _adopt(self, run: SimulatedRun) -> None:
        """A call has started a child: it is a run of this world as others are."""
        self.runs[run.run_id] = run

    def _harm_to(self, strand: Strand) -> BaseException | None:
        if not self._harm:
            return None
        dice = self.rng.random()
        if dice < self.chaos.kill:
            self._harm -= 1
            return Killed()
        if dice < self.chaos.kill + self.chaos.refuse and strand.where not in ("start", "pause"):
            self._harm -= 1
            return Unavailable(f"{strand.where} failed on purpose.")
        return None

    def _spawn(self, name: str, body: Callable[[], Any], end: Callable[[Strand], None]) -> None:
        laziness = self.rng.choice([1, 1, 1, 0.2, 0.02])
        self.strands.add(Strand(name, body, end, laziness, self.clock.now_ms()))

    def _start(self) -> None:
        """A client starts a run; when the start dies it is sent again."""
        run = self._waiting.pop(self.rng.randrange(len(self._waiting)))
        services = self.services()
        workflow = {"name": "generated", "version": None}
        request = StartRequest("acme", "tester", self._plan(run), workflow, run.input, run.run_id)

        def ended(strand: Strand) -> None:
            if isinstance(strand.error, Killed | Unavailable):
                self._start_again(run)
            elif strand.error is not None:
                raise strand.error

        self._spawn(f"start of {run.run_id}", lambda: start_run(services, request), ended)

    def _plan(self, run: SimulatedRun) -> Plan:
        return compile_workflow(run.document, limits=Limits())

    def _start_again(self, run: SimulatedRun) -> None:
        """The client heard no answer to its start."""
        self._waiting.append(run)

    def _deliver(self) -> None:
        """A batch of signals, of any runs, to one coordinator."""
        batch = self.queues.receive(SIGNALS, self.rng.choice(SIZES))
        if not batch:
            return  # what there was has become dead letters
        coordinator = self._idle.pop(self.rng.randrange(len(self._idle)))
        name = f"step {batch[0].receipt}"
        self.trace.append(f"{name} gets {[_short(message.body) for message in batch]}")

        def ended(strand: Strand) -> None:
            killed = isinstance(strand.error, Killed)
            self._idle.append(self._coordinator() if killed else coordinator)
            if strand.error is None:
                self._acknowledge(batch, strand.result)
            elif not isinstance(strand.error, Killed | Unavailable):
                raise strand.error

        self._spawn(name, lambda: coordinator.handle([message.body for message in batch]), ended)

    def _acknowledge(self, batch: list[Received], failed: set[int]) -> None:
        for position, message in enumerate(batch):
            if position not in failed and self.rng.random() >= self.chaos.unacknowledged:
                self.queues.delete(SIGNALS, message.receipt)

    def _say(self) -> None:
        """A person or a program says what it has to say."""
        errand = self.people.take(self.rng.choice(self.people.open))
        self._spawn(f"person with {errand.key}", lambda: errand.act(self.services()), lambda s: self._said(errand, s))

    def _said(self, errand: Errand, strand: Strand) -> None:
        self.trace.append(f"{strand.name}: {strand.error!r}"[:200])
        self.people.heard(errand, strand)

    def _work(self, queue: str) -> None:
        """A worker takes some tasks, answers them or dies, before or after its answer."""
        for message in self.queues.receive(queue, self.rng.choice(SIZES)):
            task = json.loads(message.body)
            dice = self.rng.random() if self._harm else 1.0
            self.trace.append(f"a worker has {_short(message.body)}")
            if dice < self.chaos.kill:
                self._harm -= 1
                continue
            answer = self._answer(task)
            if answer is not None:
                self.queues.send([Outgoing(SIGNALS, answer, self.rng.choice([0, 0, 0, 1, 3]))])
            if dice >= self.chaos.kill + self.chaos.unacknowledged:
                self.queues.delete(queue, message.receipt)

    def _answer(self, task: dict[str, Json]) -> str | None:
        """The worker's signal; None where it will never be heard of again."""
        attempt = task["attempt"] + (UNDO_ATTEMPTS if "compensation" in task else 0)
        name = named(task["node_id"], task.get("index"))
        outcome = self.runs[task["run_id"]].behave(name, tuple(task["loops"].items()), attempt)
        signal = {"version": "1.0", **{name: task[name] for name in ("job_id", "run_id", "node_id")}}
        if self.family.documents:
            signal["metadata"] = {"tokens_used": zlib.crc32(task["job_id"].encode()) % 100}
        if outcome.error == UNHEARD and outcome.status == "failed":
            return None
        if outcome.status == "completed":
            return json.dumps({**signal, "status": "completed", "result": outcome.output})
        error = {"type": outcome.error, "message": outcome.error, "retryable": outcome.retryable}
        return json.dumps({**signal, "status": "failed", "error": error})

    def _repeat(self) -> None:
        """Any signal ever carried comes once more."""
        self._repeats -= 1
        body = self.rng.choice(self.queues.carried)
        self.trace.append(f"{_short(body)} comes again")
        self.queues.send([Outgoing(SIGNALS, body, self.rng.choice([0, 0, 2, 60]))])


def _lasting(state: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """A state less what a late signal, recorded as ignored, adds to it."""
    gone = {"no", "cid", "seq", "lseq"}
    meta = {name: text for name, text in state["meta"].items() if name not in gone and not name.startswith("late")}
    return {**state, "meta": meta}


def _short(body: str) -> str:
    """A message in a few words."""
    message = json.loads(body)
    jobs = message["jobs"] if "jobs" in message else [message["job_id"]]
    names = [f"{job.run_id}:{job.token}" for job in (parse_job_id(text, SECRET) for text in jobs)]
    return f"{message.get('kind', message.get('status', 'task'))} {' '.join(names)}"
