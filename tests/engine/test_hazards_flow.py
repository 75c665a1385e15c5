"""HAZARDS 19 to 24 and 31, one case each: scopes, joins in loops, counts, losers, failures, early reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, count, handle_until_done, signal, tasks
from tests.engine.patching import Held, edge, edges, function, status

Json = Any


def loop(id: str, back_to: str, condition: str, **more: Json) -> Json:
    return {"id": id, "type": "loop", "loop": {"condition": condition, "loop_back_to": back_to, **more}}


def begin(harness: Harness, nodes: list[Json], edge_list: list[Json], **more: Json) -> tuple[str, Held]:
    held = Held(harness)
    run_id = harness.start({"nodes": nodes, "edges": edge_list, **more})
    held.settle()
    return run_id, held


def executions(harness: Harness, run_id: str, node: str) -> dict[str, str]:
    """Token text -> how it ended, of the node's executions."""
    done = harness.store.snapshot(run_id, ("done",))["done"]
    return {text: record.split("|")[3] for text, record in done.items() if text.startswith(f"{node}@")}


NESTED = [
    function("x", "${iteration}"),
    loop("inner", "x", "iteration < 2"),
    loop("outer", "x", "iteration < 2"),
    function("last", {"x": "${ctx.x.output}"}),
]


def test_19_the_same_inner_iteration_of_two_outer_ones_is_two_executions(harness: Harness) -> None:
    run_id, held = begin(harness, NESTED, edges("x>inner inner>outer outer>last"))
    first = {}
    for outer, inner in ((1, 1), (1, 2), (2, 1), (2, 2)):
        task = held.waiting["x"]
        assert (task["loops"], task["iteration"]) == ({"outer": outer, "inner": inner}, inner)
        first.setdefault((outer, inner), dict(task))
        held.done("x", result=10 * outer + inner)
        harness.answer(first.get((1, 2), task), {"status": "completed", "result": -1})
        held.settle()
    assert held.waiting["last"]["config"]["params"] == {"x": 22}
    held.done("last")
    assert len(executions(harness, run_id, "x")) == 4
    assert_whole(harness, run_id)


def test_19_a_late_outcome_of_an_older_iteration_does_not_replace_a_newer_one(harness: Harness) -> None:
    nodes = [
        function("s"), function("slow"), function("quick"), function("j", join="any"),
        loop("l", "s", "iteration < 2"), function("read", {"slow": "${ctx.slow.output}"}),
    ]  # fmt: skip
    run_id, held = begin(harness, nodes, edges("s>slow s>quick slow>j quick>j j>l l>read"))
    held.done("s")
    late = held.waiting["slow"]
    held.done("quick")
    held.done("j")
    held.done("s")
    held.done("slow", result="newer")
    harness.answer(late, {"status": "completed", "result": "older"})
    held.settle()
    held.done("j")
    assert held.waiting["read"]["config"]["params"] == {"slow": "newer"}
    held.done("quick")
    held.done("read")
    assert_whole(harness, run_id)


def test_20_a_late_arrival_belongs_to_the_join_of_its_own_iteration_and_its_failure_ends_nothing(
    harness: Harness,
) -> None:
    nodes = [function(n) for n in ("s", "p", "q")] + [function("j", join="any"), loop("l", "s", "iteration < 2")]
    run_id, held = begin(harness, nodes, edges("s>p s>q p>j q>j j>l"))
    held.done("s")
    older = held.waiting["q"]
    for node in ("p", "j", "s"):
        held.done(node)
    newer = held.waiting["q"]
    assert (older["iteration"], newer["iteration"]) == (1, 2)
    error = {"type": "Boom", "message": "no", "retryable": False}
    harness.answer(older, {"status": "failed", "error": error})
    held.settle()
    assert "j" not in held.waiting and status(harness, run_id, "j") != "RUNNING"
    held.done("p")
    held.done("j")
    assert harness.meta(run_id)["status"] == "RUNNING"  # q of the second iteration is still at work
    held.done("q")
    assert count(harness, run_id, "node_failed") == 1
    assert_whole(harness, run_id)


