"""Random workflows in random worlds, against the reference interpreter and the invariants; a seed replays each."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator

import pytest
import redis

from chalicelib.domain.journal import expand
from tests.simulation import kin, seen_maps, showing
from tests.simulation.check import CONTROLLED, MIXED, ROUGH, Failed, check
from tests.simulation.controlled import ALL
from tests.simulation.rough import LOSSES, PORTS, RoughWorld
from tests.simulation.world import World

#: Seeds of a full run, and of one test: small enough to be shared out among processes.
SEEDS = int(os.environ.get("SIM_SEEDS", "2000"))
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


@pytest.mark.soak
@pytest.mark.skipif("SOAK_S" not in os.environ, reason="make soak says for how many seconds")
def test_worlds_for_as_long_as_is_given(world_redis: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
    """From a seed that nobody has tried: no other run begins at the same second."""
    first = seed = int(os.environ.get("SOAK_FIRST", str(int(time.time()) * 1000)))
    end = time.monotonic() + float(os.environ["SOAK_S"])
    with capsys.disabled():
        print(f"\nfirst seed: {first}", flush=True)
    while time.monotonic() < end:
        try:
            check(world_redis, seed)
        except Failed as failure:
            pytest.fail(f"seed {seed}: {failure}")
        seed += 1
    with capsys.disabled():
        print(f"{seed - first} worlds, up to seed {seed - 1}")


@pytest.mark.parametrize("seed", [0, 1, 3], ids=["plain", "rough", "controlled"])
def test_a_seed_gives_the_same_world_again(seed: int, world_redis: redis.Redis) -> None:
    worlds = [check(world_redis, seed) for _ in range(2)]
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


def test_the_rough_worlds_know_every_fault_and_every_client(world_redis: redis.Redis) -> None:
    """Data is lost in all ways, every port refuses, schedules and clients die; what they do happens all the same."""
    # A skip and a redrive apply at few of the moments that are drawn: the last seeds have some that do.
    seeds = [seed for seed in range(320) if seed % 4 == ROUGH or seed % 8 == CONTROLLED] + [707, 1667]
    worlds = [check(world_redis, seed) for seed in seeds]
    lines = [line for world in worlds for line in world.trace]
    for loss in LOSSES:
        assert f"loss: {loss}" in lines
    refused = {line.split(" at ")[1].split(".")[0] for line in lines if line.endswith(": Unavailable")}
    assert refused >= set(PORTS), f"never refused: {set(PORTS) - refused}"
    for who in ("sweep", "timeouts", "letter", "client", "start", "step"):
        assert any(line.startswith(who) and line.endswith(": Killed") for line in lines), f"no {who} ever died"
    assert any(line.endswith(": PartlySent") for line in lines)
    missed = seen_maps.WANTED - {word for world in worlds for word in seen_maps.seen(world)}
    assert not missed, f"no world has shown: {missed}"
    answered = {intent.kind for world in worlds if isinstance(world, RoughWorld) for intent in world.clients.answered}
    assert answered == {"read", "pause", "resume", *ALL}
    events = {event["type"] for world in worlds for text in _shown(world) for event in text}
    assert events >= {"run_rebuilt", "run_cancelled", "run_redriven", "patch_applied", "node_timed_out"}


def test_the_worlds_know_what_happens_between_a_run_and_its_children(world_redis: redis.Redis) -> None:
    """A call retries, is cancelled, and nests; those of all kinds of worlds show it, however rare it is in one."""
    seeds = [seed for seed in range(210, 1300) if seed % 16 in MIXED]
    _, missing = showing.play(world_redis, seeds[:12], seeds[12:], lambda world: kin.COMMON - kin.ways(world))
    assert not missing, f"never between a run and its child: {missing}"


def _shown(world: World) -> list[list[dict[str, object]]]:
    items = [item for chain in world.audit.chains.values() for item in chain.items]
    return [expand(item.text, item.run_id, lambda job: job.token) for item in items]


AROUND = ("before", "after")


def _journal(world: World) -> dict[str, list[str]]:
    return {run_id: [item.text for item in chain.items] for run_id, chain in world.audit.chains.items()}
