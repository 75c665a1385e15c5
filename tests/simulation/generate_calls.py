"""Builds calls of saved workflows, and the small workflows that a world saves for them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from tests.simulation.generate_text import Around, number
from tests.simulation.reference_graph import Graph

if TYPE_CHECKING:
    from tests.simulation.generate_pieces import Pieces

Json = Any
#: Levels of saved workflows: those of level n call lower ones, the runs that a world starts call all.
LEVELS = 3
#: What a tag points at; a name alone means the newest of two versions.
TAGS = {"live": 1}
#: Calls itself as deep as it may, and fails there; the other handles that.
SELF = {
    "nodes": [{"id": "deeper", "type": "workflow", "config": {"workflow": "self", "input": "${input}"}}],
    "output": {"n": 1},
}
CAUGHT = {
    "nodes": [
        {"id": "deeper", "type": "workflow", "config": {"workflow": "caught", "input": {"x": "${input.x + 1}"}}},
        {"id": "last", "type": "function", "config": {"handler": "echo", "params": {"x": "${input.x}"}}},
        {"id": "end", "type": "pass"},
    ],
    "edges": [
        {"from": "deeper", "to": "last", "on": "failure"},
        {"from": "deeper", "to": "end"},
        {"from": "last", "to": "end"},
    ],
    "output": {"n": "${input.x}", "below": "${ctx.deeper.output}"},
}
#: Gives what it was given, whatever that is.
ECHO = {"nodes": [{"id": "same", "type": "pass"}]}
#: Refuses some inputs.
PICKY = {
    "input_schema": {"type": "object", "properties": {"x": {"maximum": 1}}},
    "nodes": [{"id": "same", "type": "pass"}],
    "output": {"n": "${input.x}"},
}
#: Nobody answers its only task: what calls it gives up, or it does so itself.
NEVER = {
    "nodes": [{"id": "silent", "type": "function", "config": {"handler": "echo"}, "metadata": {"sim": {"never": 1}}}]
}


def add_call(pieces: Pieces, here: Around) -> tuple[dict[str, Any], bool]:
    """A call that may fail where a failure is handled or may stay unhandled; where none is saved, another node."""
    if not pieces.level:
        return pieces.function(here), True
    if not here.calm and pieces.chance(0.15):
        return pieces.node("workflow", config={"workflow": "echo"}), False
    loose = pieces.may_fail(here) and pieces.chance(0.4)
    leaves = not loose and pieces.may_leave(here) and pieces.chance(0.5)
    made = _call(pieces, here, frail=loose or leaves)
    if leaves:
        pieces.rng.choice(here.frames).leaving.append((made["id"], None))
    return made, True


def guarded_step(pieces: Pieces, here: Around) -> dict[str, Any]:
    """A node that may fail, with ways on for success and failure: a function, or a call."""
    if pieces.mixed and pieces.level and pieces.chance(0.5):
        return _call(pieces, here, frail=not here.calm)
    return pieces.function(here, fails=0.0 if here.calm else 0.5)


def _call(pieces: Pieces, here: Around, *, frail: bool) -> dict[str, Any]:
    rng = pieces.rng
    level = min(rng.randrange(pieces.level), rng.randrange(pieces.level))
    name = f"{'frail' if frail else 'sure'}-{level}{rng.choice(['', '@1', '@live'])}"
    given: Json = {"x": f"${{{number(rng, here)}}}", "items": "${input.items}"}
    if frail and pieces.chance(0.3):
        name = rng.choice(["self", "picky", "nothing", "sure-0@9", "sure-0@none"])
    elif not frail and pieces.chance(0.1):
        name = "caught"
    if frail and pieces.chance(0.1):
        given = "${input.missing.deep}"
    made = pieces.node("workflow", config={"workflow": name, "input": given})
    if pieces.chance(0.4):
        made["retry"] = {"max_attempts": rng.choice([2, 3]), "backoff_ms": 1}
    return made


def call_body(pieces: Pieces, *, frail: bool) -> dict[str, Any]:
    """What a map does for each item where that is a run of its own."""
    rng = pieces.rng
    given = {"x": "${index}", "items": "${input.items}", "item": "${item}"}
    name = f"{'frail' if frail else 'sure'}-{rng.randrange(pieces.level)}"
    body: dict[str, Any] = {"type": "workflow", "config": {"workflow": name, "input": given}}
    if pieces.chance(0.4):
        body["retry"] = {"max_attempts": 2, "backoff_ms": 1}
    return body


def saved(rng: random.Random) -> dict[str, list[Json]]:
    """The workflows that a world saves: name -> its versions from the first on.

    All but one give an object with an integer `n`. Sure ones always complete, and no end depends on a schedule.
    """
    found: dict[str, list[Json]] = {}
    for level in range(LEVELS):
        found[f"sure-{level}"] = [_generated(rng, level, f"sure-{level}-v{n}", sure=True) for n in (1, 2)]
        found[f"frail-{level}"] = [_frail(rng, level, f"frail-{level}")]
    depth = {"limits": {"child_depth": rng.choice([1, 2])}}
    return {**found, "self": [{**SELF, **depth}], "caught": [{**CAUGHT, **depth}], "echo": [ECHO], "picky": [PICKY]}


def _generated(rng: random.Random, level: int, name: str, *, sure: bool) -> Json:
    """A small workflow that calls lower ones, with one error at most: which of several is first is up to chance."""
    from tests.simulation.generate import workflow

    while True:
        made = workflow(rng, size=3, mixed=True, level=level, sure=sure)
        calls = not level or any(node["type"] == "workflow" for node in made["nodes"])
        if calls and made.get("on_failure") != "finish_branches":
            output = {"n": "${vars.v0 + input.x}", "by": name}
            for node in [node for node in made["nodes"] if node["type"] == "succeed"]:
                node["config"] = {"output": output}
            return {**made, "name": name, "output": output}


def _frail(rng: random.Random, level: int, name: str) -> Json:
    """One that begins with a step that often fails."""
    made = _generated(rng, level, name, sure=False)
    config = {"handler": "echo", "params": {"x": "${input.x}"}}
    first = {"id": "may", "type": "function", "config": config, "metadata": {"sim": {"fail": 0.5, "final": 0.3}}}
    edges = [{"from": "may", "to": entry} for entry in Graph(made).entries]
    return {**made, "nodes": [first, *made["nodes"]], "edges": [*edges, *made["edges"]]}
