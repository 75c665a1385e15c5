"""Cancelled waits are events like any other, and a failure that cannot matter fails no run, whatever it failed by."""

from __future__ import annotations

import pytest

from chalicelib.engine.controls import cancel_run
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, signal, tasks
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all

BROKEN = {"status": "failed", "error": {"type": "Broken", "message": "no"}}


@pytest.mark.parametrize("kind", ["a backoff", "a timer that is set", "an attempt"])
def test_each_node_that_a_cancel_stops_says_so(kind: str, harness: Harness) -> None:
    node = {"id": "a", "type": "wait", "config": {"seconds": 60}} if kind == "a timer that is set" else function("a")
    if kind == "a backoff":
        node["retry"] = {"max_attempts": 2, "backoff_ms": 60_000}
    run_id = harness.start({"nodes": [node]})
    sent = tasks(harness)
    if kind == "a backoff":
        harness.answer(sent["a"], BROKEN)
        settle_all(harness)
    cancel_run(harness.services, run_id, "ann")
    stopped = [(e["node_id"], e["attempt"]) for e in harness.events(run_id) if e["type"] == "node_cancelled"]
    assert stopped == [("a", 2 if kind == "a backoff" else 1)]
    assert [event["seq"] for event in harness.events(run_id)] == list(range(1, len(harness.events(run_id)) + 1))
    assert_whole(harness, run_id, "CANCELLED")


LATE = {
    "set": function("b", set={"v": "${output.no.such}"}),
    "transform": {"id": "b", "type": "transform", "config": {"value": "${ctx.hold.output.no.such}"}},
    "wait": {"id": "b", "type": "wait", "config": {"seconds": "${ctx.hold.output.no.such}"}},
    "params": function("b", "${ctx.hold.output.no.such}"),
}


@pytest.mark.parametrize("fails_by", LATE)
def test_a_failure_on_the_way_to_a_fired_join_alone_fails_no_run(fails_by: str, harness: Harness) -> None:
    nodes = [function("a"), function("hold"), LATE[fails_by], {**function("j"), "join": "any"}]
    run_id = harness.start({"nodes": nodes, "edges": edges("a:j", "hold:b", "b:j"), "vars": {"v": 0}})
    sent = tasks(harness)
    assert harness.coordinator.handle([signal(sent["a"], {})]) == set()
    assert harness.coordinator.handle([signal(sent["hold"], {})]) == set()
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    failed = [e for e in harness.events(run_id) if e["type"] == "node_failed"]
    assert [(e["node_id"], e["data"]["error"]["type"]) for e in failed] == [("b", "TemplateError")]
    assert_whole(harness, run_id)
