"""The store over a real cluster of three: runs on all shards, lost scripts, a node that is gone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import ResponseError

from chalicelib.adapters.redis.scripts import load
from chalicelib.adapters.redis.store import RedisRunStore, connect
from chalicelib.domain.commit import Draft
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.ids import Token
from chalicelib.engine.store_calls import ReadCall
from infra.local.ports import HOST, free_port
from infra.local.redis_server import RedisServer
from tests.lua.boards import Board, begin, emits, said

SLOTS = (0, 5462, 10923, 16384)
RUNS = [f"run{i}" for i in range(20)]


def form(servers: list[tuple[RedisServer, int]], timeout_s: float = 20) -> None:
    """Give out the slots, introduce the nodes, and wait until all of them find the cluster whole."""
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(redis.Redis(host=HOST, port=server.port, decode_responses=True))
            for server, _ in servers
        ]
        for client, first, end in zip(clients, SLOTS, SLOTS[1:], strict=False):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for server, bus in servers[1:]:
            clients[0].execute_command("CLUSTER", "MEET", HOST, server.port, bus)
        deadline = time.monotonic() + timeout_s
        while not all(is_whole(client) for client in clients):
            assert time.monotonic() < deadline, "the cluster does not form"
            time.sleep(0.02)


def is_whole(client: redis.Redis) -> bool:
    info = str(client.execute_command("CLUSTER", "INFO"))
    return "cluster_state:ok" in info and len(client.execute_command("CLUSTER", "SHARDS")) == 3


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[RedisServer]]:
    with contextlib.ExitStack() as stack:
        servers = []
        for _ in range(3):
            bus = free_port()
            options = ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "2000"]
            servers.append((stack.enter_context(RedisServer(options=options)), bus))
        form(servers)
        yield [server for server, _ in servers]


@pytest.fixture
def cluster(nodes: list[RedisServer]) -> Iterator[RedisRunStore]:
    client = connect(nodes[0].url, cluster=True)
    client.flushall(target_nodes=redis.RedisCluster.PRIMARIES)
    yield RedisRunStore(client)
    client.close()


def each(nodes: list[RedisServer]) -> list[redis.Redis]:
    return [redis.Redis(host=HOST, port=node.port, decode_responses=True) for node in nodes]


def forget_scripts(nodes: list[RedisServer]) -> None:
    for client in each(nodes):
        with client:
            client.script_flush()


def test_one_call_commits_runs_on_every_shard(cluster: RedisRunStore, nodes: list[RedisServer]) -> None:
    boards = [Board(cluster, run) for run in RUNS]
    for client in each(nodes):
        with client:
            assert client.dbsize() > 0
    calls = [board.call(said(Draft(settle=Token("$start"), emits=emits("a")))) for board in boards]
    answers = cluster.commit(calls)
    assert {answer.word for answer in answers} == {"OK"}
    for board, call, answer in zip(boards, calls, answers, strict=True):
        board.accept(call, answer)
        board.assert_twin()


def test_answers_come_in_the_order_of_the_calls(cluster: RedisRunStore) -> None:
    for number, run in enumerate(RUNS):
        begin(Board(cluster, run, input=str(number)), "a")
    order = [RUNS[i] for i in (7, 3, 19, 0, 3, 11)] + ["missing"]
    answers = cluster.read([ReadCall(run, 9, meta=("input",)) for run in order])
    assert [answer.meta.get("input") for answer in answers] == ["7", "3", "19", "0", "3", "11", None]


def test_two_commits_of_one_run_in_one_call_keep_their_order(cluster: RedisRunStore) -> None:
    board = Board(cluster, "run1")
    calls = [
        board.call(said(Draft(settle=Token("$start"), emits=emits("a")))),
        board.call(said(Draft(settle=Token("$start")))),
    ]
    assert [answer.word for answer in cluster.commit(calls)] == ["OK", "SETTLED"]


def test_scripts_lost_on_every_shard_or_on_one_are_sent_again(cluster: RedisRunStore, nodes: list[RedisServer]) -> None:
    boards = [Board(cluster, run) for run in RUNS]
    forget_scripts(nodes)
    assert {begin(board, "a", "b").word for board in boards} == {"OK"}
    forget_scripts(nodes[1:2])
    answers = cluster.commit([board.call(said(Draft(settle=Token("a")))) for board in boards])
    assert {answer.word for answer in answers} == {"OK"}
    assert {board.stored()["meta"]["no"] for board in boards} == {"3"}


def test_every_method_of_the_store_works_there(cluster: RedisRunStore, nodes: list[RedisServer]) -> None:
    boards = [Board(cluster, run) for run in RUNS]
    for board in boards:
        begin(board, "a", "b")
    forget_scripts(nodes)
    assert cluster.ping()
    for board in boards:
        mark, lease, items = cluster.unwritten(board.run_id, "me", 0)
        assert (mark, lease, len(items)) == (1, True, 1)
    cluster.acknowledge([(board.run_id, *board.ack(2), ("a@#0.1",)) for board in boards])
    assert {tuple(board.stored()["ready"]) for board in boards} == {("b@#0.1",)}
    assert not cluster.install("run1", boards[1].state)
    assert cluster.install("run1", boards[1].state, replaces="2|c2")
    cluster.put_due({f"m{i}": i for i in range(50)})
    cluster.put_due({"m0": 100, "new": 1}, only_known=True)
    cluster.drop_due(["m1", "never"])
    assert sorted(cluster.due(49, 50)) == sorted(f"m{i}" for i in range(2, 50))
    cluster.put_plan("hash", "text")
    assert (cluster.get_plan("hash"), cluster.get_plan("other")) == ("text", None)
    for board in boards:
        cluster.retire(board.run_id, "1|other")
        meta = cluster.snapshot(board.run_id)["meta"]
        cluster.retire(board.run_id, f"{meta['no']}|{meta['cid']}")
        assert cluster.snapshot(board.run_id) is None


def test_a_script_cannot_reach_into_another_slot(nodes: list[RedisServer], cluster: RedisRunStore) -> None:
    """What `#!lua` at its head is for: without it the server lets a script write other slots of its node."""
    source = "#!lua\nredis.call('SET', KEYS[1], '1')\nredis.call('SET', 'elsewhere', '1')"
    client = connect(nodes[0].url, cluster=True)
    with client, pytest.raises(ResponseError):
        client.execute_command("EVAL", source, 1, "{run1}:x")
    assert load("commit").source.startswith("#!lua\n")


def test_39_a_batch_over_all_shards_of_which_one_lost_its_scripts_is_applied_once_and_in_order(
    cluster: RedisRunStore, nodes: list[RedisServer]
) -> None:
    boards = [Board(cluster, f"batch-{run}") for run in RUNS]
    for board in boards:
        begin(board, "a", "b")
    forget_scripts(nodes[:1])
    calls = []
    for board in boards:  # two commits of each run, and the same one again
        first = board.call(said(Draft(settle=Token("a"), emits=emits("c"))))
        calls += [first, board.call(said(Draft(settle=Token("b"), emits=emits("d")))), first]
    answers = cluster.commit(calls)
    assert [answer.word for answer in answers] == ["OK", "OK", "SETTLED"] * len(RUNS)
    for board, first, second in zip(boards, answers[::3], answers[1::3], strict=True):
        assert f'"no":{3},' in first.head and f'"no":{4},' in second.head
        assert board.stored()["meta"]["out"] == "2"


def test_a_node_that_is_gone_is_unavailable_and_the_others_answer(nodes: list[RedisServer]) -> None:
    """Last in this file: the node does not come back."""
    store = RedisRunStore(connect(nodes[0].url, cluster=True))
    gone = nodes.pop(1)
    here = next(run for run in RUNS if store.snapshot(run) is None and owner(nodes[0], run))
    there = next(run for run in RUNS if not owner(nodes[0], run) and not owner(nodes[1], run))
    gone.kill()
    assert store.snapshot(here) is None
    with pytest.raises(Unavailable, match="Redis did not answer"):
        store.snapshot(there)


def owner(node: RedisServer, run: str) -> bool:
    with redis.Redis(host=HOST, port=node.port, decode_responses=True) as client:
        try:
            client.exists(f"graft:{{{run}}}:meta")
        except ResponseError:
            return False
        return True


def test_a_cluster_that_is_gone_is_unavailable_whatever_is_asked() -> None:
    """The client says that with an error which is none of its RedisErrors."""
    with RedisServer(options=["--cluster-enabled", "yes", "--cluster-port", str(free_port())]) as server:
        with redis.Redis(host=HOST, port=server.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            deadline = time.monotonic() + 20
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        store = RedisRunStore(connect(server.url, cluster=True))
        server.kill()
        asked = (
            lambda: store.snapshot("r"),
            lambda: store.get_plan("h"),
            lambda: store.put_plan("h", "t"),
            lambda: store.read([ReadCall("r", 1)]),
            lambda: store.put_due({"m": 1}),
            lambda: store.due(1, 1),
            lambda: store.retire("r", "1|c1"),
        )
        for ask in asked:
            with pytest.raises(Unavailable, match="Redis did not answer"):
                ask()
        assert not store.ping()
        with pytest.raises(Unavailable, match="Redis did not answer"):
            connect(server.url, cluster=True)
