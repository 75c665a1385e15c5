"""Kill -9 at every process, and at Redis with all its data, while runs are at work: all of them end, and once."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter

import pytest

from tests.e2e.client import ENDED, REAL, Api, check_gapless, depth, document, function
from tests.e2e.conftest import eventually

pytestmark = pytest.mark.stack
RUNS = 20
#: Seconds for all runs together on a busy machine; quiet, they need ten.
ALL_S = 120.0
QUEUES = ("completion-signals", "tasks-function", "tasks-http")
#: A loop of three rounds, then a fan of three sleepers that come together.
WORK = document(
    function("begin", params={"n": "${input.n}"}),
    function(
        "count",
        params={"round": "${iteration}"},
        loop={"condition": "output.round < 3", "max_iterations": 5, "loop_back_to": "count"},
    ),
    *[function(f"part{i}", "sleep", {"ms": 400 + 200 * i, "n": "${input.n}"}) for i in range(3)],
    {"id": "join", "type": "transform", "config": {"value": "${ctx.part0.output.n + ctx.part2.output.n}"}},
    function("last", "flaky", {"failures": 1, "n": "${ctx.join.output}"}, retry={"max_attempts": 3, "backoff_ms": 200}),
    edges=[
        ("begin", "count"),
        *[("count", f"part{i}") for i in range(3)],
        *[(f"part{i}", "join") for i in range(3)],
        ("join", "last"),
    ],
    output={"sum": "${ctx.last.output.n}", "rounds": "${ctx.count.output.round}"},
)
COMPLETED = Counter({("begin", 1): 1, ("join", 1): 1, ("last", 1): 1})
COMPLETED.update({("count", i): 1 for i in (1, 2, 3)})
COMPLETED.update({(f"part{i}", 1): 1 for i in range(3)})


@pytest.fixture(scope="module")
def stack(start_stack):
    running = start_stack(*REAL)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def api(stack):
    return Api(stack)


def patient(call, *arguments):
    """What the call gives, asked again while processes and Redis come back."""

    def ask():
        with contextlib.suppress(OSError, AssertionError):
            return call(*arguments)
        return None

    return eventually(ask, 30, "an answer")


def kill(stack, name):
    """Kill a process and wait until another stands in its place."""
    pid = stack.pids[name]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: stack.pids[name] != pid, 20, f"a new {name}")


def begin(api):
    return [patient(api.start, WORK, {"n": n}) for n in range(RUNS)]


def check_all(api, run_ids):
    deadline = time.monotonic() + ALL_S
    for n, run_id in enumerate(run_ids):
        while (run := patient(api.run, run_id))["status"] not in ENDED:
            assert time.monotonic() < deadline, (run_id, run["counts"], api.get(f"/runs/{run_id}/explain").raw[:2000])
            time.sleep(0.1)
        assert run["status"] == "COMPLETED", run["error"]
        assert run["output"] == {"sum": 2 * n, "rounds": 3}
        events = api.events(run_id)
        check_gapless(events)
        done = Counter((event["node_id"], event["iteration"]) for event in events if event["type"] == "node_completed")
        assert done == COMPLETED
        assert [event["type"] for event in events].count("run_completed") == 1
        assert api.get(f"/runs/{run_id}/verify").status == 200
    for queue in (*QUEUES, *(f"{queue}-dlq" for queue in QUEUES)):
        eventually(lambda queue=queue: depth(api.stack, queue) == 0, 20, f"an empty queue {queue}")
    assert api.get("/dead-letters").json["items"] == []


def test_runs_outlive_every_process_of_the_app(api):
    run_ids = begin(api)
    for name in ("pollers", "workers", "schedules", "api", "pollers-2", "workers-2"):
        kill(api.stack, name)
    check_all(api, run_ids)


def test_runs_outlive_redis_with_all_its_data(api):
    run_ids = begin(api)
    for _ in range(2):
        kill(api.stack, "redis")
        time.sleep(1)
    check_all(api, run_ids)
    rebuilt = [e for run_id in run_ids for e in api.events(run_id) if e["type"] == "run_rebuilt"]
    assert rebuilt


def test_runs_outlive_a_flush_between_two_of_their_steps(api):
    run_ids = begin(api)
    for _ in range(5):
        api.stack.redis.flushall()
        time.sleep(0.4)
    check_all(api, run_ids)


def test_everything_at_once(api):
    run_ids = begin(api)
    for pid in [pid for name, pid in api.stack.pids.items() if name != "aws"]:
        os.kill(pid, signal.SIGKILL)
    check_all(api, run_ids)
