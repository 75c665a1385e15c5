"""Plays the worlds of given seeds and judges their ends; the one door for tests, replays and hunts for planted bugs.

`python -m tests.simulation.check FIRST COUNT STEP` prints the first failing seed and exits with 1.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections import Counter

import redis

from chalicelib.domain.state import ENDED
from infra.local.redis_server import RedisServer
from tests.simulation import kin, reference, shared_reads
from tests.simulation.agreement import asked_otherwise, differences, found
from tests.simulation.controlled import ControlledWorld
from tests.simulation.drawn import SimulatedRun
from tests.simulation.following import JournalOrder
from tests.simulation.invariants import Violation, require
from tests.simulation.reference_agents import grown
from tests.simulation.rough import RoughWorld
from tests.simulation.world import SECRET, World

#: Which seeds give rough worlds (of four), and controlled ones (of eight).
ROUGH, CONTROLLED = 1, 3
#: Which seeds (of sixteen) give worlds of all node types: two plain ones, two rough ones, one controlled one.
MIXED = (2, 6, 5, 13, 11)
#: In every third world the ends of runs depend on the order of events; there the reference follows the engine's order.
RACING_EVERY = 3
#: A fixed hash seed makes the order of Redis's hashes, and so of whole worlds, the same in every process.
REDIS_OPTIONS = ("--hash-seed", "graft")


class Failed(AssertionError):
    """A world went wrong; the message says how to replay it."""


def check(client: redis.Redis, seed: int) -> World:
    """Play one seed. Raises Failed, naming the seed and the command that replays it."""
    client.flushall()
    racing = seed % RACING_EVERY == 0
    world = world_of(client, seed, racing=racing)
    try:
        world.play()
        world.agents.judge()
        for run in world.runs.values():
            _whole(world, run)
            world.people.judge()
            if not isinstance(world, ControlledWorld):
                _agrees(world, run, racing=racing)
        if isinstance(world, ControlledWorld):
            world.judge()
        world.let_go()
    except Exception as error:
        last = "\n".join(world.trace[-12:])
        raise Failed(f"{_last(error)}\n{last}\nreplay: SIM_SEED={seed} {REPLAY}") from error
    return world


def world_of(client: redis.Redis, seed: int, *, racing: bool) -> World:
    """Of eight worlds five are plain and quick, two are rough, and one is rough and controlled by clients; of each
    kind some are of all node types."""
    mixed = seed % 16 in MIXED
    if seed % 8 == CONTROLLED:
        return ControlledWorld(client, seed, mixed=mixed)
    return (RoughWorld if seed % 4 == ROUGH else World)(client, seed, racing=racing, mixed=mixed)


#: The reference's note of a failure that no longer mattered. The engine judges that by what it has read when it
#: decides; where a join fires between that and the commit, both ends are right.
HARMLESS = "failure without consequence"
REPLAY = ".venv/bin/python -m pytest tests/simulation -k replay"


def _last(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()


def _whole(world: World, run: SimulatedRun) -> None:
    """The run has ended, nothing is left of it, and it is as its journal says."""
    state = world.state(run.run_id)
    require(state["meta"]["status"] in ENDED, f"run {run.run_id} is {state['meta']['status']}")
    require(not world.queues.names(), f"messages are left in {world.queues.names()}")
    folded = world.folded(run.run_id)
    for name, fields in state.items():
        mine = {field: text for field, text in folded[name].items() if (name, field) != ("meta", "mark")}
        require(fields == mine, f"run {run.run_id}: folding the journal gives another `{name}`: {fields} {mine}")


def _agrees(world: World, run: SimulatedRun, *, racing: bool) -> None:
    """The run ended as the reference says."""
    if kin.given_up(world, run):
        return
    state, racing = world.state(run.run_id), racing and run.run_id not in world.audit.kinship.parents
    document = grown(run.document)
    items = world.audit.chains[run.run_id].items
    tasks = [task for task in world.queues.tasks if task["run_id"] == run.run_id]
    if racing:
        shared_reads.judge(items, tasks, run.document, SECRET)
    maps = [node["id"] for node in run.document["nodes"] if node["type"] == "map"]
    order = None if not racing else JournalOrder(run.run_id, items, maps)
    room = world.people.rooms[run.run_id]
    outside = room.told if racing else None
    calls = world.family.calls(run)
    notes: Counter[str] = Counter()
    try:
        wanted = reference.run(document, run.input, run.behave, order, notes, calls, outside)
    except Violation:
        if not notes[HARMLESS]:
            raise
    if racing and notes[HARMLESS]:
        return
    lines = differences(found(state, tasks, document), wanted, document, in_order=racing)
    lines += world.audit.chains[run.run_id].maps.differences(wanted.maps)
    lines += asked_otherwise(room, wanted)
    require(not lines, f"run {run.run_id} ends otherwise than in the reference:\n" + "\n".join(lines))
    kin.judge(world, run, calls)


def main(first: int, count: int, step: int = 1) -> int:
    """Check `count` seeds, each `step` after the last; 1 after the first that fails."""
    logging.disable(logging.CRITICAL)
    with RedisServer(options=REDIS_OPTIONS) as server:
        client = redis.Redis(port=server.port, decode_responses=True)
        for seed in range(first, first + count * step, step):
            try:
                check(client, seed)
            except Failed as failure:
                print(f"seed {seed}: {failure}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4])))
