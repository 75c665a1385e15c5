"""Child runs on the local stack: output, failure and cancellation go both ways."""

from __future__ import annotations

import pytest

from tests.e2e.client import ENDED, REAL, Api, document, function
from tests.e2e.conftest import eventually

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack(start_stack):
    running = start_stack(*REAL)
    yield running
    assert running.stop() == 0


@pytest.fixture
def api(stack):
    return Api(stack)


def save(api, name, *nodes, **more):
    assert api.post("/workflows", {"name": name, "workflow": document(*nodes, **more)}).status in (200, 201)


def call(name, **config):
    return {"id": "call", "type": "workflow", "config": {"workflow": name, **config}}


def child_of(api, run_id, node="call"):
    """The id of the child that the node has called, once there is one."""

    def look():
        executions = api.get(f"/runs/{run_id}/nodes/{node}").json["executions"]
        found = [execution["child_run_id"] for execution in executions]
        return [child for child in found if api.get(f"/runs/{child}").status == 200]

    return eventually(look, what="the child")[-1]


def ended(api, run_id):
    return eventually(
        lambda: (run := api.run(run_id))["status"] in ENDED and run, timeout=40.0, what=f"the end of {run_id}"
    )


def test_three_generations_hand_down_their_input_and_up_their_output(api):
    save(api, "low", function("work", params={"n": "${input.n + 1}"}))
    save(api, "middle", call("low", input={"n": "${input.n * 10}"}))
    run_id = api.start(document(call("middle", input={"n": 4})))
    assert ended(api, run_id)["output"] == {"call": {"call": {"work": {"n": 41}}}}
    middle = child_of(api, run_id)
    low = child_of(api, middle)
    assert api.run(low)["parent"] == {"run_id": middle, "node_id": "call"}
    assert [item["run_id"] for item in api.get(f"/runs?parent={run_id}").json["items"]] == [middle]


def test_a_large_output_comes_back_from_a_child(api):
    save(api, "large", function("work", params="${input}"))
    text = "x" * 200_000
    nodes = (call("large"), function("size", params="${size(ctx.call.output.work)}"))
    run_id = api.start(document(*nodes, edges=[("call", "size")]), text)
    assert ended(api, run_id)["output"] == {"size": 200_000}


def test_a_cancellation_reaches_the_grandchild(api):
    save(api, "asks", {"id": "ask", "type": "human", "config": {"message": "?"}})
    save(api, "above", call("asks"))
    run_id = api.start(document(call("above")))
    middle = child_of(api, run_id)
    low = child_of(api, middle)
    api.waits(low, "ask", "WAITING")
    assert api.post(f"/runs/{run_id}/cancel").json["status"] == "CANCELLED"
    assert ended(api, middle)["status"] == ended(api, low)["status"] == "CANCELLED"


def test_a_child_that_is_cancelled_or_fails_fails_its_parent(api):
    save(api, "asks", {"id": "ask", "type": "human", "config": {"message": "?"}})
    save(api, "fails", {"id": "no", "type": "fail", "config": {"error": {"type": "Sorry", "message": "no"}}})
    run_id = api.start(document(call("asks")))
    assert api.post(f"/runs/{child_of(api, run_id)}/cancel").status == 200
    assert ended(api, run_id)["error"]["type"] == "Cancelled"
    run_id = api.start(document(call("fails")))
    assert ended(api, run_id)["error"] == {"type": "Sorry", "message": "no", "node_id": "call"}


def test_children_come_through_a_loss_of_redis(stack, api):
    save(api, "asks", {"id": "ask", "type": "human", "config": {"message": "?"}})
    run_id = api.start(document(call("asks")))
    child = child_of(api, run_id)
    api.waits(child, "ask", "WAITING")
    stack.redis.flushall()
    assert api.post(f"/runs/{child}/nodes/ask/skip", {"output": "by hand"}).status == 200
    assert ended(api, run_id)["output"] == {"call": {"ask": "by hand"}}
    assert api.get(f"/runs/{run_id}/verify").json["ok"] and api.get(f"/runs/{child}/verify").json["ok"]
