"""What a hop costs, counted, not timed (DESIGN 5): round trips to Redis and calls to AWS, in a warm process.

Warm means that the scripts are loaded, and that the plan and the run's input are in this process's memory. A process
that sees a run for the first time and needs its input reads it once: one more round trip.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import redis

from chalicelib.adapters.dynamodb import DynamoJournal
from chalicelib.adapters.dynamodb_directory import DynamoDirectory
from chalicelib.adapters.sqs import SqsQueues
from infra.local.redis_server import RedisServer
from tests.contract.conftest import QUEUES, TABLE, Aws, aws, shared_clients  # noqa: F401 - fixtures
from tests.engine.counting import Meter
from tests.engine.test_step import edges, function


@pytest.fixture
def meter(client: redis.Redis, redis_server: RedisServer) -> Iterator[Meter]:
    meter = Meter(client, redis_server.port)
    yield meter
    meter.client.close()


@pytest.fixture
def on_aws(client: redis.Redis, redis_server: RedisServer, aws: Aws) -> Iterator[tuple[Meter, Aws]]:  # noqa: F811
    dynamodb = aws.client("dynamodb")
    journal, directory = DynamoJournal(dynamodb, TABLE), DynamoDirectory(dynamodb, TABLE)
    queues = SqsQueues(aws.client("sqs"), "graft-test-")
    for queue in QUEUES:
        queues.url(queue)
    meter = Meter(client, redis_server.port, journal, directory, queues)
    yield meter, aws
    meter.client.close()


CHAIN = {
    "nodes": [function("a"), function("b", {"n": "${output.n + input.k}"}), function("c", {"n": "${ctx.b.output.n}"})],
    "edges": edges("a:b", "b:c"),
}


def warm(meter: Meter) -> None:
    """One run of the chain: what is loaded once per process is there, bar another run's input."""
    tasks = meter.begin(CHAIN, {"k": 1})
    meter.hop(*tasks, result={"n": 1})
    meter.tap.tasks()


def test_a_plain_hop_is_one_redis_round_trip_one_table_write_and_one_send(on_aws: tuple[Meter, Aws]) -> None:
    meter, cloud = on_aws
    warm(meter)
    first = meter.begin(CHAIN, {"k": 1})
    cloud.calls.clear()
    assert meter.hop(*first, result={"n": 1})["redis"] == 2, "this run's input is read once"
    second = meter.tap.tasks()
    assert [task["config"]["params"] for task in second] == [{"n": 2}]
    cloud.calls.clear()
    assert meter.hop(*second, result={"n": 2})["redis"] == 1
    assert sum(cloud.calls.values()) == 2
    assert cloud.calls["SendMessageBatch"] == 1
    assert cloud.calls["PutItem"] + cloud.calls["TransactWriteItems"] == 1


def test_a_breakpoint_costs_a_look_and_a_commit_and_the_other_hops_of_its_run_nothing(meter: Meter) -> None:
    document = {"nodes": [function("a"), function("b"), function("c")], "edges": edges("a:b", "b:c")}
    warm(meter)
    meter.hop(*meter.begin(document, breakpoints=["b"]), result=1)  # every script is loaded
    cost = meter.hop(*meter.begin(document, breakpoints=["c"]), result=1)
    assert (cost["redis"], cost["journal.append"]) == (1, 1)
    stop = meter.hop(*meter.tap.tasks(), result=1)
    # The settlement, the look, the stop, and the mark, which no next hop will move.
    assert (stop["redis"], stop["journal.append"], meter.tap.tasks()) == (4, 1, [])


def test_a_hop_that_needs_no_input_is_one_round_trip_even_the_first_time(meter: Meter) -> None:
    document = {"nodes": [function("a"), function("b", {"n": "${output}"})], "edges": edges("a:b")}
    warm(meter)
    cost = meter.hop(*meter.begin(document), result=1)
    assert (cost["redis"], cost["journal.append"], cost["send tasks-function"]) == (1, 1, 1)
    assert sum(cost[name] for name in cost if name.startswith("send")) == 1


def test_a_branch_that_reads_ctx_is_two_round_trips(meter: Meter) -> None:
    branch = {"rules": [{"condition": "ctx.a.output > output", "next_nodes": ["c"]}], "default": ["d"]}
    document = {
        "nodes": [function("a"), function("b", branch=branch), function("c", 1), function("d", 2)],
        "edges": edges("a:b"),
    }
    warm(meter)
    meter.hop(*meter.begin(document), result=5)
    cost = meter.hop(*meter.tap.tasks(), result=1)
    assert [task["node_id"] for task in meter.tap.tasks()] == ["c"]
    assert (cost["redis"], cost["journal.append"], cost["send tasks-function"]) == (2, 1, 1)


def test_a_config_that_reads_another_node_is_two_round_trips(meter: Meter) -> None:
    document = {
        "nodes": [function("a"), function("b"), function("c", "${ctx.a.output}")],
        "edges": edges("a:b", "b:c"),
    }
    warm(meter)
    meter.hop(*meter.begin(document), result=5)
    assert meter.hop(*meter.tap.tasks(), result=1)["redis"] == 2


def test_a_node_with_a_timeout_costs_one_more_for_the_deadline_index(meter: Meter) -> None:
    document = {"nodes": [function("a"), function("b", timeout_ms=1000)], "edges": edges("a:b")}
    warm(meter)
    assert meter.hop(*meter.begin(document), result=1)["redis"] == 2


