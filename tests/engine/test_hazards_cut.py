"""HAZARDS 23, what `always` edges start: joins behind it that also wait for what the failure cancelled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.domain.errors import Conflict
from chalicelib.domain.forking import fork_draft
from chalicelib.engine.controls import pause_run, resume_run
from chalicelib.engine.forks import ForkRequest, fork_run
from chalicelib.engine.rebuild import ensure_present
from chalicelib.engine.redo import redrive_run, rerun_node
from chalicelib.engine.rollback import rollback_run
from tests.domain.documents import compiled, workflow
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, count, recover
from tests.engine.patching import Held, add_edge, edge, edges, function, patch, remove, status
from tests.engine.test_hazards_flow import begin, executions, loop

Json = Any
BOOM = {"type": "Boom", "message": "no", "retryable": False}


def statuses(harness: Harness, run_id: str, *nodes: str) -> list[str]:
    return [status(harness, run_id, node) for node in nodes]


def drop_cancelled(harness: Harness, run_id: str, held: Held) -> None:
    """The workers of what was cancelled never answer."""
    for node in list(held.waiting):
        if status(harness, run_id, node) == "CANCELLED":
            held.waiting.pop(node)


def failed(harness: Harness, run_id: str, by: str = "a") -> None:
    assert json.loads(harness.meta(run_id)["error"])["node_id"] == by
    assert_whole(harness, run_id, "FAILED")


def test_23_a_join_of_the_clean_up_and_of_what_the_failure_cancelled_runs(harness: Harness) -> None:
    nodes = [function(n) for n in ("a", "b", "tidy", "after")]
    meet = function("meet", {"b": "${ctx.b.status}", "tidy": "${ctx.tidy.output}"})
    run_id, held = begin(harness, [*nodes, meet], edges("a>tidy:always tidy>meet b>meet meet>after"))
    held.fail("a")
    assert statuses(harness, run_id, "b", "tidy", "meet") == ["CANCELLED", "RUNNING", "PENDING"]
    late = held.waiting.pop("b")
    held.done("tidy", result=7)
    assert held.waiting["meet"]["config"]["params"] == {"b": "CANCELLED", "tidy": 7}
    harness.answer(late, {"status": "completed", "result": 1})
    held.settle()
    held.done("meet")
    held.done("after")
    assert [e["node_id"] for e in harness.events(run_id) if e["type"] == "node_cancelled"] == ["b"]
    assert count(harness, run_id, "signal_ignored") == 1
    failed(harness, run_id)


#: Join -> its sources that are cancelled, done before the failure, and done after it; whether it runs.
JOINS = [
    ("all", 1, 0, 1, True),
    ("all", 1, 1, 1, True),
    ("all", 0, 1, 1, True),
    ("all", 1, 1, 0, False),
    ("any", 2, 0, 1, True),
    ({"count": 2}, 1, 0, 2, True),
    ({"count": 2}, 1, 1, 1, True),
    ({"count": 2}, 2, 0, 1, False),
    ({"count": 2}, 1, 1, 0, False),
    ({"any": True, "cancel_losers": True}, 1, 0, 2, True),
]


@pytest.mark.parametrize(("join", "cancelled", "before", "after", "runs"), JOINS)
def test_23_a_join_runs_if_it_is_fulfilled_and_reached_since_the_failure(
    join: Json, cancelled: int, before: int, after: int, runs: bool, harness: Harness
) -> None:
    names = {
        "c": [f"c{n}" for n in range(cancelled)],
        "p": [f"p{n}" for n in range(before)],
        "t": [f"t{n}" for n in range(after)],
    }
    into = [name for group in names.values() for name in group]
    ways = [f"{name}>meet" for name in into] + [f"a>{name}:always" for name in [*names["t"], "other"]]
    nodes = [function(name) for name in ("a", *into, "other", "next")]
    run_id, held = begin(harness, [*nodes, function("meet", join=join)], edges(" ".join([*ways, "meet>next"])))
    for name in names["p"]:
        held.done(name)
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    held.done("other")
    for name in names["t"]:
        if name in held.waiting:
            held.done(name)
        drop_cancelled(harness, run_id, held)
    assert ("meet" in held.waiting) == runs
    for name in ("meet", "next") if runs else ():
        held.done(name)
    assert statuses(harness, run_id, "meet", "next") == ["COMPLETED" if runs else "SKIPPED"] * 2
    failed(harness, run_id)


def test_23_a_join_that_only_edges_from_before_the_failure_reached_is_skipped(harness: Harness) -> None:
    nodes = [function(n) for n in ("a", "done", "tidy", "meet", "next", "quick")]
    ways = [*edges("a>tidy:always done>meet meet>next done>quick"), edge("tidy>meet", condition="output == 'yes'")]
    run_id, held = begin(harness, [*nodes, function("late", join="any")], [*ways, *edges("quick>late tidy>late")])
    held.done("done")
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    held.done("tidy", result="no")
    assert set(held.waiting) == {"late"}  # reached by the clean-up, not by what was cancelled
    assert statuses(harness, run_id, "meet", "next") == ["SKIPPED", "SKIPPED"]
    held.done("late")
    failed(harness, run_id)


def test_23_edges_that_the_failed_node_does_not_take_are_resolved_too(harness: Harness) -> None:
    nodes = [function(n) for n in ("a", "ok", "tidy", "meet")]
    run_id, held = begin(harness, nodes, edges("a>ok ok>meet a>tidy:always tidy>meet a>meet"))
    held.fail("a")
    held.done("tidy")
    held.done("meet")
    assert statuses(harness, run_id, "ok", "meet") == ["SKIPPED", "COMPLETED"]
    failed(harness, run_id)


def test_the_always_edge_itself_reaches_a_join(harness: Harness) -> None:
    nodes = [function(n) for n in ("a", "b", "c", "first", "second")]
    run_id, held = begin(harness, nodes, edges("a>first:always b>first first>second c>second"))
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    held.done("first")
    held.done("second")
    failed(harness, run_id)


def test_skips_spread_to_joins_further_on(harness: Harness) -> None:
    """b is cancelled; b2, j1 and j2 follow it alone; j3 also follows the clean-up."""
    nodes = [function(n) for n in ("a", "b", "done", "b2", "j1", "j2", "tidy", "j3", "j4")]
    ways = "b>b2 b2>j1 done>j1 j1>j2 done>j2 a>tidy:always tidy>j3 j2>j3 j3>j4 b>j4"
    run_id, held = begin(harness, nodes, edges(ways))
    held.done("done")
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    for name in ("tidy", "j3", "j4"):
        held.done(name)
    assert statuses(harness, run_id, "b", "b2", "j1", "j2") == ["CANCELLED", "SKIPPED", "SKIPPED", "SKIPPED"]
    failed(harness, run_id)


def test_23_in_a_loop_each_iteration_s_join_goes_by_what_reached_it(harness: Harness) -> None:
    nodes = [function(n) for n in ("s", "a", "b", "tidy", "meet", "out")]
    ways = "s>a s>b a>tidy:always tidy>meet b>meet meet>l l>out"
    run_id, held = begin(harness, [*nodes, loop("l", "s", "iteration < 3")], edges(ways))
    for name in ("s", "a", "b", "tidy", "meet", "s"):
        held.done(name)
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    held.done("tidy")
    assert held.waiting["meet"]["iteration"] == 2
    held.done("meet")
    for name in ("s", "a", "b", "tidy", "meet", "out"):
        held.done(name)
    found = {text: end for text, end in executions(harness, run_id, "meet").items()}
    assert found == dict.fromkeys(("meet@l=1#0.1", "meet@l=2#0.1", "meet@l=3#0.1"), "COMPLETED")
    failed(harness, run_id)


def test_a_loop_that_is_cancelled_ends_and_what_only_it_leads_to_is_skipped(harness: Harness) -> None:
    nodes = [function(n) for n in ("s", "mend", "a", "tidy", "meet", "over")]
    ways = "s>l l>over over>meet s>mend:failure mend>meet a>tidy:always tidy>meet"
    run_id, held = begin(harness, [*nodes, loop("l", "s", "iteration < 9")], edges(ways))
    held.done("s")
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    held.done("tidy")
    held.done("meet")
    assert statuses(harness, run_id, "s", "l", "over", "mend") == ["CANCELLED", "SKIPPED", "SKIPPED", "SKIPPED"]
    failed(harness, run_id)


WAITING = {
    "map": {"type": "map", "config": {"items": [1, 2, 3], "max_concurrency": 2,
                                      "body": {"type": "function", "config": {"handler": "echo"}}}},
    "wait": {"type": "wait", "config": {"seconds": 60}},
    "human": {"type": "human", "config": {"message": "well?"}},
    "event": {"type": "event", "config": {"name": "go"}},
}  # fmt: skip


@pytest.mark.parametrize("kind", WAITING)
def test_23_what_waits_is_cancelled_once_whatever_it_waits_for(kind: str, harness: Harness) -> None:
    nodes = [function(n) for n in ("a", "tidy", "meet")]
    run_id, held = begin(harness, [{"id": "b", **WAITING[kind]}, *nodes], edges("a>tidy:always tidy>meet b>meet"))
    held.waiting.pop("b", None)
    held.fail("a")
    held.done("tidy")
    held.done("meet")
    stopped = [e.get("index") for e in harness.events(run_id) if e["type"] == "node_cancelled"]
    assert sorted(stopped, key=str) == ([0, 1, None] if kind == "map" else [None])
    assert status(harness, run_id, "b") == "CANCELLED"
    failed(harness, run_id)


def test_23_a_node_between_two_attempts_is_cancelled_and_its_edges_are_not_taken(harness: Harness) -> None:
    retry = {"max_attempts": 3, "backoff_ms": 60_000}
    nodes = [function("b", retry=retry), *(function(n) for n in ("a", "tidy", "meet"))]
    run_id, held = begin(harness, nodes, edges("a>tidy:always tidy>meet b>meet"))
    harness.answer(held.waiting.pop("b"), {"status": "failed", "error": {**BOOM, "retryable": True}})
    held.settle()
    assert status(harness, run_id, "b") == "RETRYING"
    held.fail("a")
    assert status(harness, run_id, "b") == "CANCELLED"
    held.done("tidy")
    held.done("meet")
    harness.clock.now += 61_000
    held.settle()
    assert held.waiting == {}
    assert [e["attempt"] for e in harness.events(run_id) if e["type"] == "node_cancelled"] == [2]
    failed(harness, run_id)


def test_23_a_second_failure_leaves_its_own_clean_up_alone(harness: Harness) -> None:
    """tidy's edge into the join was taken before the second failure, so only tidier's counts after it."""
    nodes = [function(n) for n in ("a", "b", "tidy", "more", "tidier", "x", "y")]
    joins = [function("meet"), function("other")]
    ways = "a>tidy:always a>more:always a>x:always tidy>meet b>meet more>tidier:always tidier>meet tidy>other x>other"
    run_id, held = begin(harness, [*nodes, *joins], [*edges(ways), *edges("x>y")])
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    held.done("tidy")
    held.fail("more")
    assert statuses(harness, run_id, "x", "other", "y") == ["CANCELLED", "SKIPPED", "SKIPPED"]
    drop_cancelled(harness, run_id, held)
    held.done("tidier")
    held.done("meet")
    failed(harness, run_id)


UNDO = {"compensate": {"type": "function", "config": {"handler": "echo", "params": "${output}"}}}


def test_23_with_compensate_the_clean_up_and_its_joins_run_first_and_are_undone_too(harness: Harness) -> None:
    nodes = [function(n, n, **UNDO) for n in ("a", "b", "done", "tidy", "meet", "never")]
    ways = edges("a>tidy:always tidy>meet b>meet done>never b>never")
    run_id, held = begin(harness, nodes, ways, on_failure="compensate")
    held.done("done")
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    held.done("tidy")
    held.done("meet")
    undone = []
    while held.waiting:
        (node,) = held.waiting
        assert held.waiting[node]["compensation"] is True
        undone.append(node)
        held.done(node)
    assert undone == ["meet", "tidy", "done"]
    assert (harness.meta(run_id)["rollback"], status(harness, run_id, "never")) == ("done", "SKIPPED")
    failed(harness, run_id)


def test_a_rollback_that_is_asked_for_amid_the_clean_up_undoes_what_is_done(harness: Harness) -> None:
    nodes = [function(n, n, **UNDO) for n in ("a", "b", "done", "tidy", "meet")]
    run_id, held = begin(harness, nodes, edges("a>tidy:always tidy>meet b>meet"))
    held.done("done")
    pause_run(harness.services, run_id, "ann")
    held.fail("a")
    rollback_run(harness.services, run_id, "ann")
    held.waiting.clear()
    held.settle()
    held.done("done")
    assert held.waiting == {}
    assert harness.meta(run_id)["rollback"] == "done"
    failed(harness, run_id)


CUT = "s>a s>b s>done a>tidy:always tidy>meet b>meet done>once b>once meet>last"


def before_the_cut(harness: Harness) -> tuple[str, Held]:
    """A run of CUT in which a, b and once are still to be answered."""
    nodes = [function(n, n) for n in ("s", "a", "b", "done", "tidy", "meet", "once", "last")]
    run_id, held = begin(harness, nodes, edges(CUT))
    held.done("s")
    held.done("done")
    return run_id, held


def cut_while_paused(harness: Harness) -> tuple[str, Held]:
    """Its node a has failed in a pause: what is cancelled is still to be worked off."""
    run_id, held = before_the_cut(harness)
    pause_run(harness.services, run_id, "ann")
    held.fail("a")
    held.waiting.clear()
    return run_id, held


def cut(harness: Harness) -> tuple[str, Held]:
    """A run whose `a` has failed: `b` is cancelled, `once` was reached before alone, `meet` waits for `tidy`."""
    run_id, held = before_the_cut(harness)
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    return run_id, held


def test_23_a_redrive_runs_all_of_it_again_as_if_nothing_had_been_cut(harness: Harness) -> None:
    run_id, held = cut(harness)
    for name in ("tidy", "meet", "last"):
        held.done(name)
    assert status(harness, run_id, "once") == "SKIPPED"
    failed(harness, run_id)
    redrive_run(harness.services, run_id, "ann")
    held.settle()
    assert set(held.waiting) == {"a", "b"}
    held.done("b")
    held.done("once")
    held.done("a")
    for name in ("tidy", "meet", "last"):
        held.done(name)
    assert harness.meta(run_id)["status"] == "COMPLETED"
    assert {"s@#0.1", "done@#0.1"} == {*executions(harness, run_id, "s"), *executions(harness, run_id, "done")}
    assert_whole(harness, run_id)


def test_a_redrive_that_fails_again_is_cut_anew(harness: Harness) -> None:
    run_id, held = cut(harness)
    for name in ("tidy", "meet", "last"):
        held.done(name)
    redrive_run(harness.services, run_id, "ann")
    held.settle()
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    assert statuses(harness, run_id, "b", "once") == ["CANCELLED", "SKIPPED"]
    for name in ("tidy", "meet", "last"):
        held.done(name)
    failed(harness, run_id)


def test_a_rerun_amid_the_clean_up_makes_the_run_whole_again(harness: Harness) -> None:
    """The rerun finds the cancelled node's edges about to be resolved, which no longer holds where it runs anew."""
    run_id, held = cut_while_paused(harness)
    assert "$beaten:b@#0.1" in harness.store.snapshot(run_id)["tok"]
    rerun_node(harness.services, run_id, "b", "ann")
    held.settle()
    assert "error" not in harness.meta(run_id)
    assert set(held.waiting) == {"b", "tidy"}
    for name in ("b", "once", "tidy", "meet", "last"):
        held.done(name)
    assert harness.meta(run_id)["status"] == "COMPLETED"
    assert_whole(harness, run_id)


