"""What an agent with a script comes to, and what it uses: SPEC 10 played naively, a turn at a time."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from jsonschema import Draft202012Validator

from tests.simulation.reference_state import Outcome

Json = Any
#: USD per million tokens read and written, by `provider/model`.
PRICES = {"scripted/gold": (3.0, 15.0)}


def failing_turn(config: Json, mood: Outcome) -> int:
    """The turn at which this attempt's model gives up; 0 for none."""
    if mood.status == "completed" or mood.error == "Timeout":
        return 0
    return min(2, len(config["turns"])) if mood.error == "Flaky" else 1


def play(config: Json, mood: Outcome) -> tuple[Outcome, Counter[str]]:
    """How the attempt ends, and its usage: tokens, and billionths of a USD. `mood` is how its model is."""
    used: Counter[str] = Counter()
    if mood.error == "Timeout" and mood.status == "failed":
        return mood, used  # nobody hears of it
    read_price, written_price = PRICES.get(f"scripted/{config.get('model')}", (0.0, 0.0))
    budget, repaired = config.get("budget") or {}, False
    for number in range(1, config.get("max_turns", 20) + 1):
        if number == failing_turn(config, mood):
            return Outcome("failed", None, "ModelUnavailable", True), used
        if number > len(config["turns"]):
            return Outcome("failed", None, "TaskFailed", False), used
        turn = config["turns"][number - 1]
        read, written = turn["usage"]["input_tokens"], turn["usage"]["output_tokens"]
        used["tokens"] += read + written
        used["nano_usd"] += round(read * read_price * 1000 + written * written_price * 1000)
        if used["tokens"] > budget.get("tokens", 1e9) or used["nano_usd"] > budget.get("usd", 1e9) * 1e9:
            break
        if turn.get("calls"):
            continue
        text = turn["text"] if "text" in turn else json.dumps(turn["output"])
        answer = _answer(text, config.get("output_schema"))
        if answer is not None:
            return Outcome(output=answer[0]), used
        if repaired:
            return Outcome("failed", None, "OutputInvalid", True), used
        repaired = True
    return Outcome("failed", None, "BudgetExceeded", False), used


def _answer(text: str, schema: Json) -> tuple[Json] | None:
    """The answer, in a tuple of its own; None where it breaks the schema."""
    if schema is None:
        return (text,)
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return (value,) if Draft202012Validator(schema).is_valid(value) else None


def grown(document: dict[str, Json]) -> dict[str, Json]:
    """The document with all that its agents add to it. What none of them comes to add is never reached."""
    nodes = [node for growth in _growth(document) for node in growth["nodes"]]
    edges = [edge for growth in _growth(document) for edge in growth["edges"]]
    return {**document, "nodes": document["nodes"] + nodes, "edges": document["edges"] + edges} if nodes else document


def added_by_agents(document: dict[str, Json]) -> list[str]:
    """The nodes that `grown` adds, or has added."""
    return [node["id"] for growth in _growth(document) for node in growth["nodes"]]


def _growth(document: dict[str, Json]) -> list[dict[str, Json]]:
    found = [node.get("metadata", {}).get("sim", {}).get("grows") for node in document["nodes"]]
    return [growth for growth in found if growth]
