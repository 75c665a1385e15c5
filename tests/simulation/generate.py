"""Makes random valid workflows, and workers whose answers depend on nothing but node, scope and attempt.

Workflows are built from nested pieces with one entry and one exit. With `confluent=True` a document is of one of two
kinds, so that its end does not depend on the schedule: either paths may race for a join (and then nothing may stop the
run early or change variables), or steps with nothing beside them may do so (and then nothing races).
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
from typing import Any

from tests.simulation.generate_calls import LEVELS
from tests.simulation.generate_grown import let_agents_in
from tests.simulation.generate_maps import MANY, SIZES, item_of
from tests.simulation.generate_pieces import Pieces
from tests.simulation.generate_text import Around, reference, template
from tests.simulation.reference_agents import grown
from tests.simulation.reference_graph import Scope
from tests.simulation.reference_state import UNDO_ATTEMPTS, Behave, Outcome, node_of

ERRORS = ("Boom", "Flaky")


def workflow(
    rng: random.Random,
    *,
    size: int = 15,
    confluent: bool = True,
    mixed: bool = False,
    level: int = LEVELS,
    sure: bool = False,
) -> dict[str, Any]:
    """A valid document of about `size` nodes, for an input as `run_input` makes it; `mixed`: of all node types.

    `level` is how far down the saved workflows are that it may call; a `sure` one completes but for its `output`, where
    it does not let its branches finish.
    """
    races = not confluent or rng.random() < 0.4 or sure
    pieces = Pieces(rng, size, races=races, confluent=confluent, mixed=mixed)
    pieces.level = level
    document: dict[str, Any] = {"name": "generated", "nodes": pieces.nodes, "edges": pieces.edges}
    if rng.random() < 0.4:
        document["on_failure"] = pieces.on_failure = rng.choice(["fail_fast", "finish_branches"])
    chains = rng.choice([1, 1, 1, 1, 2, 3])
    here = Around(variables=("v0", "v1"), serial=chains == 1 or not confluent, tail=True)
    ends = [pieces.series(here) for _ in range(chains)]
    if chains > 1 and all(piece.exit for piece in ends) and rng.random() < 0.5:
        join = pieces.leaf(here.inside(), plain=True)
        for piece in ends:
            pieces.edge(str(piece.exit), join.entry)
    document["vars"] = pieces.variables
    if rng.random() < 0.4:
        document["output"] = _output(rng, here, pieces)
    _undo(document)
    let_agents_in(document, races=races)
    return document


def _undo(document: dict[str, Any]) -> None:
    """Let some runs that fail be rolled back. An undo reads what no order of cancelled work changes."""
    rng = random.Random(json.dumps(document))
    if document.get("on_failure") == "finish_branches" or rng.random() < 0.6:
        return
    document["on_failure"] = "compensate"
    params = {"undo": "${output}", "v": "${vars.v0}"}
    for node in document["nodes"]:
        if node["type"] in ("fail", "succeed") or (rng.random() < 0.3 and node["type"] != "map"):
            continue
        own = {**params, "of": ["${item}", "${index}"]} if node["type"] == "map" else params
        if rng.random() < 0.3:
            node["compensate"] = {"type": "transform", "config": {"value": rng.choice([own, "${output.none.n}"])}}
            continue
        node["compensate"] = {"type": "function", "config": {"handler": "echo", "params": own}}
        node.setdefault("metadata", {}).setdefault("sim", {})["undo"] = rng.choice([0.0, 0.2, 0.6])
        if rng.random() < 0.5:
            node["compensate"]["retry"] = {"max_attempts": 2, "backoff_ms": 1}


def _output(rng: random.Random, here: Around, pieces: Pieces) -> Any:
    names = rng.sample([node["id"] for node in pieces.nodes], k=min(3, len(pieces.nodes)))
    seen = {name: f"${{{reference(name)}.status}}" for name in names}
    wanted = f"${{{reference(names[0])}.output.n}}" if rng.random() < 0.1 else "${vars.v0}"
    return {"seen": seen, "wanted": wanted, "more": template(rng, here)}


def run_input(rng: random.Random, document: dict[str, Any] | None = None) -> dict[str, Any]:
    """An input that generated workflows understand; with many items where the document has a map over them."""
    given: dict[str, Any] = {"x": rng.randrange(5), "items": [rng.randrange(9) for _ in range(rng.randrange(4))]}
    if document is not None and any(node.get("config", {}).get("items") == MANY for node in document["nodes"]):
        given["many"] = list(range(rng.choice(SIZES)))
    return given


def behaviour(rng: random.Random, document: dict[str, Any]) -> Behave:
    """Workers for a document: the same answer whenever the same attempt is asked for.

    A node fails only where its `metadata.sim` says so: `fail` is the share of failing attempts, `undo` that of what
    undoes it, `final` the share of failures that are not retryable, `error` their one type. Outputs are
    `{"n": 0..4, "node": id}`, with `next_nodes` where a branch needs them, and `items` where it says `items`.
    """
    seed = rng.getrandbits(64)
    nodes = {node["id"]: node for node in grown(document)["nodes"]}

    @functools.cache
    def behave(name: str, scope: Scope, attempt: int) -> Outcome:
        digest = hashlib.sha256(f"{seed}|{name}|{scope!r}|{attempt}".encode()).digest()
        chance = random.Random(int.from_bytes(digest[:8], "big"))
        node = nodes[node_of(name)]
        odds = node.get("metadata", {}).get("sim", {})
        if chance.random() < odds.get("undo" if attempt > UNDO_ATTEMPTS else "fail", 0.0):
            error = odds.get("error") or chance.choice(ERRORS)
            return Outcome("failed", None, error, chance.random() >= odds.get("final", 0.0))
        output: dict[str, Any] = {"n": chance.randrange(5), "node": name}
        choices = node.get("branch", {}).get("available_next_nodes", [])
        if "items" in odds:
            output["items"] = [item_of(chance) for _ in range(chance.randrange(6))]
        if choices:
            output["next_nodes"] = chance.sample(choices, k=chance.randrange(len(choices) + 1))
        return Outcome(output=output)

    return behave
