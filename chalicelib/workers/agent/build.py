"""Puts the agents of a deployment together from its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chalicelib.engine.notes import Notes
from chalicelib.engine.ports import Artifacts, Clock
from chalicelib.engine.task import Task
from chalicelib.workers.agent.bedrock import BedrockProvider
from chalicelib.workers.agent.model import Provider
from chalicelib.workers.agent.openai import OpenAiProvider
from chalicelib.workers.agent.prices import Prices
from chalicelib.workers.agent.scripted import ScriptedProvider
from chalicelib.workers.agent.tools import Pipeline, ToolParts
from chalicelib.workers.agent.worker import AgentParts, AgentWorker
from chalicelib.workers.function import FunctionWorker
from chalicelib.workers.http import HttpWorker
from chalicelib.workers.own_api import client_for


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What agents are made of, besides the http and function workers whose rules they share."""

    artifacts: Artifacts
    notes: Notes
    clock: Clock
    pause: Callable[[float], None]
    openai_base_url: str
    #: The API key, "" for none; asked for once for each question.
    openai_key: Callable[[], str]
    bedrock_region: str = ""
    bedrock_endpoint_url: str = ""
    #: Access key id, secret access key and session token; an empty id: the process's own credentials.
    bedrock_credentials: tuple[str, str, str] = field(default=("", "", ""), repr=False)
    prices: Prices | None = None
    pipeline: Pipeline | None = None


def agent_worker(settings: AgentSettings, http: HttpWorker, functions: FunctionWorker) -> AgentWorker:
    """The worker of `agent` tasks. Raises ConfigurationError for a base URL that is none."""
    key = settings.openai_key
    openai = OpenAiProvider(settings.openai_base_url, key, client_for(settings.openai_base_url), settings.clock)
    bedrock = BedrockProvider(
        settings.bedrock_region, settings.bedrock_endpoint_url, settings.clock, settings.bedrock_credentials
    )

    def with_key(task: Task) -> Provider:
        task.vault.hide_also(key(), "GRAFT_OPENAI_API_KEY")
        return openai

    providers: dict[str, Callable[[Task], Provider]] = {
        "openai": with_key,
        "bedrock": lambda task: bedrock,
        "scripted": lambda task: ScriptedProvider(task.config.get("turns") or (), settings.pause),
    }
    tools = ToolParts(http, functions, settings.artifacts, settings.pipeline)
    return AgentWorker(AgentParts(tools, settings.notes, providers, settings.prices or {}, settings.pause))
