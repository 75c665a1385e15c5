"""The limits of SPEC 17, and how a document may lower them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from chalicelib.domain.problem_list import ProblemList, pointer

Json = Any


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one deployment, or of one workflow that lowers them."""

    #: Nodes per run.
    nodes: int = 10_000
    #: Edges per run.
    edges: int = 50_000
    #: Items of one map.
    map_items: int = 100_000
    #: Bytes of a workflow document as compact JSON in UTF-8.
    document_bytes: int = 1 << 20
    #: Bytes of a run's input held inline; a larger one is an artifact.
    input_bytes: int = 256 << 10
    #: Bytes of one artifact.
    artifact_bytes: int = 100 << 20
    #: Commits per run.
    hops: int = 1_000_000
    #: Iterations of one loop.
    loop_iterations: int = 10_000
    #: Patches per run.
    patches: int = 1_000
    #: Nodes that agents add to one run.
    agent_nodes: int = 200
    #: Depth of agents added by agents.
    patch_depth: int = 5
    #: Depth of child runs.
    child_depth: int = 10
    #: Bytes of an HTTP request body.
    body_bytes: int = 6 << 20


def lowered(limits: Limits, document: Json) -> Limits:
    """The limits that hold for a workflow: the deployment's, lowered by the document's `limits`. Ignores bad values."""
    return lower(limits, document, ProblemList())


def hops_allowed(limits: Limits, document: dict[str, Json]) -> int:
    """The commits that a run of this document may have: as `lowered` says, without its cost, for every step."""
    given = (document.get("limits") or {}).get("hops")
    return limits.hops if given is None else min(given, limits.hops)


def lower(limits: Limits, document: Json, problems: ProblemList) -> Limits:
    """As `lowered`, and adds a `limit_raised` problem for every limit that the document sets above the deployment's."""
    given = document.get("limits") if isinstance(document, dict) else None
    if not isinstance(given, dict):
        return limits
    changes: dict[str, int] = {}
    for field in fields(Limits):
        value = given.get(field.name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            continue
        allowed = getattr(limits, field.name)
        if value > allowed:
            text = f"The limit `{field.name}` is {value}, above this deployment's {allowed}; set {allowed} or less."
            problems.add("limit_raised", pointer("limits", field.name), text)
        else:
            changes[field.name] = value
    return replace(limits, **changes)
