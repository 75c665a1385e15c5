"""One delivery of an agent's task: the real loop in a process that stops at each of its calls, and may die there."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.domain.ids import Token, parse_job_id, parse_token
from chalicelib.domain.pipeline import run_pipeline
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.services import Services
from chalicelib.engine.task import HandOn, Task
from chalicelib.engine.work import WorkPorts, work
from chalicelib.functions import Context
from chalicelib.workers.address_guard import AddressGuard
from chalicelib.workers.agent.model import Provider, ProviderBusy, Question, Turn
from chalicelib.workers.agent.scripted import ScriptedProvider
from chalicelib.workers.agent.tools import ToolParts
from chalicelib.workers.agent.worker import AgentParts, AgentWorker
from chalicelib.workers.function import FunctionWorker
from chalicelib.workers.http import HttpWorker
from chalicelib.workers.http_client import HttpClient
from tests.doubles.faults import effect
from tests.doubles.notes import MemoryNotes
from tests.simulation.lanes import Lanes
from tests.simulation.reference_agents import PRICES, failing_turn
from tests.simulation.reference_state import Outcome

Json = Any
AGENT_TASKS, SIGNALS = "tasks-agent", "completion-signals"
#: Seconds left in a process that hands its task on after one turn.
SHORT_S = 50.0
#: Times that a model is busy for one process, where it is not to fail.
MOST_BUSY = 3
#: Function that agents call; its key says which call it is.
TALLY = "tally"


@dataclass(frozen=True)
class Surroundings:
    """What the processes of one world share."""

    services: Callable[[], Services]
    notes: MemoryNotes
    #: The stop around calls that are no port's.
    at: Callable[[str], None]
    client: Callable[[str], HttpClient]
    pool: Callable[[], Lanes]
    rng: random.Random
    #: How the model of an attempt is, by run, node, scope and attempt.
    mood: Callable[[str, Token], Outcome]
    #: Kills the process now and then.
    fate: Callable[[], None]
    #: Told of each thing worth knowing, and of what must not be.
    saw: Callable[[str], None]
    wrong: Callable[[str], None]


class Process:
    """One process that has one delivery of a task. Its view of the notes remembers what it may no longer do."""

    def __init__(self, around: Surroundings, text: str, *, short: bool = False) -> None:
        self._around, self._text, self._short = around, text, short
        self.task: dict[str, Json] = json.loads(text)
        #: Records that were whole when this process began what they record.
        self._done: set[str] = set()
        self._busy = 0

    def run(self) -> dict[str, Json] | None:
        """Work the task and send what comes of it, as `handlers.workers` does; the signal, or None for none."""
        try:
            signal = work(self.task, {"agent": self._worker()}, self._ports())
        except HandOn:
            self._around.saw("handed on")
            self._around.services().queues.send([Outgoing(AGENT_TASKS, self._text)])
            return None
        if not self._heard():
            self._around.saw("unheard")
        elif signal is not None:
            self._around.services().queues.send([Outgoing(SIGNALS, compact(signal))])
        return signal

    def _heard(self) -> bool:
        job = parse_job_id(self.task["job_id"], self._around.services().secret)
        return self._around.mood(job.run_id, parse_token(job.token)).error != "Timeout"

    def _ports(self) -> WorkPorts:
        services = self._around.services()
        left = (lambda: SHORT_S) if self._short else None
        return WorkPorts(services.clock, services.artifacts, progress=self._tell, time_left_s=left)

    def _tell(self, signal: Json) -> None:
        self._around.services().queues.send([Outgoing(SIGNALS, compact(signal))])

    def _worker(self) -> AgentWorker:
        services, around = self._around.services(), self._around
        functions = FunctionWorker(handlers={TALLY: self._tally})
        tools = ToolParts(HttpWorker(HttpClient(AddressGuard())), functions, services.artifacts, run_pipeline)
        providers: dict[str, Callable[[Task], Provider]] = {"scripted": self._model}
        return AgentWorker(AgentParts(tools, self, providers, PRICES, services.pause, around.client, around.pool))

    # What the agent does outside, and what it must not do again.

    def create(self, name: str, body: bytes) -> bytes | None:
        """Notes.create: of what is begun it remembers whether it was recorded whole already."""
        self._around.fate()
        there = self._around.notes.create(name, body)
        self._around.fate()
        whole = name.removesuffix("-begun")
        if there is not None and whole != name:
            self._around.saw("begun before")
            if whole in self._around.notes.bodies:
                self._done.add(whole.rpartition("/")[2])
        return there

    def get(self, name: str) -> bytes | None:
        """Notes.get."""
        there = self._around.notes.get(name)
        self._around.saw("resumed" if there is not None else "not recorded")
        return there

    def _tally(self, params: Json, context: Context) -> Json:
        _, turn, number = context.job_id.rsplit("-", 2)
        self._check(f"turn-{int(turn):04d}-call-{int(number):02d}", f"{context.node_id} calls {TALLY}")
        with effect(self._around.at, "function"):
            self._around.saw("tallied")
        self._around.fate()
        return params

    def _check(self, name: str, what: str) -> None:
        if name in self._done:
            self._around.wrong(f"{what} again, although {name} of {self.task['job_id'][-12:]} was recorded whole")

    def _model(self, task: Task) -> Provider:
        job = parse_job_id(task.job_id, self._around.services().secret)
        token = parse_token(job.token)
        script = ScriptedProvider(task.config.get("turns") or (), self._around.services().pause)
        failing = failing_turn(task.config, self._around.mood(job.run_id, token))
        return _Model(self, script, token, failing)

    def ask(self, script: ScriptedProvider, question: Question, seconds: float, token: Token, failing: int) -> Turn:
        """The model's turn; patches say in their description which attempt asks for them."""
        self._check(f"turn-{question.number:04d}", f"{token.node} asks its model")
        busy = self._busy < MOST_BUSY and self._around.rng.random() < 0.1
        if question.number == failing or busy:
            self._busy += 1
            self._around.services().pause(0)
            self._around.saw("busy")
            raise ProviderBusy("the model is busy", 0.001 if question.number == failing else None)
        turn = script.ask(question, seconds)
        return replace(turn, calls=tuple(_signed(call, token, question.number) for call in turn.calls))


@dataclass(frozen=True)
class _Model:
    """The script of one attempt, which fails where it is to."""

    process: Process
    script: ScriptedProvider
    token: Token
    failing: int

    def ask(self, question: Question, seconds: float) -> Turn:
        """See Provider."""
        return self.process.ask(self.script, question, seconds, self.token, self.failing)


def _signed(call: Any, token: Token, turn: int) -> Any:
    if call.name != "patch_workflow":
        return call
    return replace(call, arguments={**call.arguments, "description": f"{token.text} turn {turn} {call.id}"})
