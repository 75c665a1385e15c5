"""What an `agent` node's config allows: its tools, and the capabilities of the credential that its attempts get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.domain.ir import Node
from chalicelib.domain.node_types import AVAILABLE_TYPES

Json = Any
TOOLS = ("get_workflow", "patch_workflow", "http_request", "call_function", "execute_pipeline")
PROVIDERS = ("bedrock", "openai", "scripted")
#: Turns of an attempt where the config names none.
DEFAULT_MAX_TURNS = 20
#: What an agent's credential may do (SPEC 13).
SCOPES = ("runs:patch", "runs:read")
#: Members of `allow` that bound nothing where they are absent. `secrets` bounds always.
OPEN = ("node_types", "functions", "queues", "workflows")


def capabilities(config: Mapping[str, Json]) -> dict[str, Json]:
    """What an agent of this config may add to its run by patches; see `domain.capabilities`."""
    allow = config.get("allow") or {}
    caps: dict[str, Json] = {name: sorted(set(allow[name])) for name in OPEN if allow.get(name) is not None}
    caps["secrets"] = sorted(set(allow.get("secrets") or ()))
    budget = {name: limit for name, limit in (config.get("budget") or {}).items() if limit is not None}
    return {**caps, "budget": dict(sorted(budget.items()))} if budget else caps


def node_capabilities(node: Node | None) -> dict[str, Json] | None:
    """What patches by this node may add; None where its type bounds nothing."""
    return capabilities(node.config.value) if node is not None and node.type == "agent" else None


def may_add(config: Mapping[str, Json]) -> list[str]:
    """The node types that an agent of this config may add, sorted."""
    allowed = (config.get("allow") or {}).get("node_types")
    return sorted(AVAILABLE_TYPES if allowed is None else AVAILABLE_TYPES & set(allowed))
