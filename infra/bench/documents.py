"""The workflows that are measured: chains, branches that read earlier nodes, joins, and large graphs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

Json = Any

#: What a branch of an order workflow asks (SPEC 4).
EXPRESSION = "output.score >= 80 && ctx.enrich.output.revenue > 100000"


def task(name: str, params: Json = None) -> dict[str, Json]:
    """A function node; without params its config is constant."""
    config: dict[str, Json] = {"handler": "echo"}
    if params is not None:
        config["params"] = params
    return {"id": name, "type": "function", "config": config}


def edge(source: str, target: str) -> dict[str, Json]:
    """A plain edge."""
    return {"from": source, "to": target}


def chain(length: int) -> dict[str, Json]:
    """Function nodes one after another: every hop is one settlement and one new task."""
    names = [f"n{i}" for i in range(length)]
    return {"nodes": [task(name, {"n": 1}) for name in names], "edges": list(map(edge, names, names[1:]))}


def reading_chain(length: int) -> dict[str, Json]:
    """A chain in which each node reads the first one's output: what it reads is not at hand."""
    names = [f"n{i}" for i in range(length)]
    nodes = [task(names[0], {"n": 1}), *[task(name, {"n": f"${{ctx.{names[0]}.output.n + 1}}"}) for name in names[1:]]]
    return {"nodes": nodes, "edges": list(map(edge, names, names[1:]))}


def branches(length: int) -> dict[str, Json]:
    """A chain of tasks, each with a branch block whose rule reads its output and an earlier node."""
    nodes: list[dict[str, Json]] = [task("enrich", {"revenue": 200_000, "score": 90})]
    for i in range(length - 1):
        node = task(f"n{i}", {"score": 90})
        if i < length - 2:
            rule = {"condition": {"type": "cel", "expression": EXPRESSION}, "next_nodes": [f"n{i + 1}"]}
            node["branch"] = {"rules": [rule]}
        nodes.append(node)
    return {"nodes": nodes, "edges": [edge("enrich", "n0")]}


def join(width: int) -> dict[str, Json]:
    """One node, `width` nodes after it, one node that waits for all of them."""
    names = [f"n{i}" for i in range(width)]
    nodes = [task("first"), *[task(name) for name in names], task("last")]
    return {"nodes": nodes, "edges": [*[edge("first", n) for n in names], *[edge(n, "last") for n in names]]}


def lanes(nodes: int, width: int = 10) -> dict[str, Json]:
    """About `nodes` nodes: `width` chains side by side between one first and one last node."""
    depth = max(1, (nodes - 2) // width)
    rows = [[f"n{lane}_{i}" for i in range(depth)] for lane in range(width)]
    edges = [edge("first", row[0]) for row in rows] + [edge(row[-1], "last") for row in rows]
    edges += [edge(a, b) for row in rows for a, b in pairwise(row)]
    return {"nodes": [task("first"), *[task(name) for row in rows for name in row], task("last")], "edges": edges}