@pytest.mark.parametrize("length", [1, 5, 20])
def test_inline_nodes_cost_no_message_and_at_most_two_round_trips_each(meter: Meter, length: int) -> None:
    names = [f"p{i}" for i in range(length)]
    nodes = [function("a"), *({"id": name, "type": "pass"} for name in names), function("z")]
    document = {
        "nodes": nodes,
        "edges": edges(*(f"{a}:{b}" for a, b in zip(["a", *names], [*names, "z"], strict=True))),
    }
    warm(meter)
    cost = meter.hop(*meter.begin(document), result=1)
    assert [task["node_id"] for task in meter.tap.tasks()] == ["z"]
    assert cost["redis"] <= 1 + 2 * length
    assert (cost["journal.append"], cost["send tasks-function"], cost["send completion-signals"]) == (1, 1, 0)


def test_ten_hops_of_ten_runs_cost_what_one_does(on_aws: tuple[Meter, Aws]) -> None:
    meter, cloud = on_aws
    document = {"nodes": [function("a"), function("b", "${output}")], "edges": edges("a:b")}
    warm(meter)
    tasks = [task for _ in range(10) for task in meter.begin(document)]
    assert len(tasks) == 10
    cloud.calls.clear()
    cost = meter.hop(*tasks, result=1)
    assert len(meter.tap.tasks()) == 10
    assert (cost["redis"], cost["journal.append"]) == (1, 1)
    assert cloud.calls == {"TransactWriteItems": 1, "SendMessageBatch": 1}


def test_a_batch_for_two_queues_is_one_send_to_each(meter: Meter) -> None:
    http = {"id": "h", "type": "http", "config": {"url": "https://example.com"}}
    one = {"nodes": [function("a"), function("b")], "edges": edges("a:b")}
    two = {"nodes": [function("a"), http], "edges": edges("a:h")}
    warm(meter)
    tasks = [task for document in (one, two) for _ in range(5) for task in meter.begin(document)]
    cost = meter.hop(*tasks, result=1)
    assert cost["redis"] == 1
    assert {name: count for name, count in cost.items() if name.startswith("send")} == {
        "send tasks-function": 1,
        "send tasks-http": 1,
    }


def test_ten_branches_with_ctx_are_read_together(meter: Meter) -> None:
    branch = {"rules": [{"condition": "ctx.a.output > 3", "next_nodes": ["c"]}]}
    document = {"nodes": [function("a"), function("b", branch=branch), function("c")], "edges": edges("a:b")}
    warm(meter)
    first = [task for _ in range(10) for task in meter.begin(document)]
    meter.hop(*first, result=5)
    cost = meter.hop(*meter.tap.tasks(), result=1)
    assert len(meter.tap.tasks()) == 10
    assert (cost["redis"], cost["journal.append"], cost["send tasks-function"]) == (2, 1, 1)


def fan_in(meter: Meter, width: int) -> tuple[set[int], set[int], int]:
    """What hops into a join of so many edges cost: round trips, commands in Redis, journal calls of all of them."""
    names = [f"n{i}" for i in range(width)]
    document = {
        "nodes": [function("a"), *map(function, names), function("j")],
        "edges": edges(*(f"a:{name}" for name in names), *(f"{name}:j" for name in names)),
    }
    meter.hop(*meter.begin(document), result=1)
    while bodies := meter.tap.take():
        meter.handle(bodies)
    tasks = meter.tap.tasks()
    assert len(tasks) == width
    meter.hop(tasks[0])
    costs = [meter.hop(task) for task in tasks[1:9]]
    return {c["redis"] for c in costs}, {c["commands"] for c in costs}, sum(c["journal.append"] for c in costs)


def test_a_hop_into_a_join_costs_the_same_whatever_its_width(meter: Meter) -> None:
    """The second round trip moves the journaled mark: with several tokens outstanding other steps may be at this run,
    and must not find its items unwritten."""
    warm(meter)
    narrow = fan_in(meter, 10)
    assert narrow[0] == {2}
    assert len(narrow[1]) == 1
    assert narrow[2] == 8
    for width in (100, 1000):
        assert fan_in(meter, width) == narrow


def test_a_hop_costs_the_same_however_far_the_run_has_come(meter: Meter) -> None:
    names = [f"n{i}" for i in range(120)]
    document = {
        "nodes": [function(name) for name in names],
        "edges": edges(*(f"{a}:{b}" for a, b in pairwise(names))),
    }
    warm(meter)
    tasks, costs = meter.begin(document), []
    for _ in range(119):
        costs.append(meter.hop(*tasks, result=1))
        tasks = meter.tap.tasks()
    assert {cost["redis"] for cost in costs} == {1}
    assert max(cost["commands"] for cost in costs[60:]) <= max(cost["commands"] for cost in costs[1:60])


def test_the_end_of_a_run_is_one_journal_call_with_its_records(on_aws: tuple[Meter, Aws]) -> None:
    meter, cloud = on_aws
    warm(meter)
    tasks = meter.begin({"nodes": [function("a")], "edges": []})
    cloud.calls.clear()
    cost = meter.hop(*tasks, result=1)
    assert cloud.calls == {"TransactWriteItems": 1}
    assert cost["redis"] <= 4
    assert meter.tap.sent == []


def test_a_signal_delivered_twice_in_one_batch_is_journaled_once(meter: Meter) -> None:
    warm(meter)
    tasks = meter.begin(CHAIN, {"k": 1})
    cost = meter.hop(*tasks, *tasks, *tasks, result={"n": 1})
    assert cost["journal.append"] == 1
    assert len({task["job_id"] for task in meter.tap.tasks()}) == 1