def test_21_a_count_out_of_reach_skips_the_node_at_once_and_the_run_ends(harness: Harness) -> None:
    sources = [function(n, n in "ab") for n in "abcde"]
    into = [edge(f"{n}>j", condition="output == true") for n in "abcde"]
    nodes = [*sources, function("j", join={"count": 3}), function("after")]
    run_id, held = begin(harness, nodes, [*into, edge("j>after")])
    for node in ("a", "c", "d"):
        held.done(node)
    assert status(harness, run_id, "j") == "PENDING"  # b and e could still make it three
    held.done("e")
    assert [status(harness, run_id, node) for node in ("j", "after")] == ["SKIPPED", "SKIPPED"]
    held.done("b")
    assert_whole(harness, run_id)
    shown = [event for event in harness.events(run_id) if event["type"] == "node_skipped" and event["node_id"] == "j"]
    assert {name: shown[0]["data"][name] for name in ("needs", "taken", "edges")} == {
        "needs": 3,
        "taken": 1,
        "edges": 5,
    }
    assert "1 of its 5" in shown[0]["data"]["reason"]


def test_22_losers_are_those_that_can_only_lead_into_the_fired_join(harness: Harness) -> None:
    nodes = [function(n) for n in ("fast", "slow", "next", "side", "beside")]
    join = {"any": True, "cancel_losers": True}
    run_id, held = begin(
        harness, [*nodes, function("j", join=join)], edges("fast>j slow>next next>j side>j side>beside")
    )
    late = held.waiting["slow"]
    held.done("fast")
    found = [status(harness, run_id, node) for node in ("slow", "next", "side", "beside")]
    assert found == ["CANCELLED", "SKIPPED", "RUNNING", "PENDING"]
    harness.answer(late, {"status": "completed", "result": 1})
    held.settle()
    assert "next" not in held.waiting and count(harness, run_id, "signal_ignored") == 1
    for node in ("side", "beside", "j"):
        held.done(node)
    assert_whole(harness, run_id)


@pytest.mark.parametrize("ways", ["side>w side>beside w>j", "side>w side>beside fast>w w>j"])
def test_22_a_loser_that_would_wait_does_not_begin_any_more_either(ways: str, harness: Harness) -> None:
    """What waits begins with a timer of its own: that is held back as any other node is, also where it is a join."""
    nodes = [function(n) for n in ("fast", "side", "beside")] + [{"id": "w", "type": "wait", "config": {"seconds": 9}}]
    join = {"any": True, "cancel_losers": True}
    run_id, held = begin(harness, [*nodes, function("j", join=join)], edges(f"fast>j {ways}"))
    held.done("fast")
    assert status(harness, run_id, "w") == "SKIPPED"
    held.done("side")
    assert status(harness, run_id, "w") == "SKIPPED"
    held.done("beside")
    held.done("j")
    assert_whole(harness, run_id)


def test_22_a_loser_that_begins_with_the_commit_by_which_it_loses_is_no_finding(harness: Harness) -> None:
    join = {"any": True, "cancel_losers": True}
    run_id, held = begin(harness, [function(n) for n in "sx"] + [function("j", join=join)], edges("s>j s>x x>j"))
    held.done("s")
    assert set(held.waiting) - {"x"} == {"j"} and status(harness, run_id, "x") == "CANCELLED"
    held.done("j")
    assert_whole(harness, run_id)


def test_22_a_loser_that_failed_before_it_could_wait_has_run(harness: Harness) -> None:
    """It was skipped as one that never started, and so were those behind it, a second time."""
    early = {"id": "early", "type": "wait", "config": {"until": "${ctx.fast.output.no}"}}
    nodes = [function("slow"), early, *(function(n) for n in ("fast", "next", "handler"))]
    join = {"any": True, "cancel_losers": True}
    ways = edges("fast>early early>next next>j early>handler:failure handler>j slow>j")
    run_id, held = begin(harness, [*nodes, function("j", join=join)], ways)
    held.done("fast")
    assert [status(harness, run_id, node) for node in ("early", "next", "handler")] == ["FAILED", "SKIPPED", "RUNNING"]
    held.done("slow")
    assert [status(harness, run_id, node) for node in ("early", "handler")] == ["FAILED", "CANCELLED"]
    held.done("j")
    assert_whole(harness, run_id)
    assert count(harness, run_id, "node_skipped") == 1


def test_23_an_always_edge_alone_does_not_handle_a_failure_and_outlives_fail_fast(harness: Harness) -> None:
    nodes = [function(n) for n in ("a", "tidy", "tidier", "other")]
    run_id, held = begin(harness, nodes, edges("a>tidy:always tidy>tidier"))
    held.fail("a")
    assert status(harness, run_id, "other") == "CANCELLED"
    held.waiting.pop("other")
    held.done("tidy")
    held.done("tidier")
    assert json.loads(harness.meta(run_id)["error"])["node_id"] == "a"
    assert_whole(harness, run_id, "FAILED")


