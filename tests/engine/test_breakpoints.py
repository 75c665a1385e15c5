"""Breakpoints: what pauses, what goes on meanwhile, and what a pause before a node lets one do."""

from __future__ import annotations

import pytest

from chalicelib.domain.breakpoints import breakpoints_of
from chalicelib.domain.ids import Token
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.execution_input import execution_input
from chalicelib.engine.executions import standings
from chalicelib.engine.forks import ForkRequest, fork_run
from chalicelib.engine.redo import redrive_run, rerun_node, skip_node
from chalicelib.engine.supervise import UNSENT_MS, detect_timeouts
from tests.engine.family import save
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, count, handle_until_done, signal, tasks
from tests.engine.patching import edges, function, patch, replace
from tests.engine.people import event, human, send, vote
from tests.engine.test_explain import explained
from tests.engine.test_supervise import settle_all, sweep_all

CHAIN = {
    "nodes": [function("a"), function("b", {"of": "${ctx.a.status}"}), function("c")],
    "edges": edges("a>b b>c"),
}
#: Both branches begin in one commit.
FORK = {"nodes": [function("a"), function("b"), function("c")], "edges": edges("a>b a>c")}


def stops(harness: Harness, run_id: str) -> list[str]:
    """The nodes before which the run has paused, in order."""
    paused = [event for event in harness.events(run_id) if event["type"] == "run_paused"]
    assert all(event["node_id"] == event["data"]["breakpoint"] for event in paused if "node_id" in event)
    return [event["node_id"] for event in paused if "node_id" in event]


def ran(harness: Harness) -> list[str]:
    return [task["node_id"] for task in harness.tasks]


def time_out(harness: Harness) -> None:
    detect_timeouts(harness.services)
    harness.drain()


def resume(harness: Harness, run_id: str) -> None:
    assert harness.meta(run_id)["status"] == "PAUSED"
    resume_run(harness.services, run_id, "ann")
    harness.drain()


def test_a_run_pauses_before_its_breakpoint_and_resuming_goes_on_with_the_node(harness: Harness) -> None:
    run_id = harness.run(CHAIN, breakpoints=["b"])["run_id"]
    assert (harness.meta(run_id)["status"], ran(harness)) == ("PAUSED", ["a"])
    [paused] = [event for event in harness.events(run_id) if event["type"] == "run_paused"]
    assert (paused["node_id"], paused["data"], paused["actor"]) == ("b", {"breakpoint": "b"}, "graft")
    assert count(harness, run_id, "node_dispatched") == 1
    resume(harness, run_id)
    assert ran(harness) == ["a", "b", "c"] and stops(harness, run_id) == ["b"]
    assert count(harness, run_id, "signal_ignored") == 0
    assert harness.tasks[1]["config"]["params"] == {"of": "COMPLETED"}
    assert harness.store.snapshot(run_id, ("box",))["box"] == {}
    assert_whole(harness, run_id)


def test_a_breakpoint_of_an_entry_node_pauses_before_anything_begins(harness: Harness) -> None:
    run_id = harness.run(CHAIN, breakpoints=["a"])["run_id"]
    assert ran(harness) == [] and stops(harness, run_id) == ["a"]
    resume(harness, run_id)
    assert_whole(harness, run_id)


def test_what_is_at_work_goes_on_and_nothing_new_is_dispatched(harness: Harness) -> None:
    document = {
        "nodes": [function("a"), function("b"), function("long"), function("after")],
        "edges": edges("a>b long>after"),
    }
    run_id = harness.start(document, breakpoints=["b"])
    settle_all(harness)
    answers: list[dict] = []
    harness.answer, answer = lambda task, said: answers.append((task, said)), harness.answer
    harness.work_batch()
    harness.answer = answer
    by_node = {task["node_id"]: (task, said) for task, said in answers}
    harness.answer(*by_node["a"])
    harness.drain()
    assert stops(harness, run_id) == ["b"]
    harness.answer(*by_node["long"])
    harness.drain()
    assert ran(harness) == ["a", "long"] and count(harness, run_id, "node_completed") == 2
    resume(harness, run_id)
    assert sorted(ran(harness)) == ["a", "after", "b", "long"]
    assert_whole(harness, run_id)


def test_each_iteration_of_a_loop_pauses_once(harness: Harness) -> None:
    loop = {"condition": "iteration < 3", "max_iterations": 5, "loop_back_to": "a"}
    document = {"nodes": [function("a"), function("b", loop=loop)], "edges": edges("a>b")}
    run_id = harness.run(document, breakpoints=["a"])["run_id"]
    for iteration in (1, 2, 3):
        assert [event["iteration"] for event in harness.events(run_id) if event["type"] == "run_paused"] == list(
            range(1, iteration + 1)
        )
        resume(harness, run_id)
    assert ran(harness) == ["a", "b"] * 3
    assert_whole(harness, run_id)


