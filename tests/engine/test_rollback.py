"""Rollback: what was completed is undone, newest first, once each, and the run ends FAILED (SPEC 9, HAZARDS 33)."""

from __future__ import annotations

import json

import pytest

from chalicelib.domain.errors import Conflict
from chalicelib.engine.execution_input import execution_input, item_reader
from chalicelib.engine.redo import redrive_run, rerun_node
from chalicelib.engine.rollback import rollback_run
from chalicelib.engine.run_reader import NODE_VIEW, read
from chalicelib.engine.supervise import detect_timeouts
from chalicelib.engine.views import node_view, run_view
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, count
from tests.engine.patching import add_node, patch
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all


def undone(id: str, params: object = None, by: object = "${output}", **more: object) -> dict:
    """A function that is undone by another one, which is told what the first one gave."""
    body = {"type": "function", "config": {"handler": "undo", "params": by}, **more}
    return function(id, params, compensate=body)


class Booking:
    """A worker that notes what it did and undid, once for each job id, and fails what is `broken`."""

    def __init__(self, *broken: str) -> None:
        self.broken = set(broken)
        self.did: list[str] = []
        self.undid: list[tuple[str, object]] = []
        #: job id -> the one config that it was sent with.
        self.jobs: dict[str, object] = {}

    def __call__(self, task: dict) -> dict:
        name, undoes = task["node_id"], task["config"]["handler"] == "undo"
        again = task["job_id"] in self.jobs
        assert self.jobs.setdefault(task["job_id"], task["config"]) == task["config"]
        if again:
            pass
        elif undoes:
            self.undid.append((name, task["config"]["params"]))
        else:
            self.did.append(name)
        if (f"undo {name}" if undoes else name) in self.broken:
            return {"status": "failed", "error": {"type": "Boom", "message": f"{name} broke", "retryable": True}}
        return {"status": "completed", "result": task["config"]["params"]}


#: A chain whose last node fails.
TRIP = {
    "on_failure": "compensate",
    "nodes": [undone("flight", {"no": 1}), undone("hotel", {"no": 2}), undone("car", {"no": 3}), function("pay")],
    "edges": edges("flight:hotel", "hotel:car", "car:pay"),
}


def view(harness: Harness, run_id: str) -> dict:
    state, plan = read(harness.services, "acme", run_id)
    return run_view(run_id, state, plan, "")


def rolled_back(harness: Harness, run_id: str) -> dict:
    """The data of the run's one `run_rolled_back`, which comes just before `run_failed`."""
    events = harness.events(run_id)
    types = [event["type"] for event in events]
    assert types.count("run_rolled_back") == 1 and types[-2:] == ["run_rolled_back", "run_failed"]
    return events[-2]["data"]


def test_a_failure_is_followed_by_the_undos_newest_first(harness: Harness) -> None:
    worker = harness.worker = Booking("pay")
    run_id = harness.run(TRIP)["run_id"]
    assert worker.undid == [("car", {"no": 3}), ("hotel", {"no": 2}), ("flight", {"no": 1})]
    shown = view(harness, run_id)
    assert (shown["status"], shown["rollback"], shown["phase"]) == ("FAILED", "done", None)
    assert shown["error"] == {"type": "Boom", "message": "pay broke", "node_id": "pay"}
    assert rolled_back(harness, run_id) == {"rollback": "done", "compensated": 3, "failed": [], "failed_total": 0}
    assert_whole(harness, run_id, "FAILED")
    harness.assert_fold_equals_store(run_id)


def test_one_undo_is_at_work_at_a_time_and_the_run_says_that_it_compensates(harness: Harness) -> None:
    worker = harness.worker = Booking("pay")
    run_id = harness.start(TRIP)
    for _ in range(4):
        settle_all(harness)
        harness.work_batch()
    for number in range(3):
        settle_all(harness)
        shown = view(harness, run_id)
        assert (shown["status"], shown["phase"], shown["rollback"]) == ("RUNNING", "compensating", None)
        assert len(worker.undid) == number and harness.queues.depth("tasks-function") == 1
        harness.work_batch()
    settle_all(harness)
    assert harness.meta(run_id)["status"] == "FAILED"


def test_events_of_undos_say_so_and_carry_what_the_undo_gave(harness: Harness) -> None:
    harness.worker = Booking("pay")
    run_id = harness.run(TRIP)["run_id"]
    events = [event for event in harness.events(run_id) if event["data"].get("compensation")]
    assert [(event["type"], event["node_id"]) for event in events] == [
        (type_, name) for name in ("car", "hotel", "flight") for type_ in ("node_dispatched", "node_completed")
    ]
    assert events[0]["data"] == {"compensation": True}
    assert events[1]["data"] == {"compensation": True, "output": {"no": 3}}


