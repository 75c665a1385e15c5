"""Compiles the documents of requests, and shows a compiled plan's graph."""

from __future__ import annotations

from typing import Any

from chalicelib.api.call import Call
from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.ir import Edge, Node, Plan

Json = Any


def compile_document(call: Call, document: Json) -> Plan:
    """The document's plan under the deployment's limits. Raises InvalidDocument with every problem."""
    services = call.services
    return compile_workflow(document, limits=services.limits, handlers=services.has_handler, queues=services.has_queue)


def graph_view(plan: Plan) -> dict[str, Json]:
    """The graph as it will be routed: implied edges of branches and loops too, aliases resolved."""
    return {
        "nodes": [_node(node) for node in plan.nodes.values()],
        "edges": [_edge(edge) for edge in plan.edges.values() if edge.kind != "veto"],
        "entries": list(plan.entries),
        "terminals": list(plan.terminals),
    }


def _node(node: Node) -> dict[str, Json]:
    view: dict[str, Json] = {"id": node.id, "type": node.type, "loops": list(node.loops)}
    if node.loop is not None:
        view["loop_back_to"] = node.loop.back_to
    return view


def _edge(edge: Edge) -> dict[str, Json]:
    view = {"from": edge.source, "to": edge.target, "on": edge.on, "kind": edge.kind}
    return view if edge.condition is None else {**view, "condition": edge.condition.spec}
