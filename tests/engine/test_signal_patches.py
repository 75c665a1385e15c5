from __future__ import annotations

import dataclasses
import json

import pytest

from chalicelib.domain.limits import Limits
from chalicelib.engine.patch_history import list_patches
from chalicelib.engine.step import Coordinator
from tests.engine.harness import Harness
from tests.engine.patching import Held, add_edge, add_node, edges, function, patch, remove, replace, status

CHAIN = {"nodes": [function("a", 1), function("b", 2), function("c", 3)], "edges": edges("a>b b>c")}


def signal(held: Held, node: str, *operations: object, result: object = None, **patch: object) -> dict:
    """The node's completion with a patch, sent; returns the task, so that it can be sent again."""
    task = held.waiting.pop(node)
    body = {"status": "completed", "result": result, "patch": {"operations": list(operations), **patch}}
    held.harness.answer(task, body)
    return {**{k: task[k] for k in ("job_id", "run_id", "node_id")}, "answer": body}


def begin(harness: Harness, document: object = CHAIN) -> tuple[str, Held]:
    held = Held(harness)
    run_id = harness.start(document)
    held.settle()
    return run_id, held


def finish(harness: Harness, run_id: str, held: Held) -> dict:
    while held.waiting:
        held.done(next(iter(held.waiting)))
    harness.drain()
    harness.assert_fold_equals_store(run_id)
    return harness.meta(run_id)


def test_a_node_adds_what_follows_it_in_the_commit_of_its_completion(harness: Harness) -> None:
    run_id, held = begin(harness)
    before = int(harness.meta(run_id)["no"])
    signal(held, "a", add_node(function("n", "${ctx.a.output}")), add_edge("a>n"), result=7, description="more")
    held.settle()
    assert int(harness.meta(run_id)["no"]) == before + 1, "one commit"
    assert set(held.waiting) == {"b", "n"}
    meta = harness.meta(run_id)
    (record,), _ = list_patches(harness.services, run_id, meta, 0, 10)
    assert (record.actor, record.view()["added"], record.data["description"]) == ("node:a", ["n"], "more")
    assert json.loads(finish(harness, run_id, held)["output"]) == {"c": 3, "n": 7}


def test_a_node_removes_what_would_have_followed_it(harness: Harness) -> None:
    run_id, held = begin(harness)
    signal(held, "a", remove("/nodes/b"), remove("/nodes/c"))
    held.settle()
    assert not held.waiting
    run = finish(harness, run_id, held)
    assert (run["status"], json.loads(run["output"])) == ("COMPLETED", {"a": None})


@pytest.mark.parametrize(
    "wish",
    [
        {"operations": [remove("/nodes/a")]},
        {"operations": [add_node({"id": "n", "type": "nope"})]},
        {"operations": [{"op": "test", "path": "/name", "value": 5}]},
        {"operations": 5},
        {"operations": [], "description": 5},
        {"operations": [{"op": "add", "path": "/metadata", "value": {"x": float("nan")}}, remove("/metadata")]},
        {},
        [],
        "x",
    ],
    ids=lambda wish: str(wish)[:60],
)
def test_a_patch_that_is_refused_fails_its_node_and_changes_nothing_else(harness: Harness, wish: object) -> None:
    document = {**CHAIN, "nodes": [function("a", retry={"max_attempts": 5}), *CHAIN["nodes"][1:]]}
    run_id, held = begin(harness, document)
    task = held.waiting.pop("a")
    harness.answer(task, {"status": "completed", "result": 1, "patch": wish})
    held.settle()
    run = harness.meta(run_id)
    assert (run["status"], run["rev"]) == ("FAILED", "0")
    assert json.loads(run["error"])["type"] == "PatchRefused"
    assert len(harness.tasks) == 1, "not retried"
    harness.assert_fold_equals_store(run_id)


def test_members_that_mean_nothing_are_not_kept(harness: Harness) -> None:
    run_id, held = begin(harness)
    signal(held, "a", {**add_node(function("n")), "why": float("nan"), "from": 5})
    held.settle()
    (record,), _ = list_patches(harness.services, run_id, harness.meta(run_id), 0, 10)
    assert record.detail["operations"] == [add_node(function("n"))]
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_the_errors_of_a_refused_patch_are_on_the_node(harness: Harness) -> None:
    run_id, held = begin(harness)
    signal(held, "a", add_node({"id": "n", "type": "nope"}))
    held.settle()
    error = json.loads(harness.meta(run_id)["error"])
    assert [entry["path"] for entry in error["errors"]] == ["/nodes/3/type"]


def test_a_signal_with_a_patch_delivered_again_changes_nothing(harness: Harness) -> None:
    run_id, held = begin(harness)
    sent = signal(held, "a", add_node(function("n")), add_edge("a>n"))
    held.settle()
    held.done("n")
    for _ in range(3):
        harness.answer(sent, sent["answer"])
        held.settle()
    assert harness.meta(run_id)["rev"] == "1"
    assert finish(harness, run_id, held)["status"] == "COMPLETED"
    assert [task["node_id"] for task in harness.tasks].count("n") == 1