def test_the_undos_of_a_node_are_shown_beside_its_executions(harness: Harness) -> None:
    harness.worker = Booking("pay")
    run_id = harness.run(TRIP)["run_id"]
    state, plan = read(harness.services, "acme", run_id, NODE_VIEW)
    items = item_reader(harness.artifacts, state)
    shown, _ = node_view(
        run_id, state, plan, "car", lambda job: job.token,
        lambda token: execution_input(run_id, state, harness.services.plans.load, token, items),
    )  # fmt: skip
    assert (shown["status"], len(shown["executions"])) == ("COMPLETED", 1)
    (undo,) = shown["compensations"]
    assert undo["input"] == {"handler": "undo", "params": {"no": 3}}
    assert (undo["status"], undo["output"]) == ("COMPLETED", {"no": 3})


def test_a_failing_undo_is_retried_by_its_own_policy_then_recorded_and_the_rest_go_on(harness: Harness) -> None:
    document = {**TRIP, "nodes": [*TRIP["nodes"]]}
    document["nodes"][1] = undone("hotel", {"no": 2}, retry={"max_attempts": 3, "backoff_ms": 1000})
    worker = harness.worker = Booking("pay", "undo hotel")
    run_id = harness.run(document)["run_id"]
    assert [name for name, _ in worker.undid] == ["car", "hotel", "hotel", "hotel", "flight"]
    assert {json.dumps(given) for name, given in worker.undid if name == "hotel"} == {'{"no": 2}'}
    assert view(harness, run_id)["rollback"] == "failed"
    error = {"type": "Boom", "message": "hotel broke"}
    found = {"rollback": "failed", "compensated": 2, "failed": [{"node_id": "hotel", "loops": {}, "error": error}]}
    assert rolled_back(harness, run_id) == {**found, "failed_total": 1}
    assert view(harness, run_id)["error"]["node_id"] == "pay"
    assert_whole(harness, run_id, "FAILED")


def test_an_undo_sees_its_own_output_ctx_input_vars_and_run(harness: Harness) -> None:
    by = {
        "own": "${output.n}", "other": "${ctx.b.output.n}", "failed": "${ctx.c.error.type}", "late": "${ctx.d.status}",
        "input": "${input.who}", "var": "${vars.v}", "run": "${run.id}", "iteration": "${iteration}",
    }  # fmt: skip
    a = {**undone("a", {"n": 1}, by), "set": {"v": "${output.n + 10}"}}
    document = {
        "vars": {"v": 0},
        "on_failure": "compensate",
        "nodes": [a, function("b", {"n": 2}), function("c"), function("d")],
        "edges": edges("a:b", "b:c", "c:d"),
    }
    worker = harness.worker = Booking("c")
    run_id = harness.run(document, {"who": "ann"})["run_id"]
    seen = {"own": 1, "other": 2, "failed": "Boom", "late": "PENDING", "input": "ann", "var": 11, "iteration": 1}
    assert worker.undid == [("a", {**seen, "run": run_id})]


def test_an_undo_whose_template_fails_is_recorded_and_the_rest_go_on(harness: Harness) -> None:
    document = {**TRIP, "nodes": [*TRIP["nodes"]]}
    document["nodes"][2] = undone("car", {"no": 3}, "${output.never}")
    worker = harness.worker = Booking("pay")
    run_id = harness.run(document)["run_id"]
    assert [name for name, _ in worker.undid] == ["hotel", "flight"]
    assert rolled_back(harness, run_id)["failed"][0]["error"]["type"] == "TemplateError"
    assert_whole(harness, run_id, "FAILED")


def test_an_undo_may_be_a_transform_worked_inline(harness: Harness) -> None:
    body = {"type": "transform", "config": {"value": {"freed": "${output.no}"}}}
    nodes = [function(name, {"no": name}, compensate=body) for name in "abc"]
    document = {"on_failure": "compensate", "nodes": [*nodes, function("z")], "edges": edges("a:b", "b:c", "c:z")}
    harness.worker = Booking("z")
    run_id = harness.run(document)["run_id"]
    done = [event for event in harness.events(run_id) if event["data"].get("compensation")]
    assert [(event["type"], event["node_id"]) for event in done] == [
        ("node_waiting", "c"), *(("node_completed", name) for name in "cba"),
    ]  # fmt: skip
    assert [event["data"]["output"] for event in done[1:]] == [{"freed": name} for name in "cba"]
    assert_whole(harness, run_id, "FAILED")


