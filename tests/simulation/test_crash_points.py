"""Every example, and every action of the API: a process dies before and after each side effect in turn."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import redis

from tests.simulation.crash_ends import end_of
from tests.simulation.crash_scenarios import actions, examples
from tests.simulation.crash_world import CrashWorld, Death, Scenario
from tests.simulation.invariants import require

SCENARIOS = {**examples(), **actions()}
#: Side effects that one scenario may take in all its replays; of a longer one, evenly spread points are taken. 0: all.
BUDGET = int(os.environ.get("CRASH_BUDGET", "8000"))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The engine logs what goes wrong."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def play(client: redis.Redis, scenario: Scenario, death: Death | None = None) -> tuple[CrashWorld, object]:
    world = CrashWorld(client, scenario, death)
    try:
        world.play()
        return world, end_of(world)
    except BaseException as error:
        error.add_note(f"{death}: {world.effects[death.number - 1] if death else ''}; then {world.effects[-10:]}")
        raise


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_death_at_any_side_effect_changes_nothing_of_the_end(name: str, world_redis: redis.Redis) -> None:
    scenario = SCENARIOS[name]
    world, wanted = play(world_redis, scenario)
    count = len(world.effects)
    assert count > 10
    step = -(-2 * count * count // BUDGET) if BUDGET else 1
    for number in range(1, count + 1, step):
        for after in (False, True):
            death = Death(number, after)
            crashed, found = play(world_redis, scenario, death)
            require(crashed.died, f"nobody died at {death}")
            what = f"{name}, {death}: {world.effects[number - 1]}"
            require(found == wanted, f"{what}: the run ends otherwise:\n{found}\n{wanted}")
