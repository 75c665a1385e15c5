from __future__ import annotations

import json

from tests.engine.harness import Harness


def function(id: str, params: object = None, **more: object) -> dict:
    return {"id": id, "type": "function", "config": {"handler": "echo", "params": params}, **more}


def edges(*pairs: str) -> list[dict]:
    return [dict(zip(("from", "to", "on"), pair.split(":"), strict=False)) for pair in pairs]


def test_a_chain_passes_values_along(harness: Harness) -> None:
    document = {
        "name": "abc",
        "nodes": [
            function("a", {"n": "${input.n}"}),
            function("b", {"n": "${ctx.a.output.n + 1}"}),
            function("c", {"n": "${output.n + 1}"}),
        ],
        "edges": edges("a:b", "b:c"),
    }
    run = harness.run(document, {"n": 1})
    assert run["status"] == "COMPLETED"
    assert json.loads(run["output"]) == {"c": {"n": 3}}
    harness.assert_fold_equals_store(run["run_id"])


def test_a_diamond_behind_an_exclusive_branch_neither_hangs_nor_runs_twice(harness: Harness) -> None:
    document = {
        "nodes": [
            function("a", {"n": "${input.n}"}),
            {
                "id": "r",
                "type": "branch",
                "branch": {"rules": [{"condition": "output.n > 5", "next_nodes": ["high"]}], "default": ["low"]},
            },
            function("high", {"v": "high"}),
            function("low", {"v": "low"}),
            {"id": "j", "type": "pass"},
        ],
        "edges": edges("a:r", "high:j", "low:j"),
    }
    for n, expected in ((9, "high"), (1, "low")):
        run = harness.run(document, {"n": n})
        assert json.loads(run["output"]) == {"j": {"v": expected}}
        harness.assert_fold_equals_store(run["run_id"])


def test_a_loop_counts_and_ends(harness: Harness) -> None:
    document = {
        "vars": {"sum": 0},
        "nodes": [
            function("work", {"i": "${iteration}"}, set={"sum": "${vars.sum + output.i}"}),
            {
                "id": "again",
                "type": "loop",
                "loop": {"condition": "iteration < 4", "max_iterations": 10, "loop_back_to": "work"},
            },
            {"id": "end", "type": "transform", "config": {"value": "${vars.sum}"}},
        ],
        "edges": edges("work:again", "again:end"),
    }
    run = harness.run(document)
    assert run["status"] == "COMPLETED", run
    assert json.loads(run["output"]) == {"end": 10}
    harness.assert_fold_equals_store(run["run_id"])


def test_a_wide_fan_out_joins_once(harness: Harness) -> None:
    names = [f"n{i}" for i in range(250)]
    document = {
        "nodes": [function("a"), *[function(n, {"v": 1}) for n in names], function("j", {"done": True})],
        "edges": edges(*[f"a:{n}" for n in names], *[f"{n}:j" for n in names]),
    }
    run = harness.run(document)
    assert run["status"] == "COMPLETED"
    assert len(harness.tasks) == 252
    assert json.loads(run["output"]) == {"j": {"done": True}}
    harness.assert_fold_equals_store(run["run_id"])


def test_a_failure_edge_handles_after_retries_and_waits_take_their_time(harness: Harness) -> None:
    attempts: list[int] = []

    def worker(task: dict) -> dict:
        if task["node_id"] == "bad":
            attempts.append(task["attempt"])
            return {"status": "failed", "error": {"type": "Boom", "message": "no"}}
        return {"status": "completed", "result": task["config"].get("params")}

    harness.worker = worker
    document = {
        "nodes": [
            function("bad", retry={"max_attempts": 3}),
            {"id": "pause", "type": "wait", "config": {"seconds": 5}},
            function("fix", {"error": "${ctx.bad.error.type}"}),
            function("never"),
        ],
        "edges": edges("bad:pause:failure", "pause:fix", "bad:never"),
    }
    before = harness.clock.now
    run = harness.run(document)
    assert attempts == [1, 2, 3]
    assert run["status"] == "COMPLETED", run
    assert json.loads(run["output"]) == {"fix": {"error": "Boom"}}
    assert harness.clock.now - before >= 3000 + 5000
    harness.assert_fold_equals_store(run["run_id"])


def test_an_unhandled_failure_fails_the_run_and_cancels_the_rest(harness: Harness) -> None:
    def worker(task: dict) -> dict:
        return {"status": "failed", "error": {"type": "Boom", "message": "no"}}

    harness.worker = worker
    document = {
        "nodes": [function("bad"), {"id": "slow", "type": "wait", "config": {"seconds": 3600}}],
        "edges": [],
    }
    run = harness.run(document)
    assert run["status"] == "FAILED"
    assert json.loads(run["error"]) == {"type": "Boom", "message": "no", "retryable": True, "node_id": "bad"}
    harness.assert_fold_equals_store(run["run_id"])