def test_an_undo_may_be_a_pipeline(harness: Harness) -> None:
    steps = [{"step": "table_filter", "where": "row.n > 1"}]
    body = {"type": "transform", "config": {"data": "${output}", "pipeline": steps}}
    rows = function("a", [{"n": 1}, {"n": 2}], compensate=body)
    harness.worker = Booking("z")
    document = {"on_failure": "compensate", "nodes": [rows, function("z")], "edges": edges("a:z")}
    run_id = harness.run(document)["run_id"]
    (done,) = [e for e in harness.events(run_id) if e["data"].get("compensation") and e["type"] == "node_completed"]
    assert done["data"]["output"] == [{"n": 2}]


def test_only_completed_nodes_with_a_body_are_undone(harness: Harness) -> None:
    nodes = [function("a"), undone("b", "b"), undone("c"), undone("skipped"), undone("never")]
    document = {
        "on_failure": "compensate",
        "nodes": nodes,
        "edges": edges("a:b", "b:c", "b:skipped:failure", "c:never"),
    }
    worker = harness.worker = Booking("c")
    run_id = harness.run(document)["run_id"]
    assert worker.undid == [("b", "b")] and view(harness, run_id)["nodes"]["skipped"]["status"] == "SKIPPED"


def test_a_failure_cancels_what_is_outstanding_and_takes_its_always_edges_before_the_undos(harness: Harness) -> None:
    nodes = [undone("a"), function("slow"), function("c"), undone("tidy", "tidied")]
    document = {"on_failure": "compensate", "nodes": nodes, "edges": edges("a:slow", "a:c", "c:tidy:always")}
    worker = harness.worker = Booking("c")
    run_id = harness.start(document)
    settle_all(harness)
    harness.work_batch()
    settle_all(harness)
    slow, c = [json.loads(message.body) for message in harness.queues.receive("tasks-function")]
    assert (slow["node_id"], c["node_id"]) == ("slow", "c")
    harness.answer(c, worker(c))
    settle_all(harness)
    harness.answer(slow, {"status": "completed", "result": "late"})
    harness.drain()
    assert worker.did == ["a", "c", "tidy"] and [name for name, _ in worker.undid] == ["tidy", "a"]
    assert view(harness, run_id)["nodes"]["slow"]["status"] == "CANCELLED"
    assert_whole(harness, run_id, "FAILED")


def test_a_run_that_fails_with_nothing_to_undo_ends_at_once(harness: Harness) -> None:
    harness.worker = Booking("a")
    run_id = harness.run({"on_failure": "compensate", "nodes": [undone("a")]})["run_id"]
    assert rolled_back(harness, run_id)["compensated"] == 0 and view(harness, run_id)["rollback"] == "done"


def test_a_handled_failure_and_a_success_compensate_nothing(harness: Harness) -> None:
    document = {
        **TRIP,
        "nodes": [*TRIP["nodes"], function("mend")],
        "edges": [*TRIP["edges"], *edges("pay:mend:failure")],
    }
    worker = harness.worker = Booking("pay")
    run_id = harness.run(document)["run_id"]
    assert view(harness, run_id)["status"] == "COMPLETED" and worker.undid == []
    harness.worker = Booking()
    assert harness.meta(harness.start(TRIP)) and harness.drain() is None
    assert harness.worker.undid == [] and count(harness, run_id, "run_rolled_back") == 0


def test_a_fail_node_and_a_failing_output_compensate_too(harness: Harness) -> None:
    stop = {"id": "stop", "type": "fail", "config": {"error": "enough"}}
    worker = harness.worker = Booking()
    document = {"on_failure": "compensate", "nodes": [undone("a", 1), stop], "edges": edges("a:stop")}
    run_id = harness.run(document)["run_id"]
    assert worker.undid == [("a", 1)] and view(harness, run_id)["error"]["message"] == "enough"
    run_id = harness.run({"on_failure": "compensate", "nodes": [undone("a", 2)], "output": "${ctx.a.output.no}"})[
        "run_id"
    ]
    assert worker.undid[1:] == [("a", 2)] and view(harness, run_id)["error"]["type"] == "TemplateError"
    assert_whole(harness, run_id, "FAILED")


