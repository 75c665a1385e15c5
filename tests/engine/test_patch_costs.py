"""What a hop costs in a run that was patched, counted, not timed: the coordinator learns of the patch once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from chalicelib.engine.patches import patch_run
from chalicelib.engine.plans import PlanStore
from infra.local.redis_server import RedisServer
from tests.engine.counting import Meter
from tests.engine.patching import add_edge, add_node, edges, function, request


@pytest.fixture
def meter(client: redis.Redis, redis_server: RedisServer) -> Iterator[Meter]:
    meter = Meter(client, redis_server.port)
    meter.hop(*meter.begin({"nodes": [function("a"), function("b")], "edges": edges("a>b")}))  # scripts are loaded
    meter.tap.tasks()
    yield meter
    meter.client.close()


def patch_elsewhere(meter: Meter, run_id: str, *operations: dict) -> None:
    """Patch as the API does: in another process, whose plans this coordinator does not have in memory."""
    plans = PlanStore(meter.artifacts, meter.directory, meter.store)
    patch_run(replace(meter.services, plans=plans), request(run_id, list(operations)))
    assert meter.tap.take() == []


def chain(length: int) -> dict:
    names = [f"n{i}" for i in range(length)]
    return {
        "nodes": [function(name) for name in names],
        "edges": edges(" ".join(map("{}>{}".format, names, names[1:]))),
    }


def test_a_plain_hop_in_a_patched_run_is_one_round_trip_once_the_patch_is_known(meter: Meter) -> None:
    tasks = meter.begin(chain(7))
    run_id = tasks[0]["run_id"]
    costs = []
    for name in ("n0", "n1", "n2", "n3", "n4", "n5"):
        if name in ("n1", "n3"):
            patch_elsewhere(meter, run_id, add_node(function(f"{name}_more")), add_edge(f"n6>{name}_more"))
        assert [task["node_id"] for task in tasks] == [name]
        costs.append(meter.hop(*tasks))
        tasks = meter.tap.tasks()
    # A commit that is stale, the new plan from the store's cache, the commit.
    assert [cost["redis"] for cost in costs] == [1, 3, 1, 3, 1, 1]
    assert {(cost["journal.append"], cost["send tasks-function"]) for cost in costs} == {(1, 1)}
    meter.hop(*tasks)
    assert {task["node_id"] for task in meter.tap.tasks()} == {"n1_more", "n3_more"}


def test_tasks_sent_before_a_patch_cost_no_stale_commit_once_the_patch_is_known(meter: Meter) -> None:
    """The first of them tells the coordinator; the others carry the old generation and are decided on the new one.

    Each of these hops needs a round trip more than a plain one, patched or not: with several tokens outstanding the
    journaled mark is moved at once.
    """
    names = ["a", "b", "c"]
    document = {
        "nodes": [function("first"), *map(function, [*names, *(f"{name}2" for name in names)])],
        "edges": edges(" ".join(f"first>{name} {name}>{name}2" for name in names)),
    }
    first = meter.begin(document)
    meter.hop(*first)
    tasks = {task["node_id"]: task for task in meter.tap.tasks()}
    unpatched = meter.hop(tasks["a"])["redis"]
    patch_elsewhere(meter, first[0]["run_id"], add_node(function("z")), add_edge("a2>z"))
    assert meter.hop(tasks["b"])["redis"] == unpatched + 2
    assert meter.hop(tasks["c"])["redis"] == unpatched
    assert {task["node_id"] for task in meter.tap.tasks()} == {"a2", "b2", "c2"}
