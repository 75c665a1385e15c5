from __future__ import annotations

import pytest

from chalicelib.domain.errors import InvalidDocument, InvalidInput
from chalicelib.engine.forks import ForkRequest, fork_run
from tests.engine.harness import Harness
from tests.engine.test_redo import DIAMOND, Flaky
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all


def fork(harness: Harness, run_id: str, new: str = "fork-1", **point: object) -> str:
    return fork_run(harness.services, ForkRequest("acme", "ann", run_id, **point), new)


def test_a_fork_from_a_node_keeps_what_came_before_it(harness: Harness) -> None:
    worker = harness.worker = Flaky("j")
    run_id = harness.run(DIAMOND)["run_id"]
    worker.broken.clear()
    worker.ran.clear()
    fork(harness, run_id, from_node="b")
    harness.drain()
    assert harness.meta("fork-1")["status"] == "COMPLETED"
    assert "a" not in worker.ran and "b" in worker.ran and "j" in worker.ran
    assert harness.meta(run_id)["status"] == "FAILED"
    harness.assert_fold_equals_store("fork-1")


@pytest.mark.parametrize("seq", range(1, 12))
def test_a_fork_from_any_event_ends_as_the_run_did(harness: Harness, seq: int) -> None:
    document = {
        "vars": {"sum": 0},
        "nodes": [
            function("work", {"i": "${iteration + input.add}"}, set={"sum": "${vars.sum + output.i}"}),
            {"id": "again", "type": "loop", "loop": {"condition": "iteration < 3", "loop_back_to": "work"}},
            {"id": "w", "type": "wait", "config": {"seconds": 1}},
            function("end", {"sum": "${vars.sum}", "last": "${ctx.work.output.i}"}),
        ],
        "edges": edges("work:again", "again:w", "w:end"),
    }
    run_id = harness.run(document, {"add": 0})["run_id"]
    fork(harness, run_id, from_seq=seq)
    harness.drain()
    assert harness.meta("fork-1")["status"] == "COMPLETED"
    assert harness.output("fork-1") == harness.output(run_id) == {"end": {"sum": 6, "last": 3}}
    harness.assert_fold_equals_store("fork-1")


def test_a_fork_can_take_another_input_and_outlives_a_wipe(harness: Harness) -> None:
    document = {"nodes": [function("a", {"n": 1}), function("b", {"n": "${input.n}"})], "edges": edges("a:b")}
    run_id = harness.run(document, {"n": 1})["run_id"]
    fork(harness, run_id, from_node="b", has_input=True, input={"n": 5})
    harness.client.flushall()
    from tests.engine.test_supervise import sweep_all

    sweep_all(harness)
    harness.drain()
    assert harness.output("fork-1") == {"b": {"n": 5}}


def test_a_fork_needs_a_point_where_something_was_outstanding(harness: Harness) -> None:
    run_id = harness.run({"nodes": [function("a")]})["run_id"]
    for point in ({"from_seq": 99}, {"from_seq": 0}, {"from_node": "nope"}, {}):
        with pytest.raises(InvalidInput):
            fork(harness, run_id, **point)


def test_a_large_snapshot_is_kept_apart(harness: Harness) -> None:
    document = {
        "nodes": [function(f"n{i}", {"text": "x" * 40_000}) for i in range(8)] + [function("end")],
        "edges": edges(*[f"n{i}:end" for i in range(8)]),
    }
    run_id = harness.run(document)["run_id"]
    fork(harness, run_id, from_node="end")
    settle_all(harness)
    harness.drain()
    assert harness.meta("fork-1")["status"] == "COMPLETED"
    harness.assert_fold_equals_store("fork-1")


def test_a_fork_can_be_patched_before_it_begins(harness: Harness) -> None:
    from chalicelib.engine.patch_terms import Change

    run_id = harness.run(DIAMOND)["run_id"]
    more = [
        {"op": "add", "path": "/nodes/-", "value": function("more", {"v": "${ctx.j.status}"})},
        {"op": "add", "path": "/edges/-", "value": {"from": "j", "to": "more"}},
    ]
    fork(harness, run_id, from_node="j", change=Change(lambda plan: more, "one more"))
    harness.drain()
    assert harness.output("fork-1") == {"more": {"v": "COMPLETED"}}
    bad = [{"op": "remove", "path": "/nodes/a"}]
    with pytest.raises(InvalidDocument):
        fork(harness, run_id, "fork-2", from_node="j", change=Change(lambda plan: bad, ""))
    assert harness.store.snapshot("fork-2") is None and not harness.journal.read("fork-2")
    harness.assert_fold_equals_store("fork-1")