def test_a_redrive_skips_again_what_was_about_to_be_skipped_when_all_was_cancelled(harness: Harness) -> None:
    nodes = [function(n) for n in ("s", "a", "b", "meet", "next")]
    ways = [edge("s>meet", condition="false"), *edges("s>a s>b a>next"), edge("b>meet", condition="false")]
    run_id, held = begin(harness, nodes, ways)
    held.done("s")
    pause_run(harness.services, run_id, "ann")
    held.done("b")
    assert "meet@#0.0" in harness.store.snapshot(run_id)["tok"]
    held.fail("a")
    resume_run(harness.services, run_id, "ann")
    held.settle()
    assert harness.meta(run_id)["status"] == "FAILED"
    with pytest.raises(Conflict, match="has not run yet"):
        rerun_node(harness.services, run_id, "meet", "ann")
    redrive_run(harness.services, run_id, "ann")
    held.settle()
    assert (set(held.waiting), status(harness, run_id, "meet")) == ({"a"}, "SKIPPED")
    held.done("a")
    held.done("next")
    assert_whole(harness, run_id)


def test_23_a_wipe_of_the_store_between_any_two_steps_changes_nothing(harness: Harness) -> None:
    def wiped() -> None:
        harness.client.flushall()
        ensure_present(harness.services, run_id)

    run_id, held = cut(harness)
    wiped()
    held.done("tidy")
    wiped()
    held.done("meet")
    wiped()
    held.done("last")
    assert status(harness, run_id, "once") == "SKIPPED"
    failed(harness, run_id)