def test_two_patches_in_one_batch_both_apply(harness: Harness) -> None:
    document = {"nodes": [function("a"), function("b"), function("j")], "edges": edges("a>j b>j")}
    run_id, held = begin(harness, document)
    signal(held, "a", add_node(function("x")), add_edge("a>x"), add_edge("x>j"))
    signal(held, "b", add_node(function("y")), add_edge("b>y"), add_edge("y>j"))
    held.settle()
    assert set(held.waiting) == {"x", "y"}
    assert harness.meta(run_id)["rev"] == "2"
    run = finish(harness, run_id, held)
    assert (run["status"], len(harness.tasks)) == ("COMPLETED", 5)


def test_a_signal_decided_on_the_old_graph_is_decided_again(harness: Harness) -> None:
    """Another coordinator still has the old graph as its newest: its commit is refused, not applied."""
    run_id, held = begin(harness)
    other = Coordinator(harness.services)
    patch(harness, run_id, add_node(function("n")), add_edge("a>n"))
    task = held.waiting.pop("a")
    harness.answer(task, {"status": "completed", "result": 1})
    harness.coordinator = other
    held.settle()
    assert set(held.waiting) == {"b", "n"}
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_completion_that_fails_after_all_takes_no_patch_with_it(harness: Harness) -> None:
    document = {"nodes": [function("a", set={"v": "${output.zz}"}), function("b")], "edges": edges("a>b")}
    run_id, held = begin(harness, document)
    signal(held, "a", add_node(function("n")), result=1)
    held.settle()
    run = harness.meta(run_id)
    assert (run["status"], run["rev"]) == ("FAILED", "0")
    assert json.loads(run["error"])["type"] == "TemplateError"
    harness.assert_fold_equals_store(run_id)


def test_a_loop_body_grows_by_its_own_patch(harness: Harness) -> None:
    loop = {"condition": "iteration < 3", "max_iterations": 9, "loop_back_to": "a"}
    document = {"nodes": [function("a"), {"id": "l", "type": "loop", "loop": loop}], "edges": edges("a>l")}
    run_id, held = begin(harness, document)
    signal(held, "a", add_node(function("n")), add_edge("a>n"), add_edge("n>l"))
    held.settle()
    assert set(held.waiting) == {"n"}
    assert finish(harness, run_id, held)["status"] == "COMPLETED"
    assert [task["node_id"] for task in harness.tasks] == ["a", "n"] * 3


def limited(harness: Harness, **limits: int) -> None:
    harness.services = dataclasses.replace(harness.services, limits=Limits(**limits))
    harness.coordinator = Coordinator(harness.services)


def test_nodes_added_by_nodes_are_limited_in_number(harness: Harness) -> None:
    limited(harness, agent_nodes=3)
    run_id, held = begin(harness)
    signal(held, "a", add_node(function("n")), add_node(function("m")))
    held.settle()
    patch(harness, run_id, *[add_node(function(f"p{i}")) for i in range(4)])
    held.settle()
    signal(held, "n", add_node(function("o")), add_node(function("q")))
    held.settle()
    error = json.loads(harness.meta(run_id)["error"])
    assert (error["type"], error["errors"][0]["code"]) == ("PatchRefused", "limit_exceeded")


def test_nodes_added_by_added_nodes_are_limited_in_depth(harness: Harness) -> None:
    limited(harness, patch_depth=2)
    run_id, held = begin(harness)
    for node, new in (("a", "n1"), ("n1", "n2"), ("n2", "n3")):
        assert harness.meta(run_id)["status"] == "RUNNING"
        signal(held, node, add_node(function(new)), add_edge(f"{node}>{new}"))
        held.settle()
    assert status(harness, run_id, "n2") == "FAILED"
    assert json.loads(harness.meta(run_id)["error"])["errors"][0]["code"] == "limit_exceeded"


def test_patches_of_a_run_are_limited(harness: Harness) -> None:
    limited(harness, patches=2)
    run_id, held = begin(harness)
    for number in range(2):
        patch(harness, run_id, replace("/nodes/c/config/params", number + 10))
    signal(held, "a", replace("/nodes/c/config/params", 5))
    held.settle()
    assert json.loads(harness.meta(run_id)["error"])["type"] == "PatchRefused"


def test_a_step_that_dies_after_its_commit_is_repeated_with_the_same_jobs(harness: Harness) -> None:
    run_id, held = begin(harness)
    signal(held, "a", add_node(function("n")), add_edge("a>n"))
    send, harness.queues.send = harness.queues.send, _dies
    with pytest.raises(KeyboardInterrupt):
        harness.settle_batch()
    harness.queues.send = send
    harness.clock.now += 10 * 60_000
    held.settle()
    assert set(held.waiting) == {"b", "n"}
    assert harness.meta(run_id)["rev"] == "1"
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def _dies(messages: object) -> None:
    raise KeyboardInterrupt
