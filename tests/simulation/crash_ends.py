"""How a run of a crashing world ended, less what may differ between two runs of the same: times, ids, deliveries."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from chalicelib.domain.fold import fold
from chalicelib.domain.ids import parse_token
from chalicelib.domain.journal import parse_item
from chalicelib.domain.usage import usage
from chalicelib.engine.executions import standings
from chalicelib.engine.verify import verify_run
from tests.simulation.crash_world import RUN, CrashWorld
from tests.simulation.invariants import require

Json = Any


def end_of(world: CrashWorld) -> Json:
    """Status, output, error, revision, node states, executions, usage, values and variables. Raises Violation where the
    journal is not one chain, or the store says otherwise."""
    proof = verify_run(world.services(), "acme", RUN)
    require(proof["ok"], f"the journal does not prove the run: {proof['differences']}")
    state = fold(parse_item(item.text) for item in world.audit.chains[RUN].items)
    meta = state["meta"]
    world.agents.judge(RUN, world.audit.chains[RUN], meta)
    kept = {name: meta[name] for name in ("status", "output", "error", "rev", "epoch") if name in meta}
    return {
        **{name: _value(name, text) for name, text in kept.items()},
        "nodes": {name: standing.status for name, standing in sorted(standings(state).items())},
        "executions": _executions(state),
        "usage": usage(meta),
        "values": {key: _outcome(record) for key, record in sorted(state["val"].items())},
        "vars": {name: text.split("|", 2)[2] for name, text in sorted(state["vars"].items()) if "#" not in name},
    }


def _value(name: str, text: str) -> Json:
    return _timeless(json.loads(text)) if name in ("output", "error") else text


def _timeless(value: Json) -> Json:
    """The value less the times of the decisions in it, and the id of the child that an error comes from."""
    if isinstance(value, dict) and "child_run_id" in value:
        return {**value, "child_run_id": None}
    if isinstance(value, dict) and isinstance(value.get("decisions"), list):
        return {**value, "decisions": [{**decision, "at": None} for decision in value["decisions"]]}
    return value


def _executions(state: Json) -> Counter[Json]:
    tokens = [(parse_token(text), record.split("|")[3]) for text, record in state["done"].items()]
    return Counter((t.node, t.scope, t.epoch, t.attempt, s) for t, s in tokens if not t.node.startswith("$"))


def _outcome(record: str) -> Json:
    outcome = json.loads(record.split("|", 1)[1])
    return {name: _timeless(outcome.get(name)) for name in ("s", "o", "r", "e", "a")}
