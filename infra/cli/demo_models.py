"""Which model plays the demo's agent: the script in its workflow, or a real one with the caller's own credentials."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from infra.cli.errors import CliError

Json = Any
AGENT = "analyst"


class Real(StrEnum):
    """Providers of real models."""

    OPENAI = "openai"
    BEDROCK = "bedrock"


#: Who is asked unless `--model` says otherwise: models that call tools.
MODELS = {Real.OPENAI: "gpt-4.1", Real.BEDROCK: "amazon.nova-pro-v1:0"}


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays the agent, and the settings that a stack needs for that."""

    provider: str
    model: str
    settings: Mapping[str, str]

    def plays(self, document: dict[str, Json]) -> dict[str, Json]:
        """The demo's document with this provider and model in its agent's config; nothing else differs."""
        if self.provider == "scripted":
            return document
        return {**document, "nodes": [self._node(node) for node in document["nodes"]]}

    def _node(self, node: dict[str, Json]) -> dict[str, Json]:
        if node["id"] != AGENT:
            return node
        config = {name: value for name, value in node["config"].items() if name != "turns"}
        return {**node, "config": {**config, "provider": self.provider, "model": self.model}}

    def sentence(self) -> str:
        """Who that is, for the person who watches."""
        if self.provider == "scripted":
            return (
                "The agent's turns are a fixed script in its workflow, so that this runs offline; what it does goes "
                "through the same tools, API and credential as a model's. `--real openai` or `--real bedrock` asks one."
            )
        return f"The agent is {self.model}, asked through {self.provider}: what it adds is its own idea."


def cast(real: Real | None, model: str | None, env: Mapping[str, str] | None = None) -> Cast:
    """Who plays. Raises CliError where a real model's credential is missing."""
    found = os.environ if env is None else env
    if real is None:
        if model is not None:
            raise CliError("--model names a real model: say whose by --real openai or --real bedrock.")
        return Cast("scripted", "", {})
    settings = _openai(found) if real is Real.OPENAI else _bedrock(found)
    return Cast(real.value, model or MODELS[real], settings)


def _openai(env: Mapping[str, str]) -> dict[str, str]:
    key = env.get("GRAFT_OPENAI_API_KEY") or env.get("OPENAI_API_KEY")
    if not key:
        raise CliError("--real openai needs a key: set OPENAI_API_KEY. Without --real the demo runs offline.")
    settings = {"GRAFT_OPENAI_API_KEY": key}
    url = env.get("GRAFT_OPENAI_BASE_URL") or env.get("OPENAI_BASE_URL")
    return {**settings, "GRAFT_OPENAI_BASE_URL": url} if url else settings


def _bedrock(env: Mapping[str, str]) -> dict[str, str]:
    """The caller's AWS credentials for Bedrock alone: all else of the stack stays with its stand-in."""
    # Imported late: nobody else on the command line waits for it.
    from boto3.session import Session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        session = Session()
        region = env.get("GRAFT_BEDROCK_REGION") or session.region_name
        credentials = session.get_credentials()
        if credentials is None:
            raise CliError(
                "--real bedrock needs AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "AWS_PROFILE. "
                "Without --real the demo runs offline."
            )
        if not region:
            raise CliError("--real bedrock needs a region: set AWS_DEFAULT_REGION or GRAFT_BEDROCK_REGION.")
        frozen = credentials.get_frozen_credentials()
        config = Config(ignore_configured_endpoint_urls=True)
        url = Session().client("bedrock-runtime", region_name=region, config=config).meta.endpoint_url
    except BotoCoreError as error:
        raise CliError(f"--real bedrock cannot use these AWS credentials: {error}") from None
    return {
        "GRAFT_BEDROCK_REGION": region,
        "GRAFT_BEDROCK_ENDPOINT_URL": env.get("GRAFT_BEDROCK_ENDPOINT_URL") or url,
        "GRAFT_BEDROCK_ACCESS_KEY_ID": frozen.access_key or "",
        "GRAFT_BEDROCK_SECRET_ACCESS_KEY": frozen.secret_key or "",
        "GRAFT_BEDROCK_SESSION_TOKEN": frozen.token or "",
    }
