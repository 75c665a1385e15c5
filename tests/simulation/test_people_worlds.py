"""Worlds with far more people and events than others: all goes well in them, and they show all that matters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
import redis

from chalicelib.domain.journal import parse_item
from tests.simulation import generate_kinds
from tests.simulation.generate_people import add_crowd, add_event, add_human
from tests.simulation.showing import play
from tests.simulation.waiting_room import Ask
from tests.simulation.world import World

#: Plain, racing, rough, controlled.
SEEDS = (*range(2, 98, 32), *range(6, 246, 48), *range(5, 245, 16), *range(11, 139, 16))
#: More of the racing, rough and racing rough ones, while something rare has not been seen.
FURTHER = tuple(seed for at in range(24) for seed in (294 + 48 * at, 245 + 16 * at, 277 + 16 * 24 + 48 * at))

#: Where saying something has an effect.
AROUND = {f"{call}.{end}" for call in ("store.commit", "journal.append", "queues.send") for end in ("before", "after")}


@pytest.fixture(scope="module")
def worlds(world_redis: redis.Redis) -> Iterator[list[World]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate_kinds, "KINDS", (add_human, add_event, add_crowd))
        played, _ = play(world_redis, SEEDS, FURTHER, unseen)
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
    missing = set.intersection(*map(unseen, worlds)) - MANY
    assert not missing, f"never seen: {missing}"


def test_events_come_early_and_late_and_several_nodes_wait_for_one_name(worlds: list[World]) -> None:
    missing = set.intersection(*map(unseen, worlds)) & MANY
    assert not missing, f"never seen: {missing}"


def unseen(world: World) -> set[str]:
    """What has not happened to those that wait in this world."""
    return WANTED - {word for run_id in world.people.rooms for word in seen(world, run_id)}


def seen(world: World, run_id: str) -> Iterator[str]:
    """What has happened to those that wait in this run."""
    room = world.people.rooms[run_id]
    if room.most_waiting > 1:
        yield "two nodes wait for one name"
    if room.most_unused > 1:
        yield "two events wait for one node"
    for item in map(parse_item, (item.text for item in world.audit.chains[run_id].items)):
        if any(kind(room.over.get(token)) for token in (*item.cancelled, *item.lost)):
            yield "something is cancelled while it waits"
        text, status, error = item.body.get("settle") or ("", "", "")
        how = json.loads(error)["type"] if error else status
        if how == "COMPLETED" and kind(room.over.get(text)) == "human":
            output = json.loads(item.body["val"][0][1]).get("o")
            decided = isinstance(output, dict) and "approved" in output
            how = f"{output['approved']} by {output['by'] and 'people'}" if decided else "skipped"
        yield f"{kind(room.over.get(text))}: {how}"
        if how in ("True by None", "False by None"):
            yield "silence decides"


MANY = {"two nodes wait for one name", "two events wait for one node"}
WANTED = MANY | {
    "human: True by people", "human: False by people", "human: Rejected", "human: Timeout",
    "event: COMPLETED", "event: Timeout", "silence decides", "something is cancelled while it waits",
}  # fmt: skip


def kind(ask: Ask | None) -> str:
    """What the node of an execution waits for."""
    return "" if ask is None else "event" if "event" in ask.data else "human"
