"""Two workflows compared by what they mean."""

from __future__ import annotations

import itertools
import random

from chalicelib.domain.workflow_diff import workflow_diff
from tests.domain.documents import chain, compiled, edge, node, workflow

NOTHING = {"added": [], "removed": [], "changed": []}
SAME = {"nodes": {**NOTHING, "moved": []}, "edges": NOTHING, "document": []}


def diff(old, new):
    return workflow_diff(compiled(old), compiled(new))


def value(name, given):
    return node(name, "transform", config={"value": given})


def shuffled(given, rng):
    """The same document with nodes, edges and keys in another order."""
    if isinstance(given, dict):
        keys = rng.sample(list(given), len(given))
        return {
            key: rng.sample(given[key], len(given[key])) if key in ("nodes", "edges") else given[key] for key in keys
        }
    return given


def test_order_and_nulls_make_no_difference():
    old = workflow([value("a", {"x": 1, "y": 2}), "b", "c"], chain("a", "b", "c"), name="n", metadata={"k": 1})
    rng = random.Random(1)
    for _ in range(20):
        new = shuffled(old, rng)
        new["nodes"] = [{**shuffled(item, rng), "retry": None, "name": None} for item in new["nodes"]]
        assert diff(old, new) == SAME


def test_fields_are_told_with_what_they_were_and_are():
    old = workflow([value("a", {"x": 1, "list": [1, 2], "same": 0})], name="n", timeout_ms=5)
    new = workflow([{**value("a", {"y": None, "list": [1, 3], "same": 0}), "name": "A"}], name="m")
    found = diff(old, new)
    assert found["nodes"]["changed"] == [
        {
            "id": "a",
            "changes": [
                {"path": "/nodes/a/config/value/list/1", "before": 2, "after": 3},
                {"path": "/nodes/a/config/value/x", "before": 1},
                {"path": "/nodes/a/config/value/y", "after": None},
                {"path": "/nodes/a/name", "after": "A"},
            ],
        }
    ]
    assert found["document"] == [{"path": "/name", "before": "n", "after": "m"}, {"path": "/timeout_ms", "before": 5}]


def test_values_that_python_thinks_equal_are_told_apart():
    for before, after in itertools.permutations([1, 1.0, True], 2):
        changes = diff(workflow([value("a", before)]), workflow([value("a", after)]))["nodes"]["changed"]
        assert [repr(changes[0]["changes"][0][side]) for side in ("before", "after")] == [repr(before), repr(after)]


def test_pointers_escape_and_lists_of_another_length_change_whole():
    old, new = workflow([value("a", {"x/y~z": [1]})]), workflow([value("a", {"x/y~z": [1, 2]})])
    assert diff(old, new)["nodes"]["changed"][0]["changes"] == [
        {"path": "/nodes/a/config/value/x~1y~0z", "before": [1], "after": [1, 2]}
    ]


def test_a_node_put_between_two_moves_the_second():
    found = diff(workflow(["a", "c"], chain("a", "c")), workflow(["a", "b", "c"], chain("a", "b", "c")))
    assert found["nodes"] == {
        "added": ["b"],
        "removed": [],
        "changed": [],
        "moved": [{"id": "c", "before": ["a:c:success"], "after": ["b:c:success"]}],
    }
    assert found["edges"] == {"added": ["a:b:success", "b:c:success"], "removed": ["a:c:success"], "changed": []}


def test_edges_are_compared_by_what_decides_them():
    """A condition appears; an edge of edges[] becomes one of a branch."""
    old = workflow(["a", "b", "c"], [edge("a", "b"), edge("a", "c")])
    rules = {"rules": [{"condition": "true", "next_nodes": ["c"]}]}
    new = workflow([node("a", branch=rules), "b", "c"], [edge("a", "b", condition="input.x")])
    found = diff(old, new)["edges"]
    condition = {"type": "cel", "expression": "input.x"}
    assert found["changed"] == [
        {"id": "a:b:success", "changes": [{"path": "/edges/a:b:success/condition", "after": condition}]},
        {"id": "a:c:success", "changes": [{"path": "/edges/a:c:success/kind", "before": "plain", "after": "branch"}]},
    ]
    assert diff(new, old)["edges"]["changed"][0]["changes"][0] == {
        "path": "/edges/a:b:success/condition",
        "before": condition,
    }
