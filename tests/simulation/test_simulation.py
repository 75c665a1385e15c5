"""Random workflows in random worlds, against the reference interpreter and the invariants; a seed replays each."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import redis

from tests.simulation.check import Failed, check
from tests.simulation.world import World

#: Seeds of a full run, and of one test: small enough to be shared out among processes.
SEEDS = int(os.environ.get("SIM_SEEDS", "1000"))
CHUNK = 25


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The engine logs each failure that a world throws at it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_world_ends_as_the_reference_does_and_keeps_its_invariants(first: int, world_redis: redis.Redis) -> None:
    for seed in range(first, min(first + CHUNK, SEEDS)):
        check(world_redis, seed)


@pytest.mark.skipif("SIM_SEED" not in os.environ, reason="replays the seed given as SIM_SEED")
def test_replay_of_one_seed(world_redis: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ["SIM_SEED"])
    try:
        world = check(world_redis, seed)
    except Failed as failure:
        pytest.fail(f"seed {seed}: {failure}")
    with capsys.disabled():
        print("\n".join(world.trace))


def test_a_seed_gives_the_same_world_again(world_redis: redis.Redis) -> None:
    worlds = [check(world_redis, seed) for seed in (3, 3)]
    assert worlds[0].trace == worlds[1].trace
    assert _journal(worlds[0]) == _journal(worlds[1])


def test_the_worlds_are_rough(world_redis: redis.Redis) -> None:
    """The seeds do what they are for: steps die and fail at most kinds of calls, signals and runs overlap."""
    worlds = [check(world_redis, seed) for seed in range(60)]
    lines = [line for world in worlds for line in world.trace]
    for order in ("Killed", "Unavailable"):
        hit = {line.split(" at ")[1].split(":")[0] for line in lines if line.endswith(order)}
        wanted = {f"{call}.{end}" for call in ("store.commit", "journal.append", "queues.send") for end in AROUND}
        assert wanted <= hit, f"{order} never came at {wanted - hit}"
    assert any(" comes again" in line for line in lines)
    assert any(len(world.runs) > 1 for world in worlds)


AROUND = ("before", "after")


def _journal(world: World) -> dict[str, list[str]]:
    return {run_id: [item.text for item in chain.items] for run_id, chain in world.audit.chains.items()}
