"""Gives agents work that functions had in a generated document, and lets agents patch it."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.simulation.generate_agents import ALLOW, SCHEMA, TOOLS, limit, patch_call
from tests.simulation.generate_text import reference
from tests.simulation.reference_graph import Graph

Json = Any
#: Share of the functions of a document with agents that agents take over: of those that never fail, and of others.
SHARES = (0.06, 0.4)


def let_agents_in(document: dict[str, Json], *, races: bool) -> None:
    """Let agents do what functions did, and add a node on the way to what comes after them, where that waits for it.
    Documents without agents stay as they are."""
    if not _agents(document):
        return
    rng, graph = random.Random(json.dumps(document)), Graph(document)
    for node in document["nodes"]:
        if node["type"] == "function" and rng.random() < SHARES[_fails(node)] and not _gives_items(node):
            _take_over(rng, node, bool(graph.loops[node["id"]]))
    for node in _agents(document):
        turns = [turn for turn in node["config"]["turns"] if "calls" in turn]
        after = _next(graph, node["id"], races)
        if turns and after is not None and rng.random() < 0.8:
            _grow(rng, node, turns, after)


def _next(graph: Graph, name: str, races: bool) -> str | None:
    """What comes after the agent, and nothing else does: it waits for all its edges, and has not begun before."""
    out = graph.out[name]
    if len(out) != 1 or out[0].on != "success" or out[0].condition or out[0].roles:
        return None
    target = out[0].target
    inside = graph.loops[name] != graph.loops[target] or (races and graph.loops[name])
    waits = graph.nodes[target].get("join", "all") == "all"
    return target if waits and not inside else None


def _grow(rng: random.Random, agent: Json, turns: list[Json], after: str) -> None:
    name, new = agent["id"], f"by_{agent['id']}"
    made = rng.choice(
        [
            {"id": new, "type": "pass"},
            {"id": new, "type": "transform", "config": {"value": f"${{{reference(name)}.output}}"}},
            {"id": new, "type": "function", "config": {"handler": "echo", "params": {"v": "${input.x}"}}},
        ]
    )
    edges = [{"from": name, "to": new}, {"from": new, "to": after}]
    agent.setdefault("metadata", {}).setdefault("sim", {})["grows"] = {"nodes": [made], "edges": edges}
    agent["config"]["tools"] = TOOLS
    late = rng.choice(turns)
    late["calls"].append(patch_call(_operations(made, edges)))
    if rng.random() < 0.4:  # refused first, and tried again
        wrong = [*edges, {"from": new, "to": "nowhere"}]
        early = rng.choice(turns[: turns.index(late) + 1])
        early["calls"].insert(rng.randrange(len(early["calls"])), patch_call(_operations(made, wrong)))


def _operations(made: Json, edges: list[Json]) -> list[Json]:
    """What adds these, its templates kept for the node itself."""
    text = json.dumps(made).replace("${", "$${")
    operations = [{"op": "add", "path": "/nodes/-", "value": json.loads(text)}]
    return operations + [{"op": "add", "path": "/edges/-", "value": edge} for edge in edges]


def _agents(document: dict[str, Json]) -> list[dict[str, Json]]:
    return [node for node in document["nodes"] if node["type"] == "agent"]


def _fails(node: dict[str, Json]) -> bool:
    return "fail" in node.get("metadata", {}).get("sim", {})


def _gives_items(node: dict[str, Json]) -> bool:
    """Whether a map reads its items from the node: no agent gives some."""
    return "items" in node.get("metadata", {}).get("sim", {})


def _take_over(rng: random.Random, node: dict[str, Json], in_loop: bool) -> None:
    """An agent in place of the function: it calls a function with the same parameters, answers in the same form, and
    fails where the function may."""
    answer = {"n": "${iteration}" if in_loop and rng.random() < 0.5 else rng.randrange(5), "node": node["id"]}
    choices = node.get("branch", {}).get("available_next_nodes", [])
    if choices:
        answer["next_nodes"] = rng.sample(choices, k=rng.randrange(len(choices) + 1))
    node["type"], node["config"] = "agent", _config(node["config"]["params"], answer)
    if _fails(node) and rng.random() < 0.5:
        limit(rng, node["config"], fails=True)


def _config(params: Json, answer: Json) -> Json:
    call = {"tool": "call_function", "arguments": {"name": "tally", "params": params}}
    turns: list[Json] = [{"calls": [call]}, {"output": answer}]
    for turn in turns:
        turn["usage"] = {"input_tokens": 100, "output_tokens": 10}
    return {
        "task": "Do what the function did.", "provider": "scripted", "tools": ["call_function"], "allow": ALLOW,
        "turns": turns, "output_schema": SCHEMA,
    }  # fmt: skip
