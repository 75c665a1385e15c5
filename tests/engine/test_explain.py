from __future__ import annotations

import json

from chalicelib.domain.errors import Unavailable
from chalicelib.engine.controls import pause_run
from chalicelib.engine.explaining import explain_run
from tests.engine.harness import Harness
from tests.engine.test_step import edges, function


def settle_all(harness: Harness) -> None:
    while harness.settle_batch():
        pass


def explained(harness: Harness, run_id: str) -> dict:
    return explain_run(harness.services, "acme", run_id)


def codes(answer: dict) -> list[str]:
    return [problem["code"] for problem in answer["problems"]]


def test_a_task_shows_its_queue_its_attempt_and_its_deadline(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a", timeout_ms=5000)]})
    settle_all(harness)
    answer = explained(harness, run_id)
    [entry] = answer["waiting"]
    assert (entry["node_id"], entry["waits_for"], entry["queue"]) == ("a", "task", "tasks-function")
    assert (entry["attempt"], entry["queued"]) == (1, 1)
    assert entry["since"] == "2027-01-15T08:00:00.000Z" and entry["deadline"] == "2027-01-15T08:00:05.000Z"
    assert answer["summary"] == "The run is RUNNING and waits for 1 task." and answer["problems"] == []


def test_a_timer_and_a_retry_show_when_they_are_due(harness: Harness) -> None:
    nodes = [
        {"id": "w", "type": "wait", "config": {"seconds": 60}},
        function("a", retry={"max_attempts": 3, "backoff_ms": 20_000}),
    ]
    run_id = harness.start({"nodes": nodes})
    settle_all(harness)
    harness.worker = lambda task: {"status": "failed", "error": {"type": "Broken", "message": "no"}}
    harness.work_batch()
    settle_all(harness)
    by_node = {entry["node_id"]: entry for entry in explained(harness, run_id)["waiting"]}
    assert (by_node["w"]["waits_for"], by_node["w"]["due_at"]) == ("timer", "2027-01-15T08:01:00.000Z")
    assert (by_node["a"]["waits_for"], by_node["a"]["due_at"]) == ("retry", "2027-01-15T08:00:20.000Z")
    assert by_node["a"]["attempt"] == 2


def test_a_join_shows_which_edges_came_and_which_can_still_come(harness: Harness) -> None:
    document = {
        "nodes": [function("a"), function("b"), function("s"), function("c"), {"id": "j", "type": "pass"}],
        "edges": edges("a:j", "s:b", "b:j", "s:c", "c:j:failure"),
    }
    run_id = harness.start(document)
    settle_all(harness)
    for message in harness.queues.receive("tasks-function"):
        task = json.loads(message.body)
        if task["node_id"] == "a":
            harness.answer(task, {"status": "completed", "result": 1})
    settle_all(harness)
    entry = next(e for e in explained(harness, run_id)["waiting"] if e["waits_for"] == "join")
    assert (entry["node_id"], entry["needs"], entry["since"]) == ("j", "all", "2027-01-15T08:00:00.000Z")
    assert entry["edges"] == [
        {"from": "a", "on": "success", "state": "taken"},
        {"from": "b", "on": "success", "state": "missing", "can_come": True},
        {"from": "c", "on": "failure", "state": "missing", "can_come": True},
    ]
    assert entry["moved_by"] == "The end of b, c."


def test_a_join_that_cannot_fill_is_a_problem(harness: Harness) -> None:
    """A state that the engine does not make: the token that would have filled the join is gone."""
    document = {
        "nodes": [function("a"), function("b"), function("c"), {"id": "j", "type": "pass"}],
        "edges": edges("a:j", "b:j"),
    }
    run_id = harness.start(document)
    settle_all(harness)
    for message in harness.queues.receive("tasks-function"):
        if json.loads(message.body)["node_id"] == "a":
            harness.answer(json.loads(message.body), {"status": "completed", "result": 1})
    settle_all(harness)
    state = harness.store.snapshot(run_id)
    harness.retire(run_id)
    del state["tok"]["b@#0.1"]
    harness.store.install(run_id, state)
    assert codes(explained(harness, run_id)) == ["join_cannot_fill"]


def test_what_is_late_is_a_problem(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a", timeout_ms=1000), function("b")]})
    settle_all(harness)
    harness.clock.now += 61_001
    assert codes(explained(harness, run_id)) == ["overdue"]
    harness.clock.now += 600_000
    assert sorted(codes(explained(harness, run_id))) == ["no_answer", "overdue"]


def test_a_start_that_nobody_sent_is_a_problem(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    assert explained(harness, run_id)["waiting"][0]["waits_for"] == "coordinator"
    harness.clock.now += 60_001
    assert codes(explained(harness, run_id)) == ["unsent"]


def test_a_paused_run_names_what_is_held_and_since_when(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a"), function("b")], "edges": edges("a:b")})
    settle_all(harness)
    harness.clock.now += 1000
    pause_run(harness.services, run_id, "ann")
    harness.drain()
    harness.clock.now += 100_000
    answer = explained(harness, run_id)
    assert (answer["status"], answer["since"], codes(answer)) == ("PAUSED", "2027-01-15T08:00:01.000Z", ["paused"])
    assert [(entry["node_id"], entry["waits_for"]) for entry in answer["waiting"]] == [("b", "resume")]


def test_an_ended_run_says_why(harness: Harness) -> None:
    harness.worker = lambda task: {"status": "failed", "error": {"type": "Broken", "message": "no"}}
    run_id = harness.run({"nodes": [function("a")]})["run_id"]
    answer = explained(harness, run_id)
    assert answer["error"] == {"type": "Broken", "message": "no", "node_id": "a"}
    assert answer["waiting"] == [] and "FAILED" in answer["summary"] and answer["since"]


def test_a_deep_queue_is_a_problem_and_a_silent_one_is_not(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    settle_all(harness)
    harness.queues.depth = lambda queue: 1000
    assert codes(explained(harness, run_id)) == ["queue_deep"]

    def silent(queue: str) -> int:
        raise Unavailable("SQS does not answer.")

    harness.queues.depth = silent
    answer = explained(harness, run_id)
    assert answer["waiting"][0]["queued"] is None and answer["problems"] == []


def test_a_wide_join_shows_what_is_missing_first(harness: Harness) -> None:
    names = [f"n{i}" for i in range(250)]
    document = {
        "nodes": [*(function(name) for name in names), {"id": "j", "type": "pass"}],
        "edges": edges(*(f"{name}:j" for name in names)),
    }
    run_id = harness.start(document)
    harness.settle_batch()
    settle_all(harness)
    for message in harness.queues.receive("tasks-function", 100):
        harness.answer(json.loads(message.body), {"status": "completed", "result": 1})
    settle_all(harness)
    answer = explained(harness, run_id)
    assert answer["waiting_total"] == len(answer["waiting"]) == 151
    entry = answer["waiting"][0]
    assert (entry["edges_total"], entry["missing"], len(entry["edges"])) == (250, 150, 200)
    assert {edge["state"] for edge in entry["edges"][:150]} == {"missing"}
    assert entry["moved_by"].endswith("and 130 more.")
