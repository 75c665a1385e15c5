"""Says which joins wait, for which of their edges, and whether each edge can still be resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.domain.ids import parse_token
from chalicelib.domain.ir import Edge, Plan
from chalicelib.domain.journal import timestamp

Json = Any
#: Edges of one join that an answer shows, missing ones first where there are more; and sources that it names.
MOST_EDGES, MOST_NAMES = 200, 20
_RESOLVED = {"0": "not_taken", "1": "taken", "2": "veto"}


def waiting_joins(plan: Plan, state: Mapping[str, Mapping[str, str]]) -> list[dict[str, Json]]:
    """An entry per join that some edge has reached and that neither runs nor is skipped."""
    open_joins = [name for name, record in state["jn"].items() if record.endswith("|")]
    if not open_joins:
        return []
    alive = _alive(plan, state["tok"])
    times = {record.split("|", 1)[0]: int(record.split("|", 3)[2]) for record in state["done"].values()}
    found = [_join(plan, state, instance, alive, times) for instance in sorted(open_joins)]
    return [entry for entry in found if entry is not None]


def _join(
    plan: Plan, state: Mapping[str, Mapping[str, str]], instance: str, alive: set[str], times: dict[str, int]
) -> dict[str, Json] | None:
    token = parse_token(f"{instance}#0.0")
    node = plan.nodes.get(token.node)
    if node is None:
        return None
    edges = [_edge(plan.edges[key], state["ed"].get(f"{instance}|{key}"), alive, plan) for key in node.in_edges]
    missing = [edge for edge in edges if edge["state"] == "missing"]
    since = [times[no] for edge in edges if (no := edge.pop("commit")) in times]
    entry: dict[str, Json] = {
        "node_id": token.node,
        "iteration": token.iteration,
        "loops": token.loops,
        "waits_for": "join",
        "since": timestamp(min(since)) if since else None,
        "needs": node.join.need or "all",
        "edges": _shown(edges),
        "edges_total": len(edges),
        "missing": len(missing),
        "moved_by": _movers(sorted({str(edge["from"]) for edge in missing})),
        "problems": [],
    }
    if missing and not any(edge["can_come"] for edge in missing):
        text = "None of its missing edges can be resolved by what is outstanding: it cannot fill."
        entry["problems"].append(("join_cannot_fill", text))
    return entry


def _shown(edges: list[dict[str, Json]]) -> list[dict[str, Json]]:
    if len(edges) <= MOST_EDGES:
        return edges
    return sorted(edges, key=lambda edge: bool(edge["state"] != "missing"))[:MOST_EDGES]


def _movers(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"The end of {', '.join(names[:MOST_NAMES]) or 'nothing'}{more}."


def _edge(edge: Edge, record: str | None, alive: set[str], plan: Plan) -> dict[str, Json]:
    shown: dict[str, Json] = {"from": edge.source, "on": edge.on, "state": "missing", "commit": None}
    if record is not None:
        how, _, no = record.partition(":")
        return {**shown, "state": _RESOLVED.get(how, how), "commit": no}
    # An edge out of a loop's body may also be resolved by the loop's end.
    return {**shown, "can_come": bool(alive & {edge.source, *plan.nodes[edge.source].loops})}


def _alive(plan: Plan, outstanding: Mapping[str, str]) -> set[str]:
    """Nodes that may still run or be skipped: those outstanding, and all that follow them."""
    pending = [parse_token(name).node for name in outstanding]
    if any(name.startswith(("$start", "$fan:")) for name in pending):
        return set(plan.nodes)
    nodes = [name.split(":", 1)[-1] for name in pending]
    alive: set[str] = set()
    while nodes:
        name = nodes.pop()
        node = plan.nodes.get(name)
        if node is None or name in alive:
            continue
        alive.add(name)
        nodes += [plan.edges[key].target for key in node.out_edges]
        nodes += [node.loop.back_to] if node.loop else []
    return alive
