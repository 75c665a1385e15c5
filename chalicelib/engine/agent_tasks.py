"""What an agent's task message carries besides: its credential, where its API is, which text came from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chalicelib.domain.agent_tools import SCOPES, capabilities
from chalicelib.domain.ids import Job
from chalicelib.domain.ir import Node
from chalicelib.domain.templates import data_spans
from chalicelib.engine.credentials import issue_token
from chalicelib.engine.services import Services

Json = Any
AGENT: Final = "agent"


def agent_part(
    services: Services,
    node: Node,
    job: Job,
    at_ms: int,
    ends_ms: int,
    config: Mapping[str, Json],
    values: Json,
    tenant: str,
) -> dict[str, Json]:
    """The member `agent` of the message of an attempt that began at `at_ms`: the same for every send of the job.

    The credential reaches this run alone, can patch and read it, and holds until the attempt ends.
    """
    token = issue_token(
        services.secret,
        sub=f"node:{node.id}",
        tenant=tenant,
        scopes=SCOPES,
        now_s=at_ms // 1000,
        ttl_s=-(-ends_ms // 1000) - at_ms // 1000,
        run_id=job.run_id,
        caps=capabilities(config),
        attempt=job.token,
    )
    part: dict[str, Json] = {"url": f"{services.public_url}/api/v1", "token": token}
    if node.heartbeat_ms is not None:
        part["heartbeat_ms"] = node.heartbeat_ms
    spans = data_spans(node.config, ("task",), values)
    return {**part, "data": spans} if spans else part
