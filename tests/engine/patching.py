"""Short ways to write patches and the runs that they are for."""

from __future__ import annotations

import json
from typing import Any

from chalicelib.domain.errors import GraftError, InvalidInput
from chalicelib.engine.patch_terms import Change
from chalicelib.engine.patches import PatchRequest, patch_run, revert_patch
from tests.engine.harness import Harness

Json = Any


def function(id: str, params: Json = None, **more: Json) -> Json:
    return {"id": id, "type": "function", "config": {"handler": "echo", "params": params}, **more}


def edge(text: str, **more: Json) -> Json:
    """`a>b`, or `a>b:failure`."""
    source, rest = text.split(">")
    target, _, on = rest.partition(":")
    return {"from": source, "to": target, **({"on": on} if on else {}), **more}


def edges(text: str) -> list[Json]:
    return [edge(part) for part in text.split()]


def add_node(node: Json) -> Json:
    return {"op": "add", "path": "/nodes/-", "value": node}


def add_edge(text: str, **more: Json) -> Json:
    return {"op": "add", "path": "/edges/-", "value": edge(text, **more)}


def remove(path: str) -> Json:
    return {"op": "remove", "path": path}


def replace(path: str, value: Json) -> Json:
    return {"op": "replace", "path": path, "value": value}


def request(
    run_id: str, operations: Json, *, caps: Json = None, description: str = "why", **more: Json
) -> PatchRequest:
    change = Change(lambda plan: operations, description, caps=caps)
    return PatchRequest("acme", "ann", run_id, change, **more)


def patch(harness: Harness, run_id: str, *operations: Json, **more: Json) -> Json:
    return patch_run(harness.services, request(run_id, list(operations), **more))


def revert(harness: Harness, run_id: str, number: int) -> Json:
    return revert_patch(harness.services, request(run_id, [], description=""), number)


def dump(harness: Harness) -> Json:
    """Every key of the store, all queues and the journal: what a refused patch must leave as it is."""
    client = harness.client
    keys = {key: client.hgetall(key) for key in client.keys("*") if client.type(key) == "hash"}
    return keys, harness.queues.depth("completion-signals"), sum(len(items) for items in _journal(harness).values())


def _journal(harness: Harness) -> Json:
    return {name: harness.journal.read(name) for name in _run_ids(harness)}


def _run_ids(harness: Harness) -> list[str]:
    return [key.split("{")[1].split("}")[0] for key in harness.client.keys("graft:{*}:meta")]


def refused(harness: Harness, run_id: str, *operations: Json, **more: Json) -> GraftError:
    """The error of a patch that is refused and changes nothing."""
    before = dump(harness)
    try:
        patch(harness, run_id, *operations, **more)
    except GraftError as error:
        assert dump(harness) == before
        return error
    raise AssertionError("the patch was not refused")


def problem(error: GraftError) -> tuple[str, str]:
    """(code, path) of the one problem."""
    assert isinstance(error, InvalidInput), error
    (found,) = error.problems
    return found.code, found.path


class Held:
    """A worker that answers only the nodes it is told to, when it is told to."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.waiting: dict[str, Json] = {}

    def settle(self) -> None:
        """Settle all signals, and take the tasks that come of it."""
        while self.harness.settle_batch() or self._take():
            pass

    def _take(self) -> bool:
        found = False
        for queue in ("tasks-function", "tasks-http"):
            for message in self.harness.queues.receive(queue):
                task = json.loads(message.body)
                self.waiting[task["node_id"]] = task
                self.harness.tasks.append(task)
                self.harness.queues.delete(queue, message.receipt)
                found = True
        return found

    def done(self, node: str, result: Json = None) -> None:
        task = self.waiting.pop(node)
        value = task["config"].get("params") if result is None else result
        self.harness.answer(task, {"status": "completed", "result": value})
        self.settle()

    def fail(self, node: str, kind: str = "Boom") -> None:
        error = {"type": kind, "message": "no", "retryable": False}
        self.harness.answer(self.waiting.pop(node), {"status": "failed", "error": error})
        self.settle()


def status(harness: Harness, run_id: str, node: str) -> str:
    from chalicelib.engine.executions import standings

    found = standings(harness.store.snapshot(run_id)).get(node)
    return "PENDING" if found is None else found.status
