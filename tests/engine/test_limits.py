"""Limits that hold while a run goes on, and at its start."""

from __future__ import annotations

import dataclasses
import json

import pytest

from chalicelib.domain.errors import TooLarge
from chalicelib.domain.limits import Limits
from chalicelib.engine import large_values
from chalicelib.engine.step import Coordinator
from tests.engine.harness import Harness
from tests.engine.test_step import edges, function


def endless(limits: dict | None, *more: dict) -> dict:
    work = function("work", {"i": "${iteration}"})
    again = {
        "id": "again",
        "type": "loop",
        "loop": {"condition": "true", "max_iterations": 9000, "loop_back_to": "work"},
    }
    return {"nodes": [work, again, *more], "edges": edges("work:again"), **({"limits": limits} if limits else {})}


@pytest.mark.parametrize("where", ["document", "deployment"])
def test_a_run_that_makes_too_many_commits_fails(harness: Harness, where: str) -> None:
    if where == "deployment":
        harness.services = dataclasses.replace(harness.services, limits=Limits(hops=20))
        harness.coordinator = Coordinator(harness.services)
    run = harness.run(endless({"hops": 20} if where == "document" else None))
    assert run["status"] == "FAILED"
    error = json.loads(run["error"])
    assert error["type"] == "LimitExceeded" and "20" in error["message"]
    assert error["node_id"] in ("work", "again")
    assert int(run["no"]) <= 23
    harness.assert_fold_equals_store(run["run_id"])


def test_a_failure_edge_does_not_save_a_run_past_its_limit(harness: Harness) -> None:
    document = endless({"hops": 20}, function("saved"))
    document["edges"] += edges("work:saved:failure", "again:saved:failure")
    run = harness.run(document)
    assert run["status"] == "FAILED"
    assert json.loads(run["error"])["type"] == "LimitExceeded"
    assert "saved" not in [task["node_id"] for task in harness.tasks]


def test_past_the_limit_no_task_is_sent_and_no_time_is_waited_for(harness: Harness) -> None:
    wait = {"id": "wait", "type": "wait", "config": {"seconds": 3600}}
    for last in (function("last"), wait):
        began = harness.clock.now
        run = harness.run({"nodes": [function("a"), last], "edges": edges(f"a:{last['id']}"), "limits": {"hops": 3}})
        assert json.loads(run["error"])["node_id"] == last["id"]
        assert harness.clock.now - began < 3_600_000
    assert [task["node_id"] for task in harness.tasks] == ["a", "a"]


def test_a_run_within_its_limit_ends_as_it_should(harness: Harness) -> None:
    document = {"nodes": [function("a"), function("b")], "edges": edges("a:b"), "limits": {"hops": 4}}
    assert harness.run(document)["status"] == "COMPLETED"


def test_a_workflow_lowers_what_is_held_inline_of_its_input(harness: Harness) -> None:
    small = {"nodes": [function("a", {"n": "${size(input.text)}"})], "limits": {"input_bytes": 100}}
    run = harness.run(small, {"text": "x" * 200})
    assert "input" not in run and run["input_ref"].startswith("artifact://")
    assert json.loads(run["output"]) == {"a": {"n": 200}}
    assert "input" in harness.run(small, {"text": "x"})
    with pytest.raises(TooLarge):
        harness.run({**small, "limits": {"artifact_bytes": 100}}, {"text": "x" * 200})


HUGE = "${input.rows.map(r, r + r)}"
LARGE_NODES = {
    "a transform": [{"id": "a", "type": "transform", "config": {"value": HUGE}}],
    "a variable": [{"id": "a", "type": "pass", "set": {"v": HUGE}}],
    "a succeed node": [{"id": "a", "type": "succeed", "config": {"output": HUGE}}],
    "a result": [function("a", "${input.rows}")],
}


@pytest.mark.parametrize("what", LARGE_NODES)
@pytest.mark.parametrize("where", ["document", "deployment"])
def test_a_value_over_the_limit_of_artifacts_fails_its_node(harness: Harness, what: str, where: str) -> None:
    rows = ["x" * 1000 for _ in range(100)]
    if where == "deployment":
        harness.services = dataclasses.replace(
            harness.services, limits=Limits(artifact_bytes=90_000, input_bytes=10**6)
        )
        harness.coordinator = Coordinator(harness.services)
        harness.services = dataclasses.replace(harness.services, limits=Limits())  # the input itself may be so large
    document = {"nodes": LARGE_NODES[what], "vars": {"v": 0}}
    if where == "document":
        document["limits"] = {"artifact_bytes": 104_000}
        rows = ["x" * 1020 for _ in range(100 if what != "a result" else 101)]
        harness.worker = lambda task: {"status": "completed", "result": [*task["config"]["params"], "y" * 3000]}
    run = harness.run(document, {"rows": rows})
    error = json.loads(run["error"])
    assert (run["status"], error["type"], error["node_id"]) == ("FAILED", "LimitExceeded", "a")
    assert "limits.artifact_bytes" in error["message"]
    harness.assert_fold_equals_store(run["run_id"])


def test_an_output_of_a_run_over_the_limit_of_artifacts_fails_the_run(harness: Harness) -> None:
    document = {"nodes": [function("a")], "output": HUGE, "limits": {"artifact_bytes": 104_000}}
    run = harness.run(document, {"rows": ["x" * 1000] * 100})
    assert (run["status"], json.loads(run["error"])["type"]) == ("FAILED", "LimitExceeded")
    harness.assert_fold_equals_store(run["run_id"])


def test_a_commit_that_the_journal_could_not_hold_fails_its_node(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_values, "COMMIT_BYTES", 2_000)
    names = [f"variable_{i}" for i in range(400)]
    setting = function("a", set={name: f"${{output.n + {i}}}" for i, name in enumerate(names)})
    harness.worker = lambda task: {"status": "completed", "result": {"n": 123456789}}
    run = harness.run({"nodes": [setting, function("b")], "edges": edges("a:b"), "vars": dict.fromkeys(names, 0)})
    error = json.loads(run["error"])
    assert (run["status"], error["type"], error["node_id"]) == ("FAILED", "LimitExceeded", "a")
    assert "b" not in [task["node_id"] for task in harness.tasks]
    harness.assert_fold_equals_store(run["run_id"])
