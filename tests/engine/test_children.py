"""Child runs of `workflow` nodes: input, output, failure and cancellation both ways."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from chalicelib.domain.limits import Limits
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.directory_keys import children
from chalicelib.engine.executions import standings
from chalicelib.engine.forks import ForkRequest, fork_run
from chalicelib.engine.redo import redrive_run, rerun_node, skip_node
from chalicelib.engine.step import Coordinator
from chalicelib.engine.supervise import GRACE_MS, detect_timeouts
from tests.engine.family import (
    PARENT,
    SUB,
    assert_family,
    begun,
    calls_of,
    children_of,
    error_of,
    save,
    settle_all,
    status,
)
from tests.engine.harness import Harness
from tests.engine.hazards import recover
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import sweep_all

CALL = PARENT["nodes"][0]
BROKEN = {"status": "failed", "error": {"type": "Boom", "message": "no"}}


def call(**more: object) -> dict:
    """A workflow of nothing but the call."""
    return {"nodes": [{**CALL, **more}]}


def test_a_child_gets_its_input_and_its_output_goes_on(harness: Harness) -> None:
    save(harness, SUB)
    run_id = harness.run(PARENT, {"n": 1})["run_id"]
    (child,) = children_of(harness, run_id)
    assert harness.output(run_id) == {"after": {"work": {"n": 1}}}
    assert json.loads(harness.meta(child)["input"]) == {"n": 1}
    assert (harness.meta(child)["workflow"], harness.meta(child)["version"]) == ("sub", "1")
    assert harness.meta(child)["tenant"] == "acme" and harness.events(child)[0]["actor"] == "tester"
    assert [task["run_id"] for task in harness.tasks] == [child, run_id]
    assert_family(harness, {run_id: "COMPLETED", child: "COMPLETED"})


def test_without_input_the_child_gets_what_reached_the_node(harness: Harness) -> None:
    save(harness, SUB)
    document = {
        "nodes": [function("first", {"x": 7}), {"id": "call", "type": "workflow", "config": {"workflow": "sub"}}],
        "edges": edges("first:call"),
    }
    run_id = harness.run(document)["run_id"]
    assert harness.output(run_id) == {"call": {"work": {"x": 7}}}
    entry = harness.run({"nodes": document["nodes"][1:]}, {"y": 8})["run_id"]
    assert harness.output(entry) == {"call": {"work": {"y": 8}}}


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_outputs_of_any_size_come_back_and_large_ones_stay_out_of_commits(harness: Harness, size: int) -> None:
    save(harness, {"nodes": [{"id": "big", "type": "transform", "config": {"value": "${input.text + 'y'}"}}]})
    document = {"nodes": [{"id": "call", "type": "workflow", "config": {"workflow": "sub"}}]}
    run_id = harness.run(document, {"text": "x" * size})["run_id"]
    (child,) = children_of(harness, run_id)
    assert harness.output(run_id) == {"call": {"big": "x" * size + "y"}}
    for run in (run_id, child):
        assert max(len(item.text) for item in harness.journal.read(run, 0, 100)) < 80_000
    assert_family(harness, {run_id: "COMPLETED", child: "COMPLETED"})


def test_a_failed_child_fails_its_node_with_its_own_error(harness: Harness) -> None:
    save(harness, SUB)
    harness.worker = lambda task: BROKEN
    run_id = harness.run(PARENT, {"n": 1})["run_id"]
    (child,) = children_of(harness, run_id)
    assert_family(harness, {run_id: "FAILED", child: "FAILED"})
    error = error_of(harness, run_id)
    assert (error["type"], error["message"], error["node_id"], error["child_run_id"]) == ("Boom", "no", "call", child)


def test_a_failure_edge_handles_a_failed_child(harness: Harness) -> None:
    save(harness, SUB)
    harness.worker = lambda task: BROKEN if task["node_id"] == "work" else {"status": "completed", "result": "mended"}
    document = {"nodes": [CALL, function("mend")], "edges": edges("call:mend:failure")}
    run_id = harness.run(document, {"n": 1})["run_id"]
    assert (status(harness, run_id), harness.output(run_id)) == ("COMPLETED", {"mend": "mended"})


def test_a_retry_is_another_child(harness: Harness) -> None:
    save(harness, SUB)
    answers = iter([BROKEN, {"status": "completed", "result": "well"}])
    harness.worker = lambda task: next(answers)
    run_id = harness.run(call(retry={"max_attempts": 2, "backoff_ms": 0}), {"n": 1})["run_id"]
    first, second = children_of(harness, run_id)
    assert harness.output(run_id) == {"call": {"work": "well"}}
    assert_family(harness, {run_id: "COMPLETED", first: "FAILED", second: "COMPLETED"})


def test_a_tag_that_moves_counts_for_the_next_attempt_and_not_for_a_repeat(harness: Harness) -> None:
    save(harness, SUB, tag="live")
    config = {"workflow": "sub@live", "input": {"n": "${input.n}"}}
    harness.worker = lambda task: BROKEN
    run_id = harness.start(call(config=config, retry={"max_attempts": 2, "backoff_ms": 0}), {"n": 1})
    step = harness.queues.receive("completion-signals")
    harness.queues.send = _lost_once(harness.queues.send)
    assert harness.coordinator.handle([message.body for message in step]) == {0}  # it died before the child began
    save(harness, {"nodes": [{"id": "new", "type": "pass"}]}, tag="live")
    harness.clock.now += 31_000
    harness.drain()
    first, second = children_of(harness, run_id)
    assert [harness.meta(child)["version"] for child in (first, second)] == ["1", "2"]
    assert harness.output(run_id) == {"call": {"new": {"n": 1}}}


def _lost_once(send):
    from chalicelib.domain.errors import Unavailable

    left = [1]

    def lossy(messages) -> None:
        if left.pop() if left else 0:
            raise Unavailable("It did not answer.")
        send(messages)

    return lossy


def test_a_call_that_could_not_begin_shows_as_failed_and_can_be_redriven(harness: Harness) -> None:
    """It showed as RUNNING in a run that was over."""
    run_id = harness.run(PARENT, {"n": 1})["run_id"]
    standing = standings(harness.store.snapshot(run_id))["call"]
    assert (standing.status, standing.token.attempt) == ("FAILED", 1)
    save(harness, SUB)
    redrive_run(harness.services, run_id, "ann")
    harness.drain()
    assert_family(harness, {run_id: "COMPLETED", **dict.fromkeys(children_of(harness, run_id), "COMPLETED")})


def test_a_map_calls_a_child_for_each_item(harness: Harness) -> None:
    save(harness, SUB)
    body = {"type": "workflow", "config": {"workflow": "sub", "input": "${item * 10 + index}"}}
    passing = {"type": "workflow", "config": {"workflow": "sub"}}
    nodes = [
        {"id": "call", "type": "map", "config": {"items": "${input}", "body": body, "max_concurrency": 2}},
        {"id": "same", "type": "map", "config": {"items": "${input}", "body": passing}},
        {"id": "short", "type": "map", "config": {"items": "${input}", "workflow": "sub"}},
        {"id": "given", "type": "map", "config": {"items": "${input}", "workflow": "sub", "input": "${item + 5}"}},
    ]
    run_id = harness.run({"nodes": nodes}, [1, 2, 3])["run_id"]
    assert harness.output(run_id) == {
        "call": [{"work": 10}, {"work": 21}, {"work": 32}],
        "same": [{"work": 1}, {"work": 2}, {"work": 3}],
        "short": [{"work": 1}, {"work": 2}, {"work": 3}],
        "given": [{"work": 6}, {"work": 7}, {"work": 8}],
    }
    assert len(harness.directory.query(children(run_id))) == 12


def test_a_map_past_its_tolerance_cancels_the_other_children(harness: Harness) -> None:
    save(harness, SUB)
    harness.worker = lambda task: BROKEN
    body = {"type": "workflow", "config": {"workflow": "sub"}}
    run_id = harness.start(
        {"nodes": [{"id": "all", "type": "map", "config": {"items": "${input}", "body": body}}]}, [1, 2, 3]
    )
    settle_all(harness)
    first = harness.queues.receive("tasks-function", 1)[0]
    harness.answer(json.loads(first.body), BROKEN)
    settle_all(harness)
    states = sorted(record["status"] for _, record in harness.directory.query(children(run_id)))
    assert states == ["CANCELLED", "CANCELLED", "FAILED"] and status(harness, run_id) == "FAILED"


@pytest.mark.parametrize("reference", ["nothing", "sub@9", "sub@live", "other"])
def test_a_call_of_nothing_fails_and_is_not_retried(harness: Harness, reference: str) -> None:
    save(harness, SUB)
    save(harness, SUB, name="other", tenant="rival")
    run_id = harness.run(call(config={"workflow": reference}, retry={"max_attempts": 3}))["run_id"]
    error = error_of(harness, run_id)
    assert (error["type"], error["retryable"]) == ("NotFound", False)
    assert reference.split("@")[0] in error["message"] and "/config/workflow" in error["message"]
    assert children_of(harness, run_id) == []


def test_an_input_that_does_not_fit_fails_the_node_and_starts_nothing(harness: Harness) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "string"}}}
    save(harness, {**SUB, "input_schema": schema})
    run_id = harness.run(call(), {"n": 1})["run_id"]
    error = error_of(harness, run_id)
    assert (error["type"], error["retryable"]) == ("InvalidInput", False)
    assert "sub@1" in error["message"] and "/input/n" in error["message"]
    assert children_of(harness, run_id) == []


def test_a_workflow_that_calls_itself_ends_at_the_depth_limit(harness: Harness) -> None:
    save(harness, call(config={"workflow": "sub"}))
    run_id = harness.run(call(config={"workflow": "sub"}))["run_id"]
    runs = [run_id]
    while found := children_of(harness, runs[-1]):
        runs += found
    assert len(runs) == 1 + Limits().child_depth
    for run in runs:
        assert error_of(harness, run)["type"] == "LimitExceeded" and "child_depth" in error_of(harness, run)["message"]
    assert_family(harness, dict.fromkeys(runs, "FAILED"))


def test_a_lowered_depth_holds_for_all_runs_below(harness: Harness) -> None:
    save(harness, call(config={"workflow": "sub"}))
    run_id = harness.run({**call(config={"workflow": "sub"}), "limits": {"child_depth": 2}})["run_id"]
    depth, run = 0, run_id
    while found := children_of(harness, run):
        depth, run = depth + 1, found[0]
    assert depth == 2


def test_cancelling_a_run_cancels_its_children_and_theirs(harness: Harness) -> None:
    save(harness, SUB)
    save(harness, call(), name="middle")
    run_id, middle = begun(harness, call(config={"workflow": "middle", "input": {"n": 1}}))
    (child,) = children_of(harness, middle)
    cancel_run(harness.services, run_id, "ann")
    harness.drain()
    assert_family(harness, {run_id: "CANCELLED", middle: "CANCELLED", child: "CANCELLED"})
    (cancelled,) = [event for event in harness.events(child) if event["type"] == "run_cancelled"]
    assert cancelled["actor"] == f"run:{middle}"


def test_a_child_that_a_person_cancels_fails_its_node_and_is_not_retried(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness, call(retry={"max_attempts": 3}))
    cancel_run(harness.services, child, "ann")
    harness.drain()
    error = error_of(harness, run_id)
    assert (error["type"], error["child_run_id"]) == ("Cancelled", child)
    assert_family(harness, {run_id: "FAILED", child: "CANCELLED"})
    assert children_of(harness, run_id) == [child]


def test_a_child_that_times_out_fails_its_node_with_timeout(harness: Harness) -> None:
    save(harness, {**SUB, "timeout_ms": 5000})
    run_id, child = begun(harness)
    harness.clock.now += 5000
    assert detect_timeouts(harness.services) == 1
    harness.drain()
    assert error_of(harness, run_id)["type"] == "Timeout"
    assert_family(harness, {run_id: "FAILED", child: "TIMED_OUT"})


def test_a_node_that_times_out_cancels_its_child(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness, call(timeout_ms=5000))
    harness.clock.now += 5000
    assert detect_timeouts(harness.services) == 1
    harness.drain()
    assert error_of(harness, run_id)["type"] == "Timeout"
    assert_family(harness, {run_id: "FAILED", child: "CANCELLED"})


def test_a_run_that_times_out_cancels_its_child(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness, {**call(), "timeout_ms": 5000})
    harness.clock.now += 5000
    detect_timeouts(harness.services)
    harness.drain()
    assert_family(harness, {run_id: "TIMED_OUT", child: "CANCELLED"})


def test_a_sibling_that_fails_cancels_the_child(harness: Harness) -> None:
    save(harness, {"nodes": [{"id": "ask", "type": "human", "config": {"message": "?"}}]})
    harness.worker = lambda task: BROKEN
    run_id, child = begun(harness, {"nodes": [CALL, function("bad")]})
    harness.drain()
    assert_family(harness, {run_id: "FAILED", child: "CANCELLED"})


def test_a_call_that_loses_a_race_cancels_its_child(harness: Harness) -> None:
    save(harness, {"nodes": [{"id": "ask", "type": "human", "config": {"message": "?"}}]})
    join = {"any": True, "cancel_losers": True}
    document = {
        "nodes": [CALL, function("fast", 1), function("end", 2, join=join)],
        "edges": edges("call:end", "fast:end"),
    }
    run_id, child = begun(harness, document)
    harness.drain()
    assert_family(harness, {run_id: "COMPLETED", child: "CANCELLED"})


def test_a_call_that_is_skipped_cancels_its_child(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness)
    skip_node(harness.services, run_id, "call", "by hand", "ann")
    settle_all(harness)
    assert status(harness, child) == "CANCELLED"
    harness.drain()
    assert harness.output(run_id) == {"after": "by hand"}


def test_a_rerun_cancels_the_child_and_calls_another(harness: Harness) -> None:
    save(harness, SUB)
    run_id, first = begun(harness)
    rerun_node(harness.services, run_id, "call", "ann")
    harness.drain()
    _, second = children_of(harness, run_id)
    assert_family(harness, {run_id: "COMPLETED", first: "CANCELLED", second: "COMPLETED"})


def test_a_pause_lets_children_go_on_and_starts_none(harness: Harness) -> None:
    save(harness, SUB)
    document = {"nodes": [CALL, {**CALL, "id": "next"}], "edges": edges("call:next")}
    run_id, child = begun(harness, document)
    pause_run(harness.services, run_id, "ann")
    harness.drain()
    assert status(harness, child) == "COMPLETED" and status(harness, run_id) == "PAUSED"
    assert children_of(harness, run_id, "next") == []
    resume_run(harness.services, run_id, "ann")
    harness.drain()
    assert_family(harness, {run_id: "COMPLETED", **dict.fromkeys(children_of(harness, run_id, "next"), "COMPLETED")})


def test_a_call_that_began_just_before_a_pause_starts_its_child_at_the_resume(harness: Harness) -> None:
    save(harness, SUB)
    run_id = harness.start(PARENT, {"n": 1})
    commit = harness.store.commit

    def paused_between(calls):
        answers = commit(calls)
        if any('\\"plan\\"' in one.body for one in calls):
            harness.store.commit = commit
            pause_run(harness.services, run_id, "ann")
        return answers

    harness.store.commit = paused_between
    harness.drain()
    (child,) = children_of(harness, run_id)
    assert status(harness, child) is None
    resume_run(harness.services, run_id, "ann")
    harness.drain()
    assert_family(harness, {run_id: "COMPLETED", child: "COMPLETED"})


def test_a_child_that_is_redriven_after_its_end_is_on_its_own(harness: Harness) -> None:
    save(harness, SUB)
    harness.worker = lambda task: BROKEN
    run_id = harness.run(PARENT, {"n": 1})["run_id"]
    (child,) = children_of(harness, run_id)
    redrive_run(harness.services, child, "ann")
    settle_all(harness)
    sweep_all(harness)
    assert status(harness, child) == "RUNNING"
    harness.worker = lambda task: {"status": "completed", "result": "late"}
    harness.drain()
    assert_family(harness, {run_id: "FAILED", child: "COMPLETED"})


def test_a_fork_calls_its_children_anew(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness)
    other = fork_run(harness.services, ForkRequest("acme", "ann", run_id), "forked")
    harness.drain()
    old, new = children_of(harness, other)
    assert old == child and new != child
    assert_family(harness, dict.fromkeys((run_id, child, other, new), "COMPLETED"))


def test_a_child_in_a_loop_is_another_one_each_time(harness: Harness) -> None:
    save(harness, SUB)
    loop = {"condition": "iteration < 3", "loop_back_to": "call", "max_iterations": 5}
    run_id = harness.run(call(loop=loop), {"n": 1})["run_id"]
    assert len(set(children_of(harness, run_id))) == 3
    assert_family(harness, dict.fromkeys([run_id, *children_of(harness, run_id)], "COMPLETED"))


def test_duplicates_and_late_news_change_nothing(harness: Harness) -> None:
    save(harness, SUB)
    seen: list[str] = []
    handle = harness.coordinator.handle

    def twice(bodies):
        seen.extend(bodies)
        handle(bodies)
        return handle(bodies)

    harness.coordinator.handle = twice
    run_id = harness.run(PARENT, {"n": 1})["run_id"]
    (child,) = children_of(harness, run_id)
    before = [len(harness.journal.read(run, 0, 500)) for run in (run_id, child)]
    for body in seen:
        handle([body])
    harness.drain()
    assert [len(harness.journal.read(run, 0, 500)) for run in (run_id, child)] == before
    assert len({task["job_id"] for task in harness.tasks}) == 2
    assert_family(harness, {run_id: "COMPLETED", child: "COMPLETED"})


def test_a_parent_that_is_gone_from_the_store_hears_of_its_child(harness: Harness) -> None:
    save(harness, SUB)
    run_id, child = begun(harness)
    harness.client.flushall()
    harness.drain()
    assert_family(harness, {run_id: "COMPLETED", child: "COMPLETED"})


def test_a_late_signal_wakes_neither_the_retired_parent_nor_its_child(harness: Harness) -> None:
    save(harness, SUB)
    run_id = harness.run(PARENT, {"n": 1})["run_id"]
    (child,) = children_of(harness, run_id)
    harness.clock.now += GRACE_MS + 1
    sweep_all(harness)
    harness.answer(harness.tasks[0], {"status": "completed", "result": "late"})
    harness.drain()
    assert harness.store.snapshot(run_id, ("meta",)) is None and harness.store.snapshot(child, ("meta",)) is None
    assert_family(harness, {run_id: "COMPLETED", child: "COMPLETED"})


def test_children_are_listed_with_their_parent(harness: Harness) -> None:
    save(harness, SUB)
    run_id = harness.run(PARENT, {"n": 1})["run_id"]
    ((_, record),) = harness.directory.query(children(run_id))
    assert record["run_id"] == children_of(harness, run_id)[0] and record["status"] == "COMPLETED"
    assert record["parent"] == {"run_id": run_id, "node_id": "call"}


def test_a_deployment_that_allows_no_depth_fails_every_call(harness: Harness) -> None:
    save(harness, SUB)
    services = replace(harness.services, limits=replace(Limits(), child_depth=0))
    harness.coordinator = Coordinator(services)
    assert error_of(harness, harness.run(PARENT, {"n": 1})["run_id"])["type"] == "LimitExceeded"


def test_a_failed_event_node_can_be_skipped(harness: Harness) -> None:
    """The node that a skip holds has no data of its own; the look at it broke its whole batch."""
    event = {"id": "e", "type": "event", "config": {"name": "x"}, "timeout_ms": 1000}
    run_id = harness.start({"nodes": [event]})
    settle_all(harness)
    harness.clock.now += 2000
    detect_timeouts(harness.services)
    harness.drain()
    assert status(harness, run_id) == "FAILED"
    skip_node(harness.services, run_id, "e", "by hand", "ann")
    harness.drain()
    assert harness.output(run_id) == {"e": "by hand"}


def test_a_failed_call_can_be_skipped_and_redriven(harness: Harness) -> None:
    save(harness, SUB)
    harness.worker = lambda task: BROKEN
    run_id = harness.run(call(), {"n": 1})["run_id"]
    other = harness.run(call(), {"n": 2})["run_id"]
    skip_node(harness.services, run_id, "call", "by hand", "ann")
    harness.drain()
    assert harness.output(run_id) == {"call": "by hand"} and len(calls_of(harness, run_id)) == 2
    harness.worker = lambda task: {"status": "completed", "result": "well"}
    redrive_run(harness.services, other, "ann")
    recover(harness)
    first, second = children_of(harness, other)
    assert_family(harness, {other: "COMPLETED", first: "FAILED", second: "COMPLETED"})