def test_retries_do_not_pause_again(harness: Harness) -> None:
    harness.worker = lambda task: (
        {"status": "failed", "error": {"type": "Boom", "message": "no"}}
        if task["attempt"] < 3
        else {"status": "completed", "result": 1}
    )
    document = {"nodes": [function("a", retry={"max_attempts": 3})]}
    run_id = harness.run(document, breakpoints=["a"])["run_id"]
    resume(harness, run_id)
    assert [task["attempt"] for task in harness.tasks] == [1, 2, 3] and stops(harness, run_id) == ["a"]
    assert count(harness, run_id, "signal_ignored") == 0
    assert_whole(harness, run_id)


def test_a_retried_wait_does_not_pause_again(harness: Harness) -> None:
    node = event("e", "${input.name}", timeout_ms=1000, retry={"max_attempts": 2, "backoff_ms": 10})
    run_id = harness.start({"nodes": [node]}, {"name": "n"}, breakpoints=["e"])
    harness.drain()
    resume(harness, run_id)
    harness.clock.now += 1000
    time_out(harness)
    send(harness, run_id, 7, name="n")
    assert stops(harness, run_id) == ["e"]
    assert [event["attempt"] for event in harness.events(run_id) if event["type"] == "node_completed"] == [2]
    assert_whole(harness, run_id)


def test_rerun_and_redrive_pause_again(harness: Harness) -> None:
    run_id = harness.run(CHAIN, breakpoints=["b"])["run_id"]
    cancel_run(harness.services, run_id, "ann")
    redrive_run(harness.services, run_id, "ann")
    harness.drain()
    assert stops(harness, run_id) == ["b", "b"] and ran(harness) == ["a"]
    resume(harness, run_id)
    rerun_node(harness.services, run_id, "a", "ann")
    harness.drain()
    assert stops(harness, run_id) == ["b", "b", "b"]
    resume(harness, run_id)
    assert ran(harness) == ["a", "b", "c", "a", "b", "c"]
    assert_whole(harness, run_id)


@pytest.mark.parametrize(
    "node",
    [
        {"id": "n", "type": "wait", "config": {"seconds": 60}, "timeout_ms": 90_000},
        human("n", timeout_ms=90_000),
        event("n", timeout_ms=90_000),
        {
            "id": "n",
            "type": "map",
            "config": {"items": [1, 2], "body": {"type": "function", "config": {"handler": "echo"}}},
            "timeout_ms": 90_000,
        },
    ],
    ids=lambda node: node["type"],
)
def test_what_waits_begins_to_wait_only_after_the_resume(harness: Harness, node: dict) -> None:
    run_id = harness.run({"nodes": [node]}, breakpoints=["n"])["run_id"]
    harness.clock.now += 1_000_000
    time_out(harness)
    assert (harness.meta(run_id)["status"], count(harness, run_id, "node_waiting")) == ("PAUSED", 0)
    began = harness.clock.now
    resume_run(harness.services, run_id, "ann")
    settle_all(harness)
    waiting = next(event for event in harness.events(run_id) if event["type"] == "node_waiting")
    assert waiting["data"].get("due", began + 60_000) == began + 60_000
    harness.drain()
    if node["type"] == "human":
        vote(harness, run_id, node="n")
    if node["type"] == "event":
        send(harness, run_id, 1)
    assert stops(harness, run_id) == ["n"]
    assert_whole(harness, run_id)


def test_a_timeout_counts_from_the_dispatch_after_the_resume(harness: Harness) -> None:
    run_id = harness.run({"nodes": [function("a", timeout_ms=5000)]}, breakpoints=["a"])["run_id"]
    harness.clock.now += 60_000
    time_out(harness)
    resume(harness, run_id)
    assert count(harness, run_id, "node_timed_out") == 0
    assert_whole(harness, run_id)


def test_inline_nodes_and_joins_pause_too(harness: Harness) -> None:
    document = {
        "nodes": [
            function("a", {"n": 1}),
            function("b", {"n": 2}),
            {"id": "j", "type": "pass"},
            {"id": "t", "type": "transform", "config": {"value": "${output.a.n + output.b.n}"}},
        ],
        "edges": edges("a>j b>j j>t"),
    }
    run_id = harness.run(document, breakpoints=["j", "t"])["run_id"]
    assert stops(harness, run_id) == ["j"]
    resume(harness, run_id)
    assert stops(harness, run_id) == ["j", "t"]
    resume(harness, run_id)
    assert harness.output(run_id) == {"t": 3}
    dispatched = [event["node_id"] for event in harness.events(run_id) if event["type"] == "node_dispatched"]
    assert sorted(dispatched) == ["a", "b", "j", "t"] and count(harness, run_id, "signal_ignored") == 0
    assert_whole(harness, run_id)


