"""What tests of agents share: workers with real clients and servers on loopback, and a stand-in of Graft's own API."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from chalicelib.engine.work import WorkPorts, work
from chalicelib.workers.agent.build import AgentSettings, agent_worker
from chalicelib.workers.function import FunctionWorker
from tests.doubles import MemoryNotes
from tests.workers.doubles import MemoryArtifacts, StepClock
from tests.workers.servers import JSON, Handler, Server, http_worker

RUN = {"nodes": [{"id": "boss", "type": "agent"}], "edges": []}


def graft_api(patched: Callable[[dict], tuple[int, Any]] | None = None) -> Callable[[Handler], None]:
    """Answers as the routes of one run do. `patched` answers a patch: (status, body)."""

    def answer(h: Handler) -> None:
        if h.command == "GET" and h.path.endswith("/workflow"):
            return h.reply(200, json.dumps(RUN).encode(), Content_Type=JSON, ETag='"0"')
        status, body = (patched or (lambda body: (200, {"revision": 1, "added": ["new"]})))(json.loads(h.body))
        return h.reply(status, json.dumps(body).encode(), Content_Type=JSON)

    return answer


class Rig:
    """One agent worker; `run` works one delivery of a job. What is waited for is noted, and takes no time."""

    def __init__(self, api: Server, *more: Server, handlers=None, **settings) -> None:
        self.notes, self.artifacts, self.clock = MemoryNotes(), MemoryArtifacts(), StepClock(step=1)
        self.waits: list[float] = []
        self.beats: list[dict] = []
        self.told: list[dict] = []
        self.api = api
        given = {"openai_base_url": "http://127.0.0.1:9/v1", "openai_key": lambda: "", **settings}
        functions = FunctionWorker() if handlers is None else FunctionWorker(handlers=handlers)
        parts = AgentSettings(self.artifacts, self.notes, self.clock, self.pause, **given)
        self.worker = agent_worker(parts, http_worker(*more), functions)

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.now += int(seconds * 1000)

    def ports(self, **more) -> WorkPorts:
        given = {"heartbeat": self.beats.append, "progress": self.told.append, **more}
        return WorkPorts(self.clock, self.artifacts, **given)

    def message(self, config: dict, **more) -> dict:
        """An agent's task message, its task's template parts marked by `data`."""
        agent = {"url": f"{self.api.url}/api/v1", "token": "agent-token", **more.pop("agent", {})}
        return {
            "version": "1.0", "job_id": "job-1", "run_id": "run-1", "node_id": "boss", "type": "agent", "attempt": 1,
            "iteration": 1, "deadline": None, "secrets": [], "tenant": "acme",
            "callback": {"url": "http://127.0.0.1:9/x", "token": "t"},
            "config": {"task": "Do it.", **config}, "agent": agent, **more,
        }  # fmt: skip

    def run(self, config: dict, on: dict | None = None, **more) -> dict:
        """The signal of one delivery."""
        return work(self.message(config, **more), {"agent": self.worker}, self.ports(**(on or {})))

    def transcript(self, signal: dict) -> dict:
        return json.loads(self.artifacts.get(signal["metadata"]["transcript"]))

    def events(self, kind: str) -> list[dict]:
        return [e["data"] for e in itertools.chain(*(s["events"] for s in self.told)) if e["type"] == kind]


def script(*turns: dict, **more) -> dict:
    """The config of a scripted agent with every tool."""
    tools = ["get_workflow", "patch_workflow", "http_request", "call_function", "execute_pipeline"]
    return {"provider": "scripted", "turns": list(turns), "tools": tools, **more}


def calls(*made: tuple[str, Any], **more) -> dict:
    """A turn of tool calls."""
    return {"calls": [{"tool": tool, "arguments": arguments} for tool, arguments in made], **more}


def patch(*operations: dict, description: str = "why") -> tuple[str, dict]:
    return "patch_workflow", {"operations": list(operations), "description": description}


ADD = {"op": "add", "path": "/nodes/-", "value": {"id": "new", "type": "pass"}}
