"""The agents of a crashing world: the real loop, whose records, requests and reports are side effects as any others."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.domain.ids import parse_job_id
from chalicelib.domain.pipeline import run_pipeline
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.services import Services
from chalicelib.engine.work import WorkPorts, work
from chalicelib.workers.agent.scripted import ScriptedProvider
from chalicelib.workers.agent.tools import ToolParts
from chalicelib.workers.agent.worker import AgentParts, AgentWorker
from chalicelib.workers.function import FunctionWorker
from tests.doubles.faults import Fault
from tests.doubles.notes import MemoryNotes
from tests.simulation.agent_api import Gateway
from tests.simulation.agent_trail import Trail
from tests.simulation.crash_pages import Pages
from tests.simulation.invariants import Chain

Json = Any


class Desk:
    """Works the agents' tasks of one world, each delivery as a process of its own; what is recorded outlives them."""

    def __init__(self, services: Callable[[], Services], at: Fault) -> None:
        self._services, self._notes, self._said = services, MemoryNotes(at), dict[str, Json]()

    def answer(self, task: Json) -> Json | None:
        """The signal of one delivery."""
        services = self._services()
        gateway = Gateway(self._services, random.Random(len(self._notes.bodies)), lambda asked, how: None)
        tools = ToolParts(Pages(), FunctionWorker(), services.artifacts, run_pipeline)  # type: ignore[arg-type]
        providers = {"scripted": lambda task: ScriptedProvider(task.config["turns"], services.pause)}
        parts = AgentParts(tools, self._notes, providers, {}, services.pause, lambda url: gateway, OneByOne)
        ports = WorkPorts(services.clock, services.artifacts, progress=self._tell)
        signal = work(task, {"agent": AgentWorker(parts)}, ports)
        if signal is not None:
            self._said[parse_job_id(task["job_id"], services.secret).token] = signal
        return signal

    def _tell(self, signal: Json) -> None:
        self._services().queues.send([Outgoing("completion-signals", compact(signal))])

    def judge(self, run_id: str, chain: Chain, meta: dict[str, str]) -> None:
        """What agents told and used is there once. Raises Violation."""
        Trail(run_id, set(self._said), self._said, {}).judge(chain, meta)


class OneByOne(Executor):
    """Runs each piece when it is submitted: in these worlds one thing happens after the other."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        """Its future, done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **more))
        except Exception as error:
            future.set_exception(error)
        return future