def test_what_reached_a_node_is_the_same_as_without_the_breakpoint(harness: Harness) -> None:
    """An `any` join had been started by one edge; a second one arrived while the run stood before it."""
    document = {
        "nodes": [
            function("a", {"n": 1}),
            function("first", {"n": "${output.n}"}),
            function("second", {"n": "${output.n}"}),
            function("j", "${output.n}", join="any"),
        ],
        "edges": edges("a>first a>second first>j second>j"),
    }
    run_id = harness.run(document, breakpoints=["j"])["run_id"]
    assert ran(harness) == ["a", "first", "second"] and stops(harness, run_id) == ["j"]
    resume(harness, run_id)
    assert harness.output(run_id) == {"j": 1}
    assert_whole(harness, run_id)


def test_two_breakpoints_reached_by_one_commit_pause_once_each(harness: Harness) -> None:
    run_id = harness.run(FORK, breakpoints=["b", "c"])["run_id"]
    assert len(stops(harness, run_id)) == 1 and ran(harness) == ["a"]
    first = stops(harness, run_id)[0]
    resume(harness, run_id)
    assert ran(harness) == ["a", first] and sorted(stops(harness, run_id)) == ["b", "c"]
    resume(harness, run_id)
    assert sorted(ran(harness)) == ["a", "b", "c"] and sorted(stops(harness, run_id)) == ["b", "c"]
    assert_whole(harness, run_id)


def test_what_becomes_ready_in_a_pause_stops_after_it(harness: Harness) -> None:
    run_id = harness.start(CHAIN, breakpoints=["b"])
    settle_all(harness)
    pause_run(harness.services, run_id, "ann")
    harness.drain()
    assert stops(harness, run_id) == []
    resume(harness, run_id)
    assert stops(harness, run_id) == ["b"] and ran(harness) == ["a"]
    pause_run(harness.services, run_id, "ann")  # it is paused already
    resume(harness, run_id)
    assert_whole(harness, run_id)


def test_a_second_resume_and_the_sweep_change_nothing(harness: Harness) -> None:
    run_id = harness.run(CHAIN, breakpoints=["b"])["run_id"]
    harness.clock.now += UNSENT_MS
    sweep_all(harness)
    harness.drain()
    assert (harness.meta(run_id)["status"], ran(harness)) == ("PAUSED", ["a"])
    for _ in range(3):
        resume_run(harness.services, run_id, "ann")
        sweep_all(harness)
    harness.drain()
    assert count(harness, run_id, "node_dispatched") == count(harness, run_id, "node_completed") == 3
    assert count(harness, run_id, "run_resumed") == 1 and stops(harness, run_id) == ["b"]
    assert_whole(harness, run_id)


def test_the_patched_config_is_what_runs(harness: Harness) -> None:
    run_id = harness.run(CHAIN, breakpoints=["b"])["run_id"]
    patch(harness, run_id, replace("/nodes/b/config/params", {"patched": True}))
    assert breakpoints_of(harness.services.plans.load(harness.meta(run_id)["graph"])) == ["b"]
    resume(harness, run_id)
    assert harness.tasks[1]["config"]["params"] == {"patched": True} and stops(harness, run_id) == ["b"]
    assert_whole(harness, run_id)


