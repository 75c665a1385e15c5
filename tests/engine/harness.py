"""The engine in one process: in-memory AWS, a real embedded Redis, workers that answer at once, a clock that jumps."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable

import redis

from chalicelib.adapters.redis.store import RedisRunStore
from chalicelib.domain.breakpoints import with_breakpoints
from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.journal import expand
from chalicelib.domain.limits import Limits
from chalicelib.engine.history import load_state
from chalicelib.engine.plans import PlanStore
from chalicelib.engine.runs import StartRequest, start_run
from chalicelib.engine.services import Services
from chalicelib.engine.step import Coordinator
from tests.doubles.artifacts import MemoryArtifacts
from tests.doubles.directory import MemoryDirectory
from tests.doubles.journal import MemoryJournal
from tests.doubles.queues import MemoryQueues
from tests.doubles.schedules import MemorySchedules

SECRET = b"a secret for tests"


class TestClock:
    __test__ = False

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self.now = now

    def now_ms(self) -> int:
        return self.now


class TestIds:
    __test__ = False

    def __init__(self, seed: int = 0) -> None:
        self._count = itertools.count(1)
        self._random = random.Random(seed)

    def new(self) -> str:
        return f"c{next(self._count):011d}"

    def uniform(self) -> float:
        return self._random.random()


def callback_token(job_id: str, run_id: str, node_id: str, attempt: int, expires_ms: int) -> str:
    return f"callback-{node_id}-{attempt}-{expires_ms}"


def echo(message: dict) -> dict:
    """What a worker answers when nothing else is said: its params."""
    return {"status": "completed", "result": message["config"].get("params")}


class Harness:
    """Runs workflows to their end. `worker` answers a task message with status and result or error."""

    def __init__(self, client: redis.Redis, worker: Callable[[dict], dict] = echo, seed: int = 0) -> None:
        self.client, self.worker = client, worker
        self.clock, self.ids = TestClock(), TestIds(seed)
        self.directory = MemoryDirectory()
        self.journal = MemoryJournal(self.directory)
        self.queues = MemoryQueues(self.clock)
        self.artifacts = MemoryArtifacts()
        self.store = RedisRunStore(client)
        self.services = Services(
            stage="test",
            secret=SECRET,
            public_url="https://graft.test",
            limits=Limits(),
            clock=self.clock,
            ids=self.ids,
            journal=self.journal,
            directory=self.directory,
            queues=self.queues,
            artifacts=self.artifacts,
            schedules=MemorySchedules(self.queues),
            store=self.store,
            plans=PlanStore(self.artifacts, self.directory, self.store),
            callback_token=callback_token,
            has_handler=lambda name: True,
            has_queue=lambda name: True,
            pause=lambda seconds: setattr(self.clock, "now", self.clock.now + max(1, int(seconds * 1000))),
        )
        self.coordinator = Coordinator(self.services)
        self.tasks: list[dict] = []

    def start(self, document: dict, input: object = None, **options: object) -> str:
        plan = with_breakpoints(compile_workflow(document, limits=Limits()), options.pop("breakpoints", ()))
        request = StartRequest(
            "acme", "tester", plan, {"name": document.get("name"), "version": None}, input, **options
        )
        return start_run(self.services, request)

    def drain(self, limit: int = 10_000) -> None:
        """Deliver messages until nothing is left; time jumps to the next timer when all queues are idle."""
        for _ in range(limit):
            if not (self.settle_batch() or self.work_batch() or self.wait_for_timers()):
                return
        raise AssertionError("the run does not come to an end")

    def settle_batch(self) -> bool:
        batch = self.queues.receive("completion-signals")
        if batch:
            failed = self.coordinator.handle([message.body for message in batch])
            for position, message in enumerate(batch):
                if position not in failed:
                    self.queues.delete("completion-signals", message.receipt)
        return bool(batch)

    def work_batch(self) -> bool:
        worked = False
        for queue in ("tasks-function", "tasks-http"):
            for message in self.queues.receive(queue):
                task = json.loads(message.body)
                self.tasks.append(task)
                self.answer(task, self.worker(task))
                self.queues.delete(queue, message.receipt)
                worked = True
        return worked

    def answer(self, task: dict, answer: dict) -> None:
        from chalicelib.engine.ports import Outgoing

        signal = {"version": "1.0", **{k: task[k] for k in ("job_id", "run_id", "node_id")}, **answer}
        self.queues.send([Outgoing("completion-signals", json.dumps(signal))])

    def wait_for_timers(self) -> bool:
        schedules = self.services.schedules
        at = schedules.next_at()
        if self.queues.depth("completion-signals"):
            self.clock.now += 1000
        elif at is not None:
            self.clock.now = max(self.clock.now, at)
        else:
            return False
        schedules.fire(self.clock.now)
        return True

    def run(self, document: dict, input: object = None, **options: object) -> dict:
        """Start, drain, and return the run's meta."""
        run_id = self.start(document, input, **options)
        self.drain()
        return self.meta(run_id)

    def retire(self, run_id: str) -> None:
        """The run's keys are gone from the store."""
        meta = self.meta(run_id)
        self.store.retire(run_id, f"{meta['no']}|{meta['cid']}")

    def meta(self, run_id: str) -> dict:
        return self.store.snapshot(run_id, ("meta",))["meta"] | {"run_id": run_id}

    def output(self, run_id: str) -> object:
        meta = self.meta(run_id)
        ref = meta.get("output_ref")
        return json.loads(self.artifacts.get(ref) if ref else meta["output"])

    def events(self, run_id: str) -> list[dict]:
        items = self.journal.read(run_id, 0, 10_000)
        return [event for item in items for event in expand(item.text, run_id, lambda job: job.token)]

    def assert_fold_equals_store(self, run_id: str) -> None:
        """Folding the journal gives what the store holds (bar its lease and its not yet trimmed tail)."""
        folded = load_state(self.services, run_id)
        stored = self.store.snapshot(run_id)
        assert stored is not None
        for state in (folded, stored):
            state.pop("tail", None)
            state.pop("ready", None)
            for name in ("mark", "lease", "lease_until"):
                state["meta"].pop(name, None)
        assert stored == folded