def test_each_iteration_of_a_loop_is_undone(harness: Harness) -> None:
    document = {
        "on_failure": "compensate",
        "nodes": [
            undone("work", {"i": "${iteration}"}, {"undo": "${output.i}", "at": "${iteration}"}),
            {"id": "again", "type": "loop", "loop": {"condition": "iteration < 3", "loop_back_to": "work"}},
            function("after"),
        ],
        "edges": edges("work:again", "again:after"),
    }
    worker = harness.worker = Booking("after")
    run_id = harness.run(document)["run_id"]
    assert worker.undid == [("work", {"undo": i, "at": i}) for i in (3, 2, 1)]
    assert_whole(harness, run_id, "FAILED")


def test_each_completed_item_of_a_map_is_undone_with_its_item_and_output(harness: Harness) -> None:
    body = {"type": "function", "config": {"handler": "book", "params": {"seat": "${item}"}}}
    by = {"type": "function", "config": {"handler": "undo", "params": ["${index}", "${item}", "${output.seat}"]}}
    seats = {"id": "seats", "type": "map", "config": {"items": "${input}", "body": body}, "compensate": by}
    worker = harness.worker = Booking()

    def full(task: dict) -> dict:
        gone = {"status": "failed", "error": {"type": "Gone", "message": "no", "retryable": False}}
        return gone if task["config"]["params"] == {"seat": "c"} else worker(task)

    harness.worker = full
    run_id = harness.run({"on_failure": "compensate", "nodes": [seats]}, ["a", "b", "c"])["run_id"]
    assert sorted(given for _, given in worker.undid) == [[0, "a", "a"], [1, "b", "b"]]
    assert view(harness, run_id)["error"]["node_id"] == "seats" and rolled_back(harness, run_id)["compensated"] == 2
    assert_whole(harness, run_id, "FAILED")
    harness.assert_fold_equals_store(run_id)


def test_a_node_that_waited_for_a_person_is_undone_with_the_decision(harness: Harness) -> None:
    ask = {"id": "ask", "type": "human", "config": {"message": "?"}, "timeout_ms": 1000}
    ask |= {"compensate": undone("x")["compensate"]}
    ask["config"]["on_timeout"] = "approve"
    worker = harness.worker = Booking("pay")
    document = {"on_failure": "compensate", "nodes": [ask, function("pay")], "edges": edges("ask:pay")}
    run_id = harness.start(document)
    settle_all(harness)
    harness.clock.now += 2000
    detect_timeouts(harness.services)
    harness.drain()
    assert [(name, given["approved"]) for name, given in worker.undid] == [("ask", True)]
    assert_whole(harness, run_id, "FAILED")


