"""Values too large for a commit: they are kept apart, whoever makes them."""

from __future__ import annotations

import json

import pytest

from tests.engine.harness import Harness

BIG = "${input.rows.map(r, r + r)}"
ROWS = ["x" * 1000 for _ in range(300)]


def values(harness: Harness, run_id: str) -> object:
    meta = harness.meta(run_id)
    assert meta["status"] == "COMPLETED", meta.get("error")
    assert max(len(item.text) for item in harness.journal.read(run_id, 0, 1000)[1:]) < 100_000
    harness.assert_fold_equals_store(run_id)
    return json.loads(harness.artifacts.get(meta["output_ref"]))


def test_a_large_output_of_an_inline_node_and_of_the_run_is_kept_apart(harness: Harness) -> None:
    nodes = [
        {"id": "a", "type": "transform", "config": {"value": BIG}},
        {"id": "b", "type": "pass"},
        {"id": "c", "type": "transform", "config": {"value": "${size(ctx.a.output)}"}},
    ]
    edges = [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}]
    run_id = harness.start(
        {"nodes": nodes, "edges": edges, "output": ["${ctx.b.output}", "${output}"][:1]}, {"rows": ROWS}
    )
    harness.drain()
    assert values(harness, run_id) == [[row + row for row in ROWS]]
    completed = [e["data"] for e in harness.events(run_id) if e["type"] in ("node_completed", "run_completed")]
    apart, inline = (True, False), (False, True)
    assert [("output_ref" in data, "output" in data) for data in completed] == [apart, apart, inline, apart]


def test_a_large_run_variable_is_kept_apart_and_read_again(harness: Harness) -> None:
    nodes = [
        {"id": "a", "type": "transform", "config": {"value": BIG}, "set": {"all": "${output}"}},
        {"id": "b", "type": "transform", "config": {"value": "${vars.all}"}},
    ]
    run_id = harness.start({"nodes": nodes, "edges": [{"from": "a", "to": "b"}], "vars": {"all": []}}, {"rows": ROWS})
    harness.drain()
    assert values(harness, run_id) == {"b": [row + row for row in ROWS]}


@pytest.mark.parametrize("kind", ["succeed"])
def test_a_large_result_that_ends_the_run_is_kept_apart(harness: Harness, kind: str) -> None:
    run_id = harness.start({"nodes": [{"id": "a", "type": kind, "config": {"output": BIG}}]}, {"rows": ROWS})
    harness.drain()
    assert values(harness, run_id) == [row + row for row in ROWS]