def test_23_a_wipe_before_the_cancelled_edges_are_resolved_loses_nothing(harness: Harness) -> None:
    run_id, held = cut_while_paused(harness)
    harness.client.flushall()
    ensure_present(harness.services, run_id)
    resume_run(harness.services, run_id, "ann")
    held.settle()
    assert status(harness, run_id, "once") == "SKIPPED"
    for name in ("tidy", "meet", "last"):
        held.done(name)
    failed(harness, run_id)


def test_a_fork_taken_amid_the_clean_up_starts_nothing_that_was_cancelled(harness: Harness) -> None:
    run_id, held = cut(harness)
    seq = next(e["seq"] for e in harness.events(run_id) if e["type"] == "node_failed")
    copy = fork_run(harness.services, ForkRequest("acme", "ann", run_id, from_seq=seq), "copy")
    mine = dict(held.waiting)
    held.settle()
    assert {name for name, task in held.waiting.items() if task["run_id"] == copy} == {"tidy"}
    for name in ("tidy", "meet", "last"):
        held.done(name)
    assert statuses(harness, copy, "b", "once") == ["CANCELLED", "SKIPPED"]
    assert_whole(harness, copy, "FAILED")
    held.waiting |= mine
    for name in ("tidy", "meet", "last"):
        held.done(name)
    failed(harness, run_id)


