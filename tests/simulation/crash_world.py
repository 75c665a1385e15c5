"""A world in which one thing happens after the other, and one process dies at a chosen side effect.

Every call that changes something (store, journal, directory, queues, artifacts, schedules) is a side effect with a
number. A `Death` names one, and whether the process dies before or after it. What comes then is what the product has:
messages that were not acknowledged are delivered again, clients ask again, and the schedules run.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis

from chalicelib.adapters.redis.store import RedisRunStore
from chalicelib.domain.breakpoints import with_breakpoints
from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.limits import Limits
from chalicelib.domain.state import ENDED
from chalicelib.engine.catalog import Catalog
from chalicelib.engine.directory_keys import LIVE_SHARDS
from chalicelib.engine.plans import PlanStore
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.runs import StartRequest, start_run
from chalicelib.engine.services import Services
from chalicelib.engine.step import Coordinator
from chalicelib.engine.supervise import UNSENT_MS, detect_timeouts, sweep
from tests.doubles.artifacts import MemoryArtifacts
from tests.doubles.clock import ManualClock, SeededIds
from tests.doubles.directory import MemoryDirectory
from tests.doubles.queues import Received
from tests.doubles.schedules import MemorySchedules
from tests.simulation.crash_agents import Desk
from tests.simulation.invariants import Audit, require
from tests.simulation.ports import SIGNALS, WatchedJournal, WatchedQueues, WatchedStore
from tests.simulation.strands import Killed

Json = Any
SECRET = b"a secret of crashing worlds"
TASKS = ("tasks-function", "tasks-http", "tasks-agent", "work-text")
#: Times that all schedules run over an idle world before the run counts as stuck.
MOST_ROUNDS = 6
RUN = "crash"
#: What a worker says to a task; None: nothing, ever.
Answer = Callable[[Json], Json | None]
#: What a client does: it has the services of its own process, and the run's id.
Act = Callable[[Services, str], object]


@dataclass(frozen=True)
class Scenario:
    """A workflow, who answers its tasks, and what clients do besides the start."""

    document: Json
    input: Json
    answer: Answer
    #: Done by clients when a worker first has a task of this node, before it answers.
    during: dict[str, tuple[Act, ...]] = field(default_factory=dict)
    #: Done one by one when nothing moves any more; after each the run goes on. Here waiting nodes are answered.
    idle: tuple[Act, ...] = ()
    #: Saved workflows that it calls, by name.
    called: dict[str, Json] = field(default_factory=dict)
    #: Nodes before which the run pauses.
    breakpoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Death:
    """The process that does side effect `number` dies right before it, or right after."""

    number: int
    after: bool


class CrashWorld:
    """Plays one scenario to its end. `effects` are the side effects so far, by name."""

    def __init__(self, client: redis.Redis, scenario: Scenario, death: Death | None = None) -> None:
        client.flushall()
        self.scenario, self._death = scenario, death
        self.effects: list[str] = []
        self.clock, self._ids = ManualClock(1_800_000_000_000), SeededIds(7)
        self.audit, at = Audit(client, SECRET), self._at
        self.store = WatchedStore(RedisRunStore(client), at, self.audit)
        self.directory, self.artifacts = MemoryDirectory(at), MemoryArtifacts(at)
        self.journal = WatchedJournal(self.directory, at, self.audit)
        self.queues = WatchedQueues(self.clock, at, None, self.audit)
        self.schedules = MemorySchedules(self.queues, at)
        self._coordinator = Coordinator(self.services())
        self._during, self._idle = dict(scenario.during), list(scenario.idle)
        self.died, self.agents = False, Desk(self.services, at)

    def services(self) -> Services:
        """What a new process has."""
        return Services(
            stage="test", secret=SECRET, public_url="https://graft.test", limits=Limits(), clock=self.clock,
            ids=self._ids, journal=self.journal, directory=self.directory, queues=self.queues,
            artifacts=self.artifacts, schedules=self.schedules, store=self.store,
            plans=PlanStore(self.artifacts, self.directory, self.store),
            callback_token=lambda job, run, node, attempt, expires: f"callback-{node}-{attempt}-{expires}",
            has_handler=lambda name: True, has_queue=lambda name: True,
            pause=lambda seconds: self.clock.advance(max(1, int(seconds * 1000))),
        )  # fmt: skip

    def _at(self, where: str) -> None:
        operation, _, moment = where.rpartition(".")
        if moment == "before":
            self.effects.append(operation)
        if self._death and not self.died and moment in ("before", "after"):
            due = len(self.effects) == self._death.number and (moment == "after") == self._death.after
            if due:
                self.died = True
                raise Killed

    # Playing.

    def play(self) -> None:
        """Start the run and go on until it has ended and nothing is left. Raises Violation where it gets stuck."""
        self._save_called()
        plan = with_breakpoints(compile_workflow(self.scenario.document, limits=Limits()), self.scenario.breakpoints)
        request = StartRequest(
            "acme", "tester", plan, {"name": "example", "version": None}, self.scenario.input, run_id=RUN
        )
        self._client(lambda services, _: start_run(services, request))
        rounds = 0
        while True:
            if self._deliver() or self._work():
                continue
            if self._wait():
                continue
            if self._idle:
                self._client(self._idle.pop(0))
            elif self._ended():
                break
            else:
                rounds += 1
                require(rounds <= MOST_ROUNDS, f"the run is stuck: {self.audit.chains[RUN].status}")
                self._supervise()
        require(not self.queues.names(), f"messages are left in {self.queues.names()}")

    def _save_called(self) -> None:
        """What is there before the run is no side effect of it."""
        armed, self._death = self._death, None
        services = self.services()
        for name, document in self.scenario.called.items():
            plan = compile_workflow(document, limits=Limits())
            services.plans.save(plan)
            Catalog(services.directory, "acme").save(name, plan.hash, by="ann", at=self.clock.now_ms())
        self._death = armed
        self.effects.clear()

    def _client(self, act: Act) -> None:
        """A client asks again until it is answered; what it is refused it does not ask for again."""
        while True:
            try:
                act(self.services(), RUN)
                return
            except (Killed, Unavailable):
                self.clock.advance(3000)

    def _process(self, body: Callable[[], Any]) -> Any:
        """Run one Lambda; None where it died or failed."""
        try:
            return body()
        except Killed:
            self._coordinator = Coordinator(self.services())
        except Unavailable:
            pass
        return None

    def _deliver(self) -> bool:
        batch = self.queues.receive(SIGNALS)
        if batch:
            self._process(lambda: self._step(batch))
        return bool(batch)

    def _step(self, batch: list[Received]) -> None:
        failed = self._coordinator.handle([message.body for message in batch])
        for position, message in enumerate(batch):
            if position not in failed:
                self.queues.delete(SIGNALS, message.receipt)

    def _work(self) -> bool:
        for queue in TASKS:
            for message in self.queues.receive(queue, 1):
                task = json.loads(message.body)
                for act in self._during.pop(task["node_id"], ()):
                    self._client(act)
                self._process(lambda q=queue, m=message, t=task: self._answered(q, m, t))
                return True
        return False

    def _answered(self, queue: str, message: Received, task: Json) -> None:
        said = self.agents.answer(task) if task["type"] == "agent" else self.scenario.answer(task)
        if said is not None:
            head = {name: task[name] for name in ("version", "job_id", "run_id", "node_id")}
            self.queues.send([Outgoing(SIGNALS, json.dumps({**head, **said}))])
        self.queues.delete(queue, message.receipt)

    def _wait(self) -> bool:
        """On to the next message or schedule."""
        times = [self.queues.next_visible(queue) for queue in (SIGNALS, *TASKS)] + [self.schedules.next_at()]
        due = [time for time in times if time is not None]
        if due:
            self.clock.advance_to(min(due))
            self._process(lambda: self.schedules.fire(self.clock.now_ms()))
        return bool(due)

    def _supervise(self) -> None:
        self.clock.advance(UNSENT_MS + 1)
        for slice_ in sorted({zlib.crc32(run.encode()) % LIVE_SHARDS for run in self.audit.chains}):
            self._process(lambda one=slice_: sweep(self.services(), one))
        self._process(lambda: detect_timeouts(self.services()))

    def _ended(self) -> bool:
        """Whether the run and its children have, in the journal and in the store."""
        chains = self.audit.chains
        return RUN in chains and all(self._over(run, chain.status) for run, chain in chains.items())

    def _over(self, run: str, status: str) -> bool:
        stored = self.store.inner.snapshot(run, ("meta",))
        return status in ENDED and (not stored or stored["meta"]["status"] == status)
