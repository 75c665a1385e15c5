"""The agents of a world: their tasks are delivered, again and at the same time, to processes that die anywhere."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chalicelib.api.problems import Answer
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.ids import Token, parse_job_id, parse_token
from tests.doubles.notes import MemoryNotes
from tests.doubles.queues import Received
from tests.simulation.agent_api import Asked, Gateway
from tests.simulation.agent_process import AGENT_TASKS, Process, Surroundings
from tests.simulation.agent_trail import Trail, patches_of, used_by
from tests.simulation.invariants import require
from tests.simulation.lanes import Lanes
from tests.simulation.reference_agents import play
from tests.simulation.reference_state import Outcome
from tests.simulation.strands import Killed, Strand

if TYPE_CHECKING:
    from tests.simulation.world import Option, World

Json = Any
#: Starts a strand: its name, what it does, and who is told of its end.
Spawn = Callable[[str, Callable[[], Any], Callable[[Strand], None]], None]
#: Ways in which attempts of agents fail in these worlds; any other means that something broke.
FAILURES = {"ModelUnavailable", "BudgetExceeded", "OutputInvalid", "TaskFailed"}
#: Deliveries repeated while the first one is still at work, and requests of agents that come once more.
MOST_REPEATS = 3
#: Processes that die at their own records and calls, besides those that the world kills; how likely each time.
MOST_DEATHS, DEATH = 2, 0.03


class Agents:
    """Works the agents' tasks of one world. `seen` counts what happened, for tests of what the worlds show."""

    def __init__(self, world: World, spawn: Spawn) -> None:
        self._world, self._spawn, self.seen = world, spawn, Counter[str]()
        self._notes = MemoryNotes(world.strands.at)
        self._open: dict[str, Received] = {}
        self._asked: list[Asked] = []
        self._repeats, self._deaths = MOST_REPEATS, MOST_DEATHS
        #: Job id -> its first signal, less how long it took. What must not have happened, a sentence each.
        self._said: dict[str, Json] = {}
        self._wrong: list[str] = []
        #: Job id -> its run, of all that was delivered.
        self._jobs: dict[str, str] = {}

    # What can happen.

    def options(self) -> list[Option]:
        """A worker takes a task."""
        now, queues = self._world.clock.now_ms(), self._world.queues
        return [(3, self._take)] if (queues.next_visible(AGENT_TASKS) or now + 1) <= now else []

    def chances(self) -> list[Option]:
        """A delivery comes twice, or a request does, perhaps for another run."""
        if not self._repeats:
            return []
        found: list[Option] = [(0.05, self._deliver_again)] if self._open else []
        return [*found, (0.15, self._ask_again)] if self._asked else found

    def _take(self) -> None:
        [message] = self._world.queues.receive(AGENT_TASKS, 1)
        around, rng = self._surroundings(), self._world.rng
        process = Process(around, message.body, short=rng.random() < 0.15)
        name = f"agent {message.receipt} of {process.task['node_id']}"
        self._world.trace.append(f"{name} begins")
        self.seen["overlapping"] += any(other.body == message.body for other in self._open.values())
        self._open[message.receipt] = message
        self._jobs[process.task["job_id"]] = process.task["run_id"]

        def ended(strand: Strand) -> None:
            del self._open[message.receipt]
            self._heard(process, strand)
            if strand.error is None and rng.random() >= self._world.chaos.unacknowledged:
                self._world.queues.delete(AGENT_TASKS, message.receipt)

        self._spawn(name, process.run, ended)

    def _heard(self, process: Process, strand: Strand) -> None:
        """One delivery is over. Every one that answers a job says the same."""
        self.seen[f"died at {strand.where}"] += isinstance(strand.error, Killed)
        if strand.error is not None and not isinstance(strand.error, Killed | Unavailable):
            raise strand.error
        require(not self._wrong, "; ".join(self._wrong))
        signal = strand.result
        if signal is None:
            return
        said = {**signal, "metadata": {k: v for k, v in signal["metadata"].items() if k != "duration_ms"}}
        first = self._said.setdefault(signal["job_id"], said)
        require(first == said, f"two deliveries of one job answer differently: {first} {said}")
        kind = signal["error"]["type"] if signal["status"] == "failed" else "completed"
        self.seen[kind] += 1
        mood = self._mood(
            signal["run_id"], parse_token(parse_job_id(signal["job_id"], self._world.services().secret).token)
        )
        used = +play(process.task["config"], mood)[1]
        require(mood.error == "Timeout" or used_by(signal) == used, f"the script uses {used}: {signal}")
        require(kind in {"completed", *FAILURES}, f"an agent failed otherwise than its script: {signal}")

    def _deliver_again(self) -> None:
        self._repeats -= 1
        message = self._world.rng.choice(list(self._open.values()))
        self._world.trace.append(f"the agent's task of {message.receipt} comes again")
        self._world.queues.repeat(AGENT_TASKS, message.id)

    def _ask_again(self) -> None:
        """A request that lingered on the way, or one that somebody else makes with an agent's credential."""
        self._repeats -= 1
        rng, asked = self._world.rng, self._world.rng.choice(self._asked)
        sent = replace(asked, run_id=rng.choice(list(self._world.runs)))
        over = asked.attempt in self._world.audit.chains[asked.run_id].closed
        if over and rng.random() < 0.5:
            sent = asked.stolen()
        allowed = sent == asked

        def ended(strand: Strand) -> None:
            if strand.error is not None and not isinstance(strand.error, Killed | Unavailable):
                raise strand.error
            if strand.error is None:
                self._judge_late(sent, strand.result, allowed=allowed)

        self._spawn(f"late request of {asked.run_id}", lambda: sent.serve(self._world.services()), ended)

    def _judge_late(self, sent: Asked, answer: Answer, *, allowed: bool) -> None:
        """Only the same request may have an effect: it had it already, or the attempt is outstanding still."""
        self.seen[f"{'late' if allowed else 'foreign'} request: {answer.status}"] += 1
        refused = answer.status in (401, 403, 409, 503)
        require(allowed or refused, f"a credential of {sent.attempt} changed {sent.run_id}: {answer}")

    def _surroundings(self) -> Surroundings:
        world = self._world
        return Surroundings(
            services=world.services, notes=self._notes, at=world.strands.at,
            client=lambda url: Gateway(world.services, world.rng, self._request),
            pool=lambda: Lanes(world.strands, world.rng), rng=world.rng, mood=self._mood, fate=self._fate,
            saw=self._saw, wrong=self._wrong.append,
        )  # fmt: skip

    def _fate(self) -> None:
        if self._deaths and self._world.rng.random() < DEATH:
            self._deaths -= 1
            raise Killed

    def _saw(self, what: str) -> None:
        self.seen[what] += 1

    def _request(self, asked: Asked, how: str) -> None:
        """A request was made, and ended so."""
        if not how.isdigit() and how != "lost":
            self._wrong.append(f"a request of an agent broke the API: {how}")
        if asked.method == "POST":
            self._asked.append(asked)
            self.seen[f"patch: {how}"] += 1

    def _mood(self, run_id: str, token: Token) -> Outcome:
        return self._world.runs[run_id].behave(token.node, token.scope, token.attempt)

    def judge(self) -> None:
        """What agents told, changed and used is in the journals once, and nothing of it after its attempt ended."""
        require(not self._wrong, "; ".join(self._wrong))
        secret = self._world.services().secret
        for run_id, chain in self._world.audit.chains.items():
            said = {parse_job_id(job, secret).token: s for job, s in self._said.items() if s["run_id"] == run_id}
            jobs = [job for job, run in self._jobs.items() if run == run_id]
            patches = [patches_of(self._notes.bodies, job) for job in jobs]
            tokens = {parse_job_id(job, secret).token for job in jobs}
            Trail(run_id, tokens, said, dict(ChainMap(*patches))).judge(chain, self._world.state(run_id)["meta"])