def test_a_fork_knows_which_part_of_a_fan_out_the_cut_has_stopped() -> None:
    plan = compiled(workflow(["s", "x"], [edge("s>x")]))
    part = '{"edges":{"s:x:success":1},"ended":null}'
    tokens = {f"$fan:s:{no}@#0.1": f"{no}|c{no}|1|i|g|g|0|{part}" for no in (3, 5, 7)}
    state = {"meta": {"epoch": "0", "cut": "5"}, "tok": tokens}
    emits = fork_draft(plan, state, {}).emits
    assert [(emit.token.text, "stopped" in emit.data) for emit in emits] == [
        ("$fan:s:3@#1.1", True),
        ("$fan:s:5@#1.1", False),
        ("$fan:s:7@#1.1", False),
    ]


def test_a_patch_that_counts_a_waiting_join_anew_does_not_make_old_edges_new(harness: Harness) -> None:
    """`once` loses the edge it waits for: what is left reached it before the failure."""
    nodes = [function(n, n) for n in ("a", "b", "done", "tidy", "more", "once", "both")]
    ways = "a>tidy:always tidy>more done>once more>once done>both tidy>both more>both"
    run_id, held = begin(harness, nodes, edges(ways))
    held.done("done")
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    held.done("tidy")
    patch(harness, run_id, remove("/edges/more:once:success"), remove("/edges/more:both:success"))
    held.settle()
    assert set(held.waiting) == {"more", "both"}
    assert status(harness, run_id, "once") == "SKIPPED"
    held.done("more")
    held.done("both")
    failed(harness, run_id)


