"""HAZARDS 28 and 29: what redrive, rerun and fork bring back, and under which names."""

from __future__ import annotations

import json
from typing import Any

from chalicelib.engine.forks import ForkRequest, fork_run
from chalicelib.engine.redo import redrive_run, rerun_node
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole
from tests.engine.patching import Held, edges, function, status

Json = Any


def begin(harness: Harness, nodes: list[Json], edge_text: str) -> tuple[str, Held]:
    held = Held(harness)
    run_id = harness.start({"nodes": nodes, "edges": edges(edge_text)})
    held.settle()
    return run_id, held


def test_28_a_redrive_runs_the_cancelled_siblings_too_so_that_their_join_is_not_stuck(harness: Harness) -> None:
    run_id, held = begin(harness, [function(n) for n in ("s", "a", "b", "c", "j")], "s>a s>b s>c a>j b>j c>j")
    held.done("s")
    held.done("c")
    old = dict(held.waiting)
    held.fail("a")
    assert [status(harness, run_id, node) for node in "abc"] == ["FAILED", "CANCELLED", "COMPLETED"]
    held.waiting.clear()
    redrive_run(harness.services, run_id, "ann")
    held.settle()
    assert set(held.waiting) == {"a", "b"}
    new = dict(held.waiting)
    assert [new[node]["attempt"] for node in "ab"] == [2, 2]
    assert not {task["job_id"] for task in new.values()} & {task["job_id"] for task in old.values()}
    for node in "ab":  # workers of before answer at last
        harness.answer(old[node], {"status": "completed", "result": "old"})
    held.settle()
    assert set(held.waiting) == {"a", "b"}
    held.done("a")
    assert "j" not in held.waiting
    held.done("b")
    held.done("j")
    (reset,) = [event for event in harness.events(run_id) if event["type"] == "run_redriven"]
    assert set(reset["data"]["from"]) == {"a", "b"}
    assert_whole(harness, run_id)


def test_28_a_rerun_in_a_loop_begins_the_open_iteration_there(harness: Harness) -> None:
    again = {"id": "l", "type": "loop", "loop": {"condition": "iteration < 3", "loop_back_to": "a"}}
    run_id, held = begin(harness, [function("a"), function("b"), again], "a>b b>l")
    held.done("a")
    held.done("b")
    held.done("a")
    rerun_node(harness.services, run_id, "a", "ann")
    held.settle()
    assert (held.waiting["a"]["iteration"], held.waiting["a"]["attempt"]) == (2, 2)
    held.waiting.pop("b")
    for node in "abab":
        held.done(node)
    assert_whole(harness, run_id)


def test_29_a_fork_makes_what_was_outstanding_anew_and_counts_waits_from_now(harness: Harness) -> None:
    wait = {"id": "w", "type": "wait", "config": {"seconds": 600}}
    run_id, held = begin(harness, [function("a"), wait, function("b"), function("end")], "a>b w>end b>end")
    held.done("a")
    harness.clock.now += 500_000
    seq = harness.events(run_id)[-1]["seq"]
    old = held.waiting.pop("b")
    began = harness.clock.now
    fork_run(harness.services, ForkRequest("acme", "ann", run_id, from_seq=seq), "fork-1")
    held.settle()
    new = held.waiting["b"]
    assert (new["run_id"], new["attempt"]) == ("fork-1", 1) and new["job_id"] != old["job_id"]
    harness.answer(old, {"status": "completed", "result": "old"})
    held.settle()
    assert held.waiting["b"] is new and status(harness, "fork-1", "b") == "RUNNING"
    held.done("b")
    dues = [json.loads(text.split("|", 7)[7])["due"] for text in harness.store.snapshot("fork-1")["tok"].values()]
    assert dues == [began + 600_000]
    harness.drain()
    for name in (run_id, "fork-1"):
        assert_whole(harness, name)


def test_29_a_seq_inside_a_commit_is_rounded_to_its_end(harness: Harness) -> None:
    run_id, held = begin(harness, [function(n) for n in ("a", "b", "c")], "a>b a>c")
    held.done("a")
    items = harness.journal.read(run_id)
    wide = next(item for item in items if item.events >= 3)
    fork_run(harness.services, ForkRequest("acme", "ann", run_id, from_seq=wide.seq + 1), "fork-1")
    held.settle()
    assert [status(harness, "fork-1", node) for node in "abc"] == ["COMPLETED", "RUNNING", "RUNNING"]
