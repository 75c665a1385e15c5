"""Agents in the reference, in generated documents, and in the worlds: a case for each way that a script may go."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import redis

from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.limits import Limits
from tests.simulation import generate_kinds
from tests.simulation.check import MIXED
from tests.simulation.family import Family
from tests.simulation.generate import behaviour, run_input, workflow
from tests.simulation.generate_agents import add_agent
from tests.simulation.reference import run
from tests.simulation.reference_agents import grown, play
from tests.simulation.reference_state import Outcome
from tests.simulation.showing import play as play_worlds
from tests.simulation.world import World

WELL, BUSY, LATER = Outcome(), Outcome("failed", error="Boom"), Outcome("failed", error="Flaky")
SILENT = Outcome("failed", error="Timeout")
SCHEMA = {"type": "object", "required": ["n"]}


def turn(read: int = 10, written: int = 1, **what: Any) -> dict[str, Any]:
    return {"usage": {"input_tokens": read, "output_tokens": written}, **what}


CALLS = turn(calls=[{"tool": "get_workflow"}])
TEXT, JSON, WRONG = turn(text="ok"), turn(output={"n": 1}), turn(text="{}")

# (rule, turns, further config, how the model is, what comes of it, tokens)
CASES: list[tuple[str, list[Any], dict[str, Any], Outcome, Any, int]] = [
    ("the first turn without calls is the answer", [CALLS, TEXT, WRONG], {}, WELL, "ok", 22),
    ("with a schema it is JSON", [JSON], {"output_schema": SCHEMA}, WELL, {"n": 1}, 11),
    ("a wrong answer is asked for once more", [WRONG, JSON], {"output_schema": SCHEMA}, WELL, {"n": 1}, 22),
    ("and not twice", [TEXT, WRONG, JSON], {"output_schema": SCHEMA}, WELL, ("OutputInvalid", True), 22),
    ("a script may be too short", [CALLS], {}, WELL, ("TaskFailed", False), 11),
    ("turns are limited", [CALLS, TEXT], {"max_turns": 1}, WELL, ("BudgetExceeded", False), 11),
    ("a limit that is met is kept", [CALLS, TEXT], {"max_turns": 2, "budget": {"tokens": 22}}, WELL, "ok", 22),
    ("tokens are limited", [CALLS, TEXT], {"budget": {"tokens": 21}}, WELL, ("BudgetExceeded", False), 22),
    ("USD are limited", [TEXT], {"model": "gold", "budget": {"usd": 4.4e-5}}, WELL, ("BudgetExceeded", False), 11),
    ("what has no price costs nothing", [TEXT], {"budget": {"usd": 4.4e-5}}, WELL, "ok", 11),
    ("a model may be busy from the start", [CALLS, TEXT], {}, BUSY, ("ModelUnavailable", True), 0),
    ("or later", [CALLS, TEXT], {}, LATER, ("ModelUnavailable", True), 11),
    ("what nobody hears of is not counted", [TEXT], {}, SILENT, ("Timeout", True), 0),
]


@pytest.mark.parametrize(
    ("turns", "config", "mood", "wanted", "tokens"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_a_script_is_played(turns, config, mood, wanted, tokens):
    outcome, used = play({"turns": turns, **config}, mood)
    assert ((outcome.error, outcome.retryable) if outcome.status == "failed" else outcome.output) == wanted
    assert used["tokens"] == tokens


def test_prices_are_per_million_tokens():
    assert play({"turns": [turn(100, 20, text="ok")], "model": "gold"}, WELL)[1]["nano_usd"] == 600_000


AGENT = {"id": "a", "type": "agent", "retry": {"max_attempts": 2}, "config": {"turns": [CALLS, TEXT]}}
ADDED = {"nodes": [{"id": "p", "type": "pass"}], "edges": [{"from": "a", "to": "p"}, {"from": "p", "to": "z"}]}
GROWING = {
    "nodes": [{**AGENT, "metadata": {"sim": {"grows": ADDED}}}, {"id": "z", "type": "pass"}],
    "edges": [{"from": "a", "to": "z"}],
}


def test_what_an_agent_adds_runs_behind_it_and_usage_counts_every_attempt():
    result = run(grown(GROWING), {}, lambda name, scope, attempt: LATER if attempt == 1 else WELL)
    assert (result.status, result.output) == ("COMPLETED", {"z": {"a": "ok", "p": "ok"}})
    assert result.used == {"tokens": 33}
    assert grown({"nodes": [AGENT], "edges": []})["nodes"] == [AGENT]


def made(seed: int, *, confluent: bool) -> tuple[dict[str, Any], Any, Any]:
    rng = random.Random(seed)
    document = workflow(rng, confluent=confluent, mixed=True)
    return document, run_input(rng, document), behaviour(rng, document)


def test_documents_with_agents_compile_grown_or_not_and_end_the_same_under_every_schedule():
    features: Counter[str] = Counter()
    family = Family.drawn(1)
    for seed in [*range(400), 980]:  # the last has an agent that sets a variable, which is rare
        document, given, behave = made(seed, confluent=True)
        agents = [node for node in document["nodes"] if node["type"] == "agent"]
        if not agents:
            continue
        for each in (document, grown(document)):
            compile_workflow(each, limits=Limits())
        wanted = run(grown(document), given, behave, calls=family.anyone()).agreed()
        for schedule in range(5):
            found = run(grown(document), given, behave, random.Random(schedule), calls=family.anyone())
            assert found.agreed() == wanted, f"seed {seed}, schedule {schedule}"
        features["grown"] += grown(document) is not document
        for node in agents:
            features.update({*node["config"], *node.keys() & {"retry", "branch", "loop", "set", "compensate"}})
            features.update(call["tool"] for turn in node["config"]["turns"] for call in turn.get("calls", ()))
    wanted = {"grown", "output_schema", "budget", "max_turns", "model", "retry", "branch", "loop", "set", "compensate"}
    tools = {"get_workflow", "patch_workflow", "call_function", "execute_pipeline", "no_such_tool"}
    assert (wanted | tools) - features.keys() == set()


def test_agents_meet_everything_in_the_worlds(world_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers die, overlap, hand on and go on; patches are taken, refused and lost; limits and models end attempts."""
    monkeypatch.setattr(generate_kinds, "KINDS", (add_agent,))
    seeds = [seed for seed in range(640) if seed % 16 in MIXED]
    _, missing = play_worlds(world_redis, seeds[:12], seeds[12:], unseen)
    assert not missing, f"never seen: {missing}"


def unseen(world: World) -> set[str]:
    """What agents have not met in this world."""
    seen = {what for what, times in world.agents.seen.items() if times}
    return WANTED - seen - ({ANY_LIMIT} if seen & LIMITS else set())


LIMITS = {"BudgetExceeded", "OutputInvalid", "TaskFailed"}
ANY_LIMIT = "any of " + ", ".join(sorted(LIMITS))
WANTED = {
    "completed", "ModelUnavailable", "busy", "handed on", "overlapping", "resumed", "begun before", "tallied",
    "patch: 200", "patch: 422", "patch: lost", "foreign request: 403", "died at notes.create.after", ANY_LIMIT,
}  # fmt: skip