@pytest.mark.parametrize("mode", ["fail_fast", "finish_branches"])
def test_23_a_failure_edge_whose_condition_is_false_handles_nothing(harness: Harness, mode: str) -> None:
    into = edge("a>b:failure", condition="error.type == 'Other'")
    run_id, held = begin(harness, [function("a"), function("b")], [into], on_failure=mode)
    held.fail("a")
    assert held.waiting == {} and count(harness, run_id, "node_dispatched") == 1
    assert_whole(harness, run_id, "FAILED")


def test_24_a_failure_edge_out_of_a_body_ends_the_loop_and_skips_its_loop_node(harness: Harness) -> None:
    nodes = [function("a"), loop("l", "a", "iteration < 5"), function("handler"), function("after")]
    run_id, held = begin(harness, nodes, edges("a>l l>after a>handler:failure"))
    held.done("a")
    assert held.waiting["a"]["iteration"] == 2
    held.fail("a")
    assert [status(harness, run_id, node) for node in ("l", "after", "handler")] == ["SKIPPED", "SKIPPED", "RUNNING"]
    held.done("handler")
    assert_whole(harness, run_id)


@pytest.mark.parametrize("way_out", ["failure edge", "timeout_path", "none"])
def test_24_a_loop_at_its_limit_is_not_retried(harness: Harness, way_out: str) -> None:
    path = {"timeout_path": ["out"]} if way_out == "timeout_path" else {}
    looping = loop("l", "a", "true", max_iterations=2, **path) | {"retry": {"max_attempts": 3, "backoff_ms": 0}}
    ways = {"failure edge": "a>l l>out:failure", "timeout_path": "a>l", "none": "a>l l>out"}
    run_id, held = begin(harness, [function("a"), looping, function("out")], edges(ways[way_out]))
    held.done("a")
    held.done("a")
    assert set(held.waiting) == ({"out"} if way_out != "none" else set())
    found = "COMPLETED" if way_out == "timeout_path" else "FAILED"
    assert status(harness, run_id, "l") == found and count(harness, run_id, "node_retrying") == 0
    if way_out == "none":
        assert json.loads(harness.meta(run_id)["error"])["type"] == "LoopLimit"
        assert_whole(harness, run_id, "FAILED")
        return
    held.done("out")
    assert_whole(harness, run_id)


def test_31_the_output_of_a_node_that_has_not_settled_is_an_error_before_anything_is_sent(harness: Harness) -> None:
    nodes = [
        function("a"), function("slow"),
        function("asks", {"status": "${ctx.slow.status}"}),
        function("reads", {"n": "${ctx.slow.output.n}"}),
    ]  # fmt: skip
    run_id, held = begin(harness, nodes, edges("a>asks a>reads"), on_failure="finish_branches")
    held.done("a")
    assert held.waiting["asks"]["config"]["params"] == {"status": "PENDING"}
    assert "reads" not in held.waiting and status(harness, run_id, "reads") == "FAILED"
    held.done("asks")
    held.done("slow", result={"n": 1})
    error = json.loads(harness.meta(run_id)["error"])
    assert (error["type"], error["node_id"]) == ("TemplateError", "reads") and "/config/params/n" in error["message"]
    assert_whole(harness, run_id, "FAILED")


def test_a_retried_join_reads_the_edge_that_started_it(harness: Harness) -> None:
    """A second edge arrived during the backoff: it is ignored, also in what the next attempt reads."""
    document = {
        "nodes": [function("a", 1), function("b", 2), {**function("j", "${output}"), "join": "any"}],
        "edges": edges("a>j b>j"),
    }
    document["nodes"][2]["retry"] = {"max_attempts": 2}
    run_id = harness.start(document)
    found = tasks(harness)
    handle_until_done(harness, signal(found["a"], 1))
    failed = {"status": "failed", "error": {"type": "Boom", "message": "no"}}
    harness.answer(tasks(harness)["j"], failed)
    harness.settle_batch()
    handle_until_done(harness, signal(found["b"], 2))
    harness.wait_for_timers()
    assert tasks(harness)["j"]["config"]["params"] == 1
    assert harness.meta(run_id)["status"] == "RUNNING"
