"""Worlds with far more people and events than others: all goes well in them, and they show all that matters."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator

import pytest
import redis

from chalicelib.domain.journal import parse_item
from tests.simulation import generate_kinds
from tests.simulation.check import check
from tests.simulation.generate_people import add_crowd, add_event, add_human
from tests.simulation.waiting_room import Ask
from tests.simulation.world import World

#: Plain, racing, rough, controlled.
SEEDS = (*range(2, 98, 32), *range(6, 246, 48), *range(5, 325, 16), *range(11, 171, 16))

#: Where saying something has an effect.
AROUND = {f"{call}.{end}" for call in ("store.commit", "journal.append", "queues.send") for end in ("before", "after")}


@pytest.fixture(scope="module")
def worlds(world_redis: redis.Redis) -> Iterator[list[World]]:
    logging.disable(logging.CRITICAL)  # the engine logs each failure that a world throws at it
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate_kinds, "KINDS", (add_human, add_event, add_crowd))
        played = [check(world_redis, seed) for seed in SEEDS]
    logging.disable(logging.NOTSET)
    yield played


def test_people_and_programs_are_answered_refused_killed_and_ask_again(worlds: list[World]) -> None:
    """Nobody but whoever may decide does, and only once; what was said is said again until it is answered."""
    answered = Counter(bool(errand.name) for world in worlds for errand, _ in world.people.answered)
    assert answered[True] > 20 and answered[False] > 20
    refused = {(name, errand.vain) for world in worlds for errand, name in world.people.refused}
    assert refused >= {("Conflict", False), ("Conflict", True), ("Forbidden", True)}
    lines = [line for world in worlds for line in world.trace if line.startswith("person") and " at " in line]
    for order in ("Killed", "Unavailable"):
        hit = {line.split(" at ")[1].split(":")[0] for line in lines if line.endswith(f": {order}")}
        assert hit & AROUND and len(hit) > 3, f"{order} came at {hit} only"


def test_waits_end_in_every_way(worlds: list[World]) -> None:
    """By votes for and against, by the policies of a timeout, by an event, by being cancelled."""
    seen: Counter[tuple[str, str]] = Counter()
    for world in worlds:
        for run_id, room in world.people.rooms.items():
            for item in map(parse_item, (item.text for item in world.audit.chains[run_id].items)):
                for token in (*item.cancelled, *item.lost):
                    seen[kind(room.over.get(token)), "CANCELLED"] += 1
                text, status, error = item.body.get("settle") or ("", "", "")
                how = json.loads(error)["type"] if error else status
                if how == "COMPLETED" and kind(room.over.get(text)) == "human":
                    output = json.loads(item.body["val"][0][1]).get("o")
                    decided = isinstance(output, dict) and "approved" in output
                    how = f"{output['approved']} by {output['by'] and 'people'}" if decided else "skipped"
                seen[kind(room.over.get(text)), how] += 1
    wanted = {"True by people", "False by people", "Rejected", "Timeout"}
    missing = {("human", how) for how in wanted} | {("event", how) for how in ("COMPLETED", "Timeout")}
    assert not missing - set(seen), f"never seen: {missing - set(seen)}"
    assert {"True by None", "False by None"} & {how for _, how in seen}, "nobody's silence decided anything"
    assert {("human", "CANCELLED"), ("event", "CANCELLED")} & set(seen), "nothing was cancelled while it waited"


def test_events_come_early_and_late_and_several_nodes_wait_for_one_name(worlds: list[World]) -> None:
    rooms = [room for world in worlds for room in world.people.rooms.values()]
    assert any(room.most_waiting > 1 for room in rooms), "no two nodes ever waited for one name"
    assert any(room.most_unused > 1 for room in rooms), "no two events ever waited for one node"


def kind(ask: Ask | None) -> str:
    """What the node of an execution waits for."""
    return "" if ask is None else "event" if "event" in ask.data else "human"
