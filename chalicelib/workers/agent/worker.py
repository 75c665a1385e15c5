"""Works `agent` tasks: puts one attempt together, runs its loop, and keeps its transcript."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.agent_tools import DEFAULT_MAX_TURNS, may_add
from chalicelib.domain.errors import TaskError, Unavailable
from chalicelib.engine.notes import Notes
from chalicelib.engine.task import HandOn, Task
from chalicelib.engine.work_result import as_json, canonical
from chalicelib.workers.agent.asking import Patience
from chalicelib.workers.agent.beats import beating
from chalicelib.workers.agent.calls import Caller, tool_pool
from chalicelib.workers.agent.checkpoints import Checkpoints
from chalicelib.workers.agent.config_check import check_config
from chalicelib.workers.agent.fence import fence_of
from chalicelib.workers.agent.graft_api import GraftApi
from chalicelib.workers.agent.loop import Loop
from chalicelib.workers.agent.model import Message, Provider, whole
from chalicelib.workers.agent.prices import Prices, open_purse
from chalicelib.workers.agent.prompt import first_message, system_prompt
from chalicelib.workers.agent.tool_specs import specs_of
from chalicelib.workers.agent.tools import Toolbox, ToolParts
from chalicelib.workers.http_client import HttpClient
from chalicelib.workers.own_api import ApiRefused, client_for

Json = Any
_log = logging.getLogger("graft.agent")


@dataclass(frozen=True, slots=True)
class AgentParts:
    """What a deployment gives its agents."""

    tools: ToolParts
    notes: Notes
    #: Provider's name -> makes it for a task.
    providers: Mapping[str, Callable[[Task], Provider]]
    prices: Prices
    #: Waits that many seconds.
    pause: Callable[[float], None]
    #: Makes the client for the base URL of Graft's own API.
    client: Callable[[str], HttpClient] = client_for
    #: Makes the pool that runs the calls of one turn.
    pool: Callable[[], Executor] = tool_pool


class AgentWorker:
    """Runs agents."""

    def __init__(self, parts: AgentParts) -> None:
        self._parts = parts

    def run(self, task: Task) -> Json:
        """The agent's answer.

        Raises TaskError; Unavailable and HandOn where the same job is to be gone on with by another delivery.
        """
        config = task.config
        agent = task.agent if isinstance(task.agent, dict) else {}
        check_config(config, sorted(self._parts.providers))
        with beating(task.beat, agent.get("heartbeat_ms")):
            loop = self._loop(task, config)
            try:
                limit = config.get("max_turns") or DEFAULT_MAX_TURNS
                output = loop.run(config.get("model") or "", limit, config.get("output_schema"))
            except (HandOn, Unavailable):
                raise
            except Exception as error:
                self._close(task, loop, error)
                raise
            self._close(task, loop, None)
            return output

    def _loop(self, task: Task, config: dict[str, Json]) -> Loop:
        parts, fence, log = self._parts, fence_of(task.job_id), Checkpoints(self._parts.notes, task.job_id)
        functions = (config.get("allow") or {}).get("functions") or []
        specs = specs_of(config.get("tools") or [], functions)
        api = GraftApi(task, parts.pause, parts.client)
        caller = Caller(
            Toolbox(task, api, parts.tools, functions),
            {spec.name: spec for spec in specs},
            log,
            task.vault,
            parts.tools.artifacts,
            fence,
            parts.pool,
        )
        purse = open_purse(config, parts.prices)
        begun = log.find("start")
        if begun is None:
            log.past_the_end()
            system = system_prompt(task, fence, specs, config.get("output_schema"))
            first = first_message(task, fence, _graph(api), _types(config))
            begun = log.once("start", task.vault.redact_json({"system": system, "first": first}))
        provider = parts.providers[config["provider"]](task)
        patience = Patience(task, parts.pause)
        messages = [Message("user", begun["first"])]
        return Loop(task, provider, patience, caller, log, purse, specs, begun["system"], messages)

    def _close(self, task: Task, loop: Loop, error: Exception | None) -> None:
        """Keep the transcript, and say what was used. Raises Unavailable where it cannot be kept."""
        task.metadata.update(loop.metadata())
        transcript = {
            "run_id": task.run_id,
            "node_id": task.node_id,
            "attempt": task.attempt,
            "provider": task.config["provider"],
            "model": task.config.get("model"),
            "system": loop.system,
            "messages": [message.as_json() for message in loop.messages],
            "turns": [{"input_tokens": t.input_tokens, "output_tokens": t.output_tokens} for t in loop.turns],
            **loop.purse.as_metadata(),
        }
        if error is not None:
            kind = error.type if isinstance(error, TaskError) else type(error).__name__
            transcript["error"] = {"type": kind, "message": str(error)}
        body = canonical(task.vault.redact_json(as_json(whole(transcript))))
        task.metadata["transcript"] = self._parts.tools.artifacts.put(body)


def _graph(api: GraftApi) -> Json:
    try:
        return api.workflow()
    except ApiRefused as refusal:
        text = f"the run's workflow cannot be read with this attempt's credential: {refusal}"
        raise TaskError("TaskFailed", text, retryable=False) from refusal


def _types(config: dict[str, Json]) -> list[str]:
    return may_add(config) if "patch_workflow" in (config.get("tools") or []) else []