def test_a_patch_that_takes_away_what_reached_a_join_since_leaves_it_to_be_skipped(harness: Harness) -> None:
    nodes = [function(n, n) for n in ("a", "b", "done", "tidy", "more", "once")]
    run_id, held = begin(harness, nodes, edges("a>tidy:always a>more:always done>once tidy>once more>once"))
    held.done("done")
    held.fail("a")
    drop_cancelled(harness, run_id, held)
    held.done("tidy")
    patch(harness, run_id, remove("/edges/tidy:once:success"), remove("/edges/more:once:success"))
    held.settle()
    assert status(harness, run_id, "once") == "SKIPPED"
    held.done("more")
    failed(harness, run_id)


def test_a_patch_leads_the_clean_up_into_a_join_that_was_decided_by_the_failure_no_more(harness: Harness) -> None:
    """`b` was cancelled, so its join is skipped: an edge into it is refused, one into a new node is not."""
    run_id, held = cut(harness)
    patch(
        harness,
        run_id,
        {"op": "add", "path": "/nodes/-", "value": function("extra")},
        add_edge("tidy>extra"),
    )
    held.done("tidy")
    assert set(held.waiting) == {"meet", "extra"}
    for name in ("meet", "extra", "last"):
        held.done(name)
    failed(harness, run_id)


