"""Builds agents with scripts: turns of tool calls, patches that are taken or refused, answers of all kinds, limits."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from tests.simulation.generate_text import Around, number, template

if TYPE_CHECKING:
    from tests.simulation.generate_pieces import Pieces

Json = Any
TOOLS = ["get_workflow", "patch_workflow", "call_function", "execute_pipeline"]
ALLOW = {"functions": ["tally", "echo"], "node_types": ["function", "pass", "transform"]}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n", "node"]}
#: Ways in which an agent fails whatever its model does.
FAILING = ("tokens", "usd", "turns", "schema", "script")
#: Agents of one workflow, besides those that take over from functions.
MOST = 1


def add_agent(pieces: Pieces, here: Around) -> tuple[dict[str, Json], bool]:
    """An agent; whether it certainly completes with an integer `n` in its output."""
    if sum(node["type"] == "agent" for node in pieces.nodes) >= MOST:
        return pieces.node("transform", config={"value": {"n": 1}}), True
    rng, fails = pieces.rng, pieces.may_fail(here) and pieces.chance(0.5)
    turns = [_calls(rng, here) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
    made = pieces.node("agent", config={"task": f"Look at {template_text(rng, here)}.", "provider": "scripted"})
    typed = rng.random() < 0.4
    answer: Json = {"output": {"n": f"${{{number(rng, here)}}}", "node": made["id"]}}
    answers = [answer] if typed else [{"text": template_text(rng, here)}]
    if typed and rng.random() < 0.3:
        answers.insert(0, {"text": rng.choice(["not JSON", '{"n": 1.5, "node": ""}'])})
    config = made["config"]
    config |= {"tools": tools_for(turns), "allow": ALLOW, "turns": [*turns, *answers]}
    config |= {"output_schema": SCHEMA} if typed else {}
    config |= {"model": "gold"} if rng.random() < 0.5 else {}
    for turn in config["turns"]:
        turn["usage"] = {"input_tokens": rng.randrange(900), "output_tokens": rng.randrange(90)}
    how = limit(rng, config, fails=fails and rng.random() < 0.5)
    if fails and not how:
        made["metadata"] = {"sim": {"fail": 0.5}}
    if fails and rng.random() < 0.6:
        made["retry"] = {"max_attempts": rng.choice([2, 3]), "backoff_ms": 1}
    return made, typed and not fails


def tools_for(turns: list[Json]) -> list[str]:
    """All tools where a patch is asked for; else no patches, which cost the prompt its longest part."""
    patches = any(call["tool"] == "patch_workflow" for turn in turns for call in turn["calls"])
    return TOOLS if patches else [tool for tool in TOOLS if tool != "patch_workflow"]


def template_text(rng: random.Random, here: Around) -> str:
    """A text with a template in it."""
    found = template(rng, here)
    return found if isinstance(found, str) and found.startswith("x=") else f"x is ${{{number(rng, here)}}}"


def limit(rng: random.Random, config: Json, *, fails: bool) -> str:
    """Limits that this script keeps, or breaks: then how."""
    turns = config["turns"]
    total = sum(sum(turn["usage"].values()) for turn in turns)
    kept = rng.choice([{}, {"budget": {"tokens": total}}, {"budget": {"usd": 1.0}}, {"max_turns": len(turns)}])
    how = rng.choice(FAILING) if fails else ""
    broken = {
        "tokens": {"budget": {"tokens": max(1, total // 2)}},
        "usd": {"model": "gold", "budget": {"usd": 0.000001}},
        "turns": {"max_turns": max(1, len(turns) - 1)},
    }
    config |= broken.get(how, kept)
    if how == "script":
        turns[-1] = {**_calls(rng, Around()), "usage": turns[-1]["usage"]}
    if how == "schema":
        config["output_schema"] = {"type": "boolean"}
    return how


def _calls(rng: random.Random, here: Around) -> Json:
    """A turn of tool calls; a model errs now and then."""
    kinds = [rng.choice(_KINDS) for _ in range(rng.choice([1, 1, 2, 3, 4]))]
    return {"text": "Let me see.", "calls": [kind(rng, here) for kind in kinds]}


def _tally(rng: random.Random, here: Around) -> Json:
    return _call("call_function", {"name": "tally", "params": {"v": template(rng, here)}})


def _forbidden(rng: random.Random, here: Around) -> Json:
    return _call("call_function", {"name": rng.choice(["send_email", "nobody"])})


def _look(rng: random.Random, here: Around) -> Json:
    return _call("get_workflow", {})


def _pipeline(rng: random.Random, here: Around) -> Json:
    rows = [{"n": rng.randrange(9)} for _ in range(3)]
    steps = [{"step": rng.choice(["table_sort", "sort"]), "by": "n"}]
    return _call("execute_pipeline", {"steps": steps, "data": rows})


def _refused(rng: random.Random, here: Around) -> Json:
    """A patch that breaks a rule: a type that is not allowed, an edge to nowhere, operations that are none."""
    bad = [
        {"op": "add", "path": "/nodes/-", "value": {"id": "leak", "type": "http", "config": {"url": "https://x.test"}}},
        {"op": "add", "path": "/edges/-", "value": {"from": "nowhere", "to": "nowhere_else"}},
        {"op": "remove", "path": "/nodes/nowhere"},
    ]
    return patch_call([rng.choice(bad)])


def _odd(rng: random.Random, here: Around) -> Json:
    return rng.choice([_call("no_such_tool", {}), _call("patch_workflow", {"operations": []})])


_KINDS = (_tally, _tally, _tally, _forbidden, _look, _pipeline, _refused, _odd)


def _call(tool: str, arguments: Json) -> Json:
    return {"tool": tool, "arguments": arguments}


def patch_call(operations: list[Json]) -> Json:
    return _call("patch_workflow", {"operations": operations, "description": "more"})