def test_a_wait_is_patched_at_its_breakpoint(harness: Harness) -> None:
    document = {"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 600}}]}
    run_id = harness.run(document, breakpoints=["w"])["run_id"]
    patch(harness, run_id, replace("/nodes/w/config/seconds", 1))
    before = harness.clock.now
    resume(harness, run_id)
    assert harness.clock.now - before < 10_000
    assert_whole(harness, run_id)


def test_the_shown_input_is_what_ran(harness: Harness) -> None:
    """Of a node that waits the config is as patched at the breakpoint, although its arm began before."""
    document = {"nodes": [event("e", "${input.name}")]}
    run_id = harness.start(document, {"name": "old", "other": "new"}, breakpoints=["e"])
    harness.drain()
    patch(harness, run_id, replace("/nodes/e/config/name", "${input.other}"))
    resume(harness, run_id)
    state = harness.store.snapshot(run_id)
    given = execution_input(run_id, state, harness.services.plans.load, Token("e"), lambda token: {})
    assert given == {"name": "new"}
    send(harness, run_id, 1, name="new")
    assert_whole(harness, run_id)


def test_a_fork_stops_anew(harness: Harness) -> None:
    run_id = harness.run(CHAIN, breakpoints=["b"])["run_id"]
    fork = fork_run(harness.services, ForkRequest("acme", "ann", run_id), "forked")
    harness.drain()
    assert stops(harness, fork) == ["b"] and harness.store.snapshot(fork, ("box",))["box"].keys() == {
        "stopped|$arm:b@#1.1"
    }
    resume(harness, fork)
    assert_whole(harness, fork)
    assert harness.meta(run_id)["status"] == "PAUSED"


def test_children_of_a_run_have_no_breakpoints(harness: Harness) -> None:
    save(harness, {"nodes": [function("b", 1)]}, "child")
    document = {"nodes": [{"id": "b", "type": "workflow", "config": {"workflow": "child"}}]}
    run_id = harness.run(document, breakpoints=["b"])["run_id"]
    assert stops(harness, run_id) == ["b"] and ran(harness) == []
    resume(harness, run_id)
    assert ran(harness) == ["b"] and harness.output(run_id) == {"b": {"b": 1}}


def test_a_node_is_skipped_at_its_breakpoint_and_the_run_stays_paused(harness: Harness) -> None:
    run_id = harness.run(CHAIN, breakpoints=["b", "c"])["run_id"]
    skip_node(harness.services, run_id, "b", {"instead": 1}, "ann")
    harness.drain()
    assert harness.meta(run_id)["status"] == "PAUSED" and ran(harness) == ["a"]
    resume(harness, run_id)
    assert stops(harness, run_id) == ["b", "c"]
    resume(harness, run_id)
    assert ran(harness) == ["a", "c"]
    assert_whole(harness, run_id)


def test_a_skip_at_a_breakpoint_runs_nothing_behind_the_node_again(harness: Harness) -> None:
    """The join behind it had been started by the other way in, and was at work."""
    document = {
        "nodes": [function("a"), function("x"), function("b"), function("j", join="any")],
        "edges": edges("a>j x>b b>j"),
    }
    run_id = harness.start(document, breakpoints=["b"])
    found = tasks(harness)
    handle_until_done(harness, signal(found["a"], 1))
    begun = tasks(harness)["j"]
    handle_until_done(harness, signal(found["x"], 1))
    assert stops(harness, run_id) == ["b"]
    skip_node(harness.services, run_id, "b", None, "ann")
    settle_all(harness)
    handle_until_done(harness, signal(begun, 1))
    resume(harness, run_id)
    assert count(harness, run_id, "run_redriven") == 0
    assert [event["node_id"] for event in harness.events(run_id) if event["type"] == "node_dispatched"] == [
        "a",
        "x",
        "j",
    ]
    assert_whole(harness, run_id)


def test_a_run_is_cancelled_at_its_breakpoint(harness: Harness) -> None:
    run_id = harness.run(CHAIN, breakpoints=["b"])["run_id"]
    cancel_run(harness.services, run_id, "ann")
    harness.drain()
    assert [event["node_id"] for event in harness.events(run_id) if event["type"] == "node_cancelled"] == ["b"]
    assert_whole(harness, run_id, "CANCELLED")


def test_a_loser_is_cancelled_at_its_breakpoint(harness: Harness) -> None:
    document = {
        "nodes": [function("a"), function("b"), function("c", join={"any": True, "cancel_losers": True})],
        "edges": edges("a>c b>c"),
    }
    run_id = harness.run(document, breakpoints=["b"])["run_id"]
    assert stops(harness, run_id) == ["b"]
    resume(harness, run_id)
    assert ran(harness) == ["a", "c"] and stops(harness, run_id) == ["b"]
    assert standings(harness.store.snapshot(run_id))["b"].status == "CANCELLED"
    assert_whole(harness, run_id)


def test_explain_says_before_which_node_a_run_stands(harness: Harness) -> None:
    run_id = harness.run(CHAIN, breakpoints=["b"])["run_id"]
    answer = explained(harness, run_id)
    [entry] = [entry for entry in answer["waiting"] if entry["waits_for"] == "breakpoint"]
    assert entry["node_id"] == "b" and "before node b at its breakpoint" in entry["moved_by"]
    assert "It is paused before b at a breakpoint" in answer["summary"]
    resume(harness, run_id)
    assert "breakpoint" not in str(explained(harness, run_id))


def test_a_run_without_breakpoints_has_the_plan_and_the_tokens_that_it_had(harness: Harness) -> None:
    plain = harness.run(CHAIN)
    other = harness.run(CHAIN, breakpoints=["c"])
    assert plain["graph"] != other["graph"]
    assert not [name for name in harness.store.snapshot(plain["run_id"])["dis"] if name.startswith("$arm:")]
    arms = [name for name in harness.store.snapshot(other["run_id"])["tok"] if name.startswith("$arm:")]
    assert arms == ["$arm:c@#0.1"]