def test_more_undos_than_a_page_holds_run_in_order_once_each(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.domain.compensation.PAGE", 4)
    names = [f"n{number}" for number in range(13)]
    pairs = [f"{one}:{two}" for one, two in zip(names, [*names[1:], "z"], strict=True)]
    nodes = [*(undone(name, name) for name in names), function("z")]
    worker = harness.worker = Booking("z", "undo n5")
    run_id = harness.run({"on_failure": "compensate", "nodes": nodes, "edges": edges(*pairs)})["run_id"]
    assert [name for name, _ in worker.undid] == names[::-1]
    assert rolled_back(harness, run_id)["compensated"] == 12
    assert_whole(harness, run_id, "FAILED")


def test_a_rollback_of_a_completed_run_takes_it_up_again_and_ends_it_failed(harness: Harness) -> None:
    worker = harness.worker = Booking()
    run_id = harness.run(TRIP)["run_id"]
    assert harness.meta(run_id)["status"] == "COMPLETED"
    rollback_run(harness.services, run_id, "ann")
    assert view(harness, run_id)["phase"] == "compensating"
    harness.drain()
    assert [name for name, _ in worker.undid] == ["car", "hotel", "flight"]
    shown = view(harness, run_id)
    assert (shown["status"], shown["rollback"], shown["output"]) == ("FAILED", "done", None)
    assert shown["error"] == {"type": "Cancelled", "message": "Rolled back by ann", "node_id": None}
    begun = next(event for event in harness.events(run_id) if event["type"] == "run_resumed")
    assert (begun["actor"], begun["data"]) == ("ann", {"phase": "compensating"})
    assert_whole(harness, run_id, "FAILED")
    harness.assert_fold_equals_store(run_id)
    for again in (rollback_run, redrive_run, lambda services, run, actor: rerun_node(services, run, "hotel", actor)):
        with pytest.raises(Conflict):
            again(harness.services, run_id, "ann")


def test_a_rollback_of_a_failed_run_keeps_its_failure_readable(harness: Harness) -> None:
    worker = harness.worker = Booking("pay")
    run_id = harness.run({**TRIP, "on_failure": "fail_fast"})["run_id"]
    assert worker.undid == []
    rollback_run(harness.services, run_id, "ann")
    harness.drain()
    assert len(worker.undid) == 3
    error = {"type": "Cancelled", "message": "Rolled back by ann, after Boom: pay broke", "node_id": "pay"}
    assert view(harness, run_id)["error"] == error


def test_a_rollback_works_when_the_keys_are_gone(harness: Harness) -> None:
    worker = harness.worker = Booking()
    run_id = harness.run(TRIP)["run_id"]
    harness.retire(run_id)
    rollback_run(harness.services, run_id, "ann")
    harness.drain()
    assert len(worker.undid) == 3
    assert_whole(harness, run_id, "FAILED")


def test_a_rollback_of_a_live_run_cancels_what_is_outstanding_and_late_results_change_nothing(harness: Harness) -> None:
    worker = harness.worker = Booking()
    run_id = harness.start(TRIP)
    for _ in range(2):
        settle_all(harness)
        harness.work_batch()
    settle_all(harness)
    late = json.loads(harness.queues.receive("tasks-function")[0].body)
    rollback_run(harness.services, run_id, "ann")
    rollback_run(harness.services, run_id, "bob")
    harness.answer(late, worker(late))
    harness.drain()
    assert late["node_id"] == "car" and [name for name, _ in worker.undid] == ["hotel", "flight"]
    assert view(harness, run_id)["nodes"]["car"]["status"] == "CANCELLED"
    assert view(harness, run_id)["error"]["message"] == "Rolled back by ann"
    assert count(harness, run_id, "run_resumed") == 1
    assert_whole(harness, run_id, "FAILED")


def test_a_rollback_before_anything_ran_ends_the_run_at_once(harness: Harness) -> None:
    run_id = harness.start(TRIP)
    rollback_run(harness.services, run_id, "ann")
    harness.drain()
    assert harness.tasks == [] and rolled_back(harness, run_id)["compensated"] == 0
    assert_whole(harness, run_id, "FAILED")


def test_a_node_that_was_rerun_is_undone_once_as_its_newest_completion_left_it(harness: Harness) -> None:
    worker = harness.worker = Booking()
    document = {"nodes": [undone("a", {"n": 1}), undone("b", {"n": 2})], "edges": edges("a:b")}
    run_id = harness.run(document)["run_id"]
    harness.worker = lambda task: {**worker(task), "result": {"n": 20, "attempt": task["attempt"]}}
    rerun_node(harness.services, run_id, "b", "ann")
    harness.drain()
    rollback_run(harness.services, run_id, "ann")
    harness.drain()
    assert worker.undid == [("b", {"n": 20, "attempt": 2}), ("a", {"n": 1})]
    assert_whole(harness, run_id, "FAILED")


def test_what_completed_before_a_redrive_reset_it_is_undone_with_its_old_output(harness: Harness) -> None:
    """The always edge's node is behind the failed one, so a redrive resets it; what it did still stands."""
    document = {"nodes": [function("a"), undone("tidy", {"n": 1})], "edges": edges("a:tidy:always")}
    worker = harness.worker = Booking("a")
    run_id = harness.run(document)["run_id"]
    redrive_run(harness.services, run_id, "ann")
    rollback_run(harness.services, run_id, "ann")
    harness.drain()
    assert worker.undid == [("tidy", {"n": 1})]
    assert_whole(harness, run_id, "FAILED")


def test_a_body_that_a_patch_gives_to_a_completed_node_counts(harness: Harness) -> None:
    worker = harness.worker = Booking()
    wait = {"id": "w", "type": "wait", "config": {"seconds": 3600}}
    run_id = harness.start({"nodes": [function("a", 7), wait], "edges": edges("a:w")})
    settle_all(harness)
    harness.work_batch()
    settle_all(harness)
    body = undone("a")["compensate"]
    answer = patch(harness, run_id, {"op": "add", "path": "/nodes/a/compensate", "value": body})
    assert answer["changed"] == ["a"] and answer["warnings"] == []
    rollback_run(harness.services, run_id, "ann")
    with pytest.raises(Conflict, match="rolled back"):
        patch(harness, run_id, add_node(function("z")))
    harness.drain()
    assert worker.undid == [("a", 7)]
    assert_whole(harness, run_id, "FAILED")