def test_23_the_rest_of_a_wide_fan_out_that_the_failure_met_is_cancelled(harness: Harness) -> None:
    """Edges that were taken and not followed yet start nothing any more; a redrive follows them."""
    wide = [f"w{n}" for n in range(250)]
    nodes = [function(n) for n in ("s", "a", *wide, "tidy", "once", "meet")]
    ways = [*(f"s>{n}" for n in wide), "s>once", "a>once", *(f"{n}>meet" for n in wide), "a>tidy:always", "tidy>meet"]
    run_id, held = begin(harness, nodes, edges(" ".join(ways)))
    task, broken = held.waiting.pop("s"), held.waiting.pop("a")
    harness.answer(task, {"status": "completed", "result": 1})
    harness.settle_batch()
    left = [text for text in harness.store.snapshot(run_id)["tok"] if text.startswith("$fan:")]
    assert left  # the third hundred goes on in a step of its own
    harness.coordinator.handle([failing(broken)])
    held.settle()
    drop_cancelled(harness, run_id, held)
    assert set(held.waiting) == {"tidy"}
    assert {status(harness, run_id, n) for n in wide} == {"CANCELLED"}
    assert status(harness, run_id, "once") == "SKIPPED"
    held.done("tidy")
    held.done("meet")
    failed(harness, run_id)
    redrive_run(harness.services, run_id, "ann")
    held.settle()
    assert set(held.waiting) == {"a", *wide}
    held.done("a")
    assert {"once", "tidy"} <= set(held.waiting)  # the edge of `s` into it was taken before
    while held.waiting:
        held.done(next(iter(held.waiting)))
    assert_whole(harness, run_id)


def failing(task: Json) -> str:
    head = {name: task[name] for name in ("version", "job_id", "run_id", "node_id")}
    return json.dumps({**head, "status": "failed", "error": BOOM})


def test_a_part_of_a_fan_out_that_is_delivered_twice_is_followed_once(harness: Harness) -> None:
    wide = [f"w{n}" for n in range(250)]
    run_id, held = begin(harness, [function(n) for n in ("s", *wide)], edges(" ".join(f"s>{n}" for n in wide)))
    harness.answer(held.waiting.pop("s"), {"status": "completed", "result": 1})
    harness.settle_batch()
    (message,) = harness.queues.receive("completion-signals")
    assert harness.coordinator.handle([message.body]) == set()
    assert harness.coordinator.handle([message.body, message.body]) == set()
    held.settle()
    while held.waiting:
        held.done(next(iter(held.waiting)))
    assert_whole(harness, run_id)


def test_a_failure_without_an_always_edge_leaves_no_token_and_no_mark(harness: Harness) -> None:
    run_id, held = begin(harness, [function(n) for n in ("a", "b", "c")], edges("a>c b>c"))
    before = len(harness.journal.read(run_id, 0, 10_000))
    held.fail("a")
    made = harness.journal.read(run_id, 0, 10_000)[before:]
    assert len(made) == 2  # the failure, and the end
    assert "cut" not in harness.meta(run_id)
    assert not [text for text in harness.store.snapshot(run_id)["dis"] if text.startswith("$beaten")]
    failed(harness, run_id)


def test_23_a_step_that_dies_amid_it_is_made_good_by_the_repeat(harness: Harness) -> None:
    run_id, held = before_the_cut(harness)
    text = failing(held.waiting.pop("a"))
    kept, harness.store.commit = harness.store.commit, once_then_dead(harness.store.commit)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        harness.coordinator.handle([text])
    harness.store.commit = kept  # type: ignore[method-assign]
    assert "$beaten:b@#0.1" in harness.store.snapshot(run_id)["tok"]
    assert harness.coordinator.handle([text]) == set()
    held.settle()
    recover(harness) if "tidy" not in held.waiting else None
    drop_cancelled(harness, run_id, held)
    for name in ("tidy", "meet", "last"):
        held.done(name)
    failed(harness, run_id)


def once_then_dead(call: Any) -> Any:
    calls = []

    def commit(batch: Any) -> Any:
        calls.append(batch)
        if len(calls) > 1:
            raise RuntimeError("the process dies")
        return call(batch)

    return commit
