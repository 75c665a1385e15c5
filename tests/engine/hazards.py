"""What the tests of the hazards share: stores that fall back, steps that die, and the proof that a run is whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from chalicelib.domain.errors import Unavailable
from chalicelib.engine.step import Coordinator
from chalicelib.engine.supervise import UNSENT_MS
from chalicelib.engine.verify import verify_run
from tests.engine.harness import Harness
from tests.engine.test_supervise import sweep_all

Json = Any


def lost(*_: object, **__: object) -> None:
    """In place of a port's call: nothing happened, and the caller sees it."""
    raise Unavailable("It did not answer.")


def lost_reply(call: Callable[..., Json]) -> Callable[..., Json]:
    """In place of a port's call: it happened, but the caller saw an error."""

    def done(*args: object, **named: object) -> None:
        call(*args, **named)
        raise Unavailable("The answer was lost.")

    return done


def fall_back(harness: Harness, run_id: str, old: Json) -> None:
    """The store fails over to a copy that misses its last writes; nothing in it says so."""
    harness.retire(run_id)
    assert harness.store.install(run_id, old)


def another(harness: Harness) -> Coordinator:
    """A second coordinator, in another process."""
    return Coordinator(harness.services)


def signal(task: Json, result: Json = None) -> str:
    """A worker's answer to a task."""
    head = {name: task[name] for name in ("version", "job_id", "run_id", "node_id")}
    return json.dumps({**head, "status": "completed", "result": result})


def tasks(harness: Harness, queue: str = "tasks-function") -> dict[str, Json]:
    """The tasks on a queue by node; they stay hidden, as with a worker that is at them."""
    while harness.settle_batch():
        pass
    return {task["node_id"]: task for task in (json.loads(m.body) for m in harness.queues.receive(queue, 1000))}


def handle_until_done(harness: Harness, *bodies: str) -> None:
    """Deliver these signals again and again, as SQS does, each until its step is done with it."""
    left = list(bodies)
    for _ in range(10):
        left = [body for body in left if _failed(harness, body)]
        if not left:
            return
        harness.clock.now += 31_000
    raise AssertionError(f"never done with {left}")


def _failed(harness: Harness, body: str) -> bool:
    try:
        return bool(harness.coordinator.handle([body]))
    except Unavailable:
        return True


def recover(harness: Harness) -> None:
    """Time passes, the sweep looks after every run, and what is left goes on."""
    harness.clock.now += UNSENT_MS
    sweep_all(harness)
    harness.drain()


def assert_whole(harness: Harness, run_id: str, status: str = "COMPLETED") -> None:
    """It ended so, its journal is one chain, each token was settled once, and folding gives the store."""
    assert harness.meta(run_id)["status"] == status
    answer = verify_run(harness.services, "acme", run_id)
    assert answer["ok"], answer["differences"]


def count(harness: Harness, run_id: str, type_: str) -> int:
    return [event["type"] for event in harness.events(run_id)].count(type_)
