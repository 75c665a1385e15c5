"""Rules of patching that no other file tries by themselves; docs/patching.md names the test of each rule."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.domain.errors import Conflict, GraftError, InvalidDocument
from chalicelib.engine.controls import cancel_run
from chalicelib.engine.supervise import GRACE_MS
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, fall_back
from tests.engine.patching import (
    Held,
    add_edge,
    add_node,
    edge,
    edges,
    function,
    patch,
    problem,
    refused,
    remove,
    replace,
    status,
)
from tests.engine.test_patch import JOIN, begin
from tests.engine.test_supervise import settle_all, sweep_all

Json = Any
CHAIN = {"nodes": [function("a", 1), function("b", 2), function("c", 3)], "edges": edges("a>b b>c")}


def finish(harness: Harness, run_id: str, held: Held) -> Json:
    held.settle()
    while held.waiting:
        held.done(next(iter(held.waiting)))
    harness.drain()
    assert_whole(harness, run_id)
    return json.loads(harness.meta(run_id)["output"])


def test_a_node_added_behind_a_running_one_starts_when_that_completes(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    answer = patch(harness, run_id, add_node(function("n", "${ctx.a.output}")), add_edge("a>n"))
    assert answer["dispatched"] == [] and set(held.waiting) == {"a"}
    held.done("a")
    assert set(held.waiting) == {"b", "n"}
    assert finish(harness, run_id, held) == {"c": 3, "n": 1}


def test_a_node_added_before_a_pending_one_is_waited_for(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    assert patch(harness, run_id, add_node(function("n")), add_edge("n>b"))["dispatched"] == ["n"]
    held.settle()
    held.done("a")
    assert "b" not in held.waiting
    held.done("n")
    assert "b" in held.waiting
    assert finish(harness, run_id, held) == {"c": 3}


def test_a_node_put_between_two_takes_the_place_of_their_edge(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN, "a")
    patch(harness, run_id, add_node(function("n")), remove("/edges/b:c"), add_edge("b>n"), add_edge("n>c"))
    held.done("b")
    assert set(held.waiting) == {"n"}
    assert finish(harness, run_id, held) == {"c": 3}


def test_removing_the_node_that_a_join_waits_for_lets_the_join_run(harness: Harness) -> None:
    document = {"nodes": [function(n) for n in "abcdj"], "edges": edges("a>j b>j c>d d>j")}
    run_id, held = begin(harness, document, "a", "b")
    answer = patch(harness, run_id, remove("/nodes/d"))
    assert (answer["removed"], answer["dispatched"]) == (["d"], ["j"])
    finish(harness, run_id, held)


def test_removing_the_last_way_that_could_be_taken_skips_what_hangs_on_it(harness: Harness) -> None:
    into = [edge("a>j", condition="false"), *edges("c>d d>j j>k")]
    run_id, held = begin(harness, {"nodes": [function(n) for n in "acdjk"], "edges": into}, "a")
    assert status(harness, run_id, "j") == "PENDING"
    assert patch(harness, run_id, remove("/nodes/d"))["dispatched"] == []
    held.settle()
    assert [status(harness, run_id, node) for node in "jk"] == ["SKIPPED", "SKIPPED"]
    finish(harness, run_id, held)


def test_a_pending_nodes_type_and_config_may_be_replaced(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    patch(harness, run_id, replace("/nodes/b", {"id": "b", "type": "transform", "config": {"value": "${output + 1}"}}),
          replace("/nodes/c/config/params", "${ctx.b.output}"))  # fmt: skip
    held.done("a")
    assert held.waiting["c"]["config"]["params"] == 2
    assert finish(harness, run_id, held) == {"c": 2}


def test_a_retry_that_a_patch_gives_a_node_at_work_is_made(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    retry = {"op": "add", "path": "/nodes/a/retry", "value": {"max_attempts": 2, "backoff_ms": 0}}
    patch(harness, run_id, retry)
    harness.answer(held.waiting.pop("a"), {"status": "failed", "error": {"type": "Boom", "message": "no"}})
    harness.clock.now += 1000
    held.settle()
    assert held.waiting["a"]["attempt"] == 2
    assert finish(harness, run_id, held) == {"c": 3}


def test_a_retry_given_to_a_node_that_has_failed_for_good_warns_and_does_nothing(harness: Harness) -> None:
    document = {**CHAIN, "nodes": [*CHAIN["nodes"], function("z")], "on_failure": "finish_branches"}
    run_id, held = begin(harness, document)
    held.fail("a")
    answer = patch(harness, run_id, {"op": "add", "path": "/nodes/a/retry", "value": {"max_attempts": 5}})
    assert (answer["dispatched"], [warning["path"] for warning in answer["warnings"]]) == ([], ["/operations/0/path"])
    held.settle()
    assert "a" not in held.waiting and status(harness, run_id, "a") == "FAILED"
    held.done("z")
    assert_whole(harness, run_id, "FAILED")


@pytest.mark.parametrize("gone", [False, True])
def test_a_cancelled_run_takes_no_patch(harness: Harness, gone: bool) -> None:
    run_id, _ = begin(harness, CHAIN)
    cancel_run(harness.services, run_id, "ann")
    if gone:
        settle_all(harness)
        harness.clock.now += GRACE_MS
        sweep_all(harness)
    error = refused(harness, run_id, add_node(function("n")))
    assert isinstance(error, Conflict) and "CANCELLED" in str(error.detail)
    assert error.extra == {"revision": 0}


def test_a_run_that_is_being_rebuilt_takes_the_patch_once_it_is_back(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    old = harness.store.snapshot(run_id)
    held.done("a")
    fall_back(harness, run_id, old)  # the store has forgotten that a is done
    for _ in range(2):
        try:
            answer = patch(harness, run_id, add_node(function("n")), add_edge("a>n"), once="key")
            break
        except GraftError:  # refused by the journal, and being rebuilt
            harness.clock.now += 3000
            sweep_all(harness)
    assert answer["revision"] == 1 and answer["dispatched"] == ["n"]
    finish(harness, run_id, held)


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([add_edge("c>a")], "no_entry"),
        ([add_edge("c>b")], "cycle"),
        ([add_node(function("n")), add_node(function("m")), add_edge("n>m"), add_edge("m>n")], "cycle"),
        ([{"op": "add", "path": "/nodes/c/join", "value": {"count": 2}}], "bad_join"),
        ([remove("/edges/b:c")], "last_edge"),
        (
            [add_node({**function("l"), "loop": {"condition": "true", "loop_back_to": "b"}}), add_edge("a>l")],
            "bad_loop_target",
        ),
    ],
)
def test_a_patch_that_would_leave_a_node_waiting_for_ever_is_refused_with_that_reason(
    harness: Harness, operations: list[Json], code: str
) -> None:
    run_id, held = begin(harness, CHAIN)
    error = refused(harness, run_id, *operations)
    assert code in [found.code for found in error.problems], error.problems
    assert all(len(found.message) > 20 for found in error.problems)
    finish(harness, run_id, held)


def test_an_edge_from_a_node_that_is_skipped_or_cancelled_lets_no_join_wait(harness: Harness) -> None:
    document = {"nodes": [*JOIN["nodes"], function("s"), function("t")], "edges": [*JOIN["edges"], edge("a>s")]}
    document["edges"][-1]["condition"] = "false"
    run_id, held = begin(harness, document, "a")
    assert status(harness, run_id, "s") == "SKIPPED"
    patch(harness, run_id, add_edge("s>j:always"))
    held.done("b")
    held.done("c")
    assert "j" in held.waiting
    finish(harness, run_id, held)


def test_a_failure_edge_out_of_a_loop_that_is_over_is_refused_at_its_operation(harness: Harness) -> None:
    loop = {"id": "l", "type": "loop", "loop": {"condition": "iteration < 2", "loop_back_to": "x"}}
    nodes = [function("x"), loop, function("after"), function("y"), function("j")]
    run_id, held = begin(harness, {"nodes": nodes, "edges": edges("x>l l>after after>j y>j")}, "x", "x", "after")
    error = refused(harness, run_id, add_node(function("n")), add_edge("x>j:failure"))
    assert problem(error) == ("node_started", "/operations/1/path")
    assert 'Loop "l" has completed' in error.problems[0].message and "x:j:failure" in error.problems[0].message
    finish(harness, run_id, held)


def test_a_failure_edge_out_of_a_loop_at_work_may_be_added_and_ends_the_loop_when_taken(harness: Harness) -> None:
    loop = {"id": "l", "type": "loop", "loop": {"condition": "iteration < 9", "loop_back_to": "x"}}
    run_id, held = begin(
        harness, {"nodes": [function("x"), loop, function("after")], "edges": edges("x>l l>after")}, "x"
    )
    patch(harness, run_id, add_node(function("fix")), add_edge("x>fix:failure"))
    held.fail("x")
    assert [status(harness, run_id, node) for node in ("l", "after", "fix")] == ["SKIPPED", "SKIPPED", "RUNNING"]
    finish(harness, run_id, held)


def test_a_patch_whose_document_does_not_compile_carries_every_problem_of_it(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    error = refused(
        harness, run_id, add_edge("a>nowhere"), add_node({"id": "n", "type": "nope"}), replace("/nodes/c/config", {})
    )
    assert isinstance(error, InvalidDocument) and len({found.path for found in error.problems}) == 3
    finish(harness, run_id, held)


def test_a_node_removed_and_added_again_under_its_id_is_the_same_node_changed(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN, "a")
    again = [remove("/nodes/c"), add_node(function("c", 9)), add_edge("b>c")]
    answer = patch(harness, run_id, *again)
    assert (answer["added"], answer["removed"], answer["changed"]) == ([], [], ["c"])
    assert problem(refused(harness, run_id, remove("/nodes/b"), add_node({"id": "b", "type": "pass"}),
                           add_edge("a>b"), add_edge("b>c")))[0] == "node_started"  # fmt: skip
    assert finish(harness, run_id, held) == {"c": 9}
