"""Patches that are malformed or meant to do harm: nothing changes, and the answer says which operation and why."""

from __future__ import annotations

import time
from typing import Any

import pytest

from chalicelib.domain.errors import InvalidDocument, InvalidInput
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole
from tests.engine.patching import add_edge, add_node, edges, function, refused, remove, replace
from tests.engine.test_patch import begin

Json = Any
JOIN = {
    "nodes": [function("a", 1), function("b", 2), function("c", 3, join="all"), function("d")],
    "edges": edges("a>c b>c c>d"),
    "metadata": {"list": [1, 2], "deep": {"x": {}}},
}
FINE = [{"op": "add", "path": "/metadata/fine", "value": True}, add_node(function("fine"))]


def test_path(path: Json, **more: Json) -> Json:
    return {"op": "test", "path": path, "value": 1, **more}


test_path.__test__ = False  # type: ignore[attr-defined]

#: (what is wrong, the operation, its code, the member of the operation that is named).
BAD = [
    ("a pointer into nowhere", remove("/metadata/nowhere/at/all"), "path_not_found", "path"),
    ("a pointer into a number", {"op": "add", "path": "/metadata/list/0/x", "value": 1}, "path_not_found", "path"),
    ("a pointer past the end", {"op": "add", "path": "/metadata/list/9", "value": 1}, "path_not_found", "path"),
    ("an index with a leading zero", remove("/metadata/list/01"), "bad_index", "path"),
    ("an index below zero", remove("/metadata/list/-1"), "bad_index", "path"),
    ("an index of many digits", remove("/metadata/list/" + "9" * 500), "bad_index", "path"),
    ("a digit of another script", remove("/metadata/list/\u0661"), "bad_index", "path"),
    ("a pointer without a slash", remove("metadata"), "bad_pointer", "path"),
    ("a broken escape", remove("/metadata/~2"), "bad_pointer", "path"),
    ("a node that is not there", remove("/nodes/ghost"), "unknown_node", "path"),
    ("an edge that is not there", remove("/edges/a:ghost"), "unknown_edge", "path"),
    ("a move into itself", {"op": "move", "from": "/metadata", "path": "/metadata/deep/x"}, "move_into_itself", "path"),
    ("a move of a node into itself", {"op": "move", "from": "/nodes/a", "path": "/nodes/a/config"}, "move_into_itself",
     "path"),
    ("a move from nowhere", {"op": "move", "from": "/metadata/no", "path": "/metadata/x"}, "path_not_found", "from"),
    ("a copy of everything", {"op": "copy", "from": "/nodes/ghost", "path": "/metadata/x"}, "unknown_node", "from"),
    ("a test that fails", test_path("/metadata/list/0", value=2), "test_failed", "path"),
    ("a test of another type", test_path("/metadata/list/0", value=True), "test_failed", "path"),
    ("the removal of everything", remove(""), "path_not_found", "path"),
    ("a document that is no object", replace("", [1]), None, "value"),
    ("an unknown operation", {"op": "destroy", "path": "/nodes"}, "unknown_op", "op"),
    ("an operation without a path", {"op": "remove"}, "bad_pointer", "path"),
    ("an operation without a value", {"op": "add", "path": "/metadata/x"}, "missing", "value"),
    ("an operation that is none", "remove everything", "wrong_type", None),
    ("a path of another type", {"op": "remove", "path": ["nodes", 0]}, "bad_pointer", "path"),
    ("a value that nests without end", {"op": "add", "path": "/metadata/x", "value": None}, "too_deep", "path"),
    ("a path that nests without end", {"op": "add", "path": "/metadata" + "/a" * 5000, "value": 1}, None, "path"),
    ("a prototype", {"op": "add", "path": "/nodes/a/__class__/x", "value": 1}, "path_not_found", "path"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "bad", "code", "member"), BAD, ids=[row[0] for row in BAD])
def test_a_bad_operation_among_good_ones_changes_nothing_and_is_named_by_its_index(
    harness: Harness, what: str, bad: Json, code: str | None, member: str | None
) -> None:
    if code == "too_deep":
        value: Json = 1
        for _ in range(400):
            value = [value]
        bad = {**bad, "value": value}
    run_id, held = begin(harness, JOIN, "a")
    error = refused(harness, run_id, *FINE, bad, *FINE)
    assert isinstance(error, InvalidInput), what
    first = error.problems[0]
    where = "/operations/2" + (f"/{member}" if member else "")
    assert first.path == where or (code is None and first.path.startswith("/operations/2")), first
    assert code is None or first.code == code, first
    assert len(first.message) < 500
    held.done("b")
    held.done("c")
    held.done("d")
    assert_whole(harness, run_id)


@pytest.mark.parametrize("count", [1_001, 10_000])
def test_more_operations_than_a_patch_may_have_are_refused_before_any_is_tried(harness: Harness, count: int) -> None:
    run_id, _ = begin(harness, JOIN)
    error = refused(harness, run_id, *[{"op": "add", "path": "/metadata/x", "value": i} for i in range(count)])
    assert [(found.code, found.path) for found in error.problems] == [("limit_exceeded", "/operations")]
    assert str(count) in error.problems[0].message


def test_a_huge_value_is_refused_by_the_documents_limit(harness: Harness) -> None:
    run_id, _ = begin(harness, JOIN)
    error = refused(harness, run_id, *FINE, {"op": "add", "path": "/metadata/x", "value": "x" * (2 << 20)})
    assert "limit_exceeded" in {found.code for found in error.problems} or isinstance(error, InvalidDocument)
    assert error.problems


def test_copies_that_double_are_cut_off_early(harness: Harness) -> None:
    run_id, _ = begin(harness, JOIN)
    seed = {"op": "add", "path": "/metadata/x", "value": ["y" * 1000]}
    double = {"op": "copy", "from": "/metadata/x", "path": "/metadata/x/-"}
    began = time.monotonic()
    error = refused(harness, run_id, seed, *[double] * 900)
    assert time.monotonic() - began < 10
    assert (error.problems[0].code, error.problems[0].path.split("/")[1]) == ("limit_exceeded", "operations")
    assert 1 < int(error.problems[0].path.split("/")[2]) < 30


@pytest.mark.parametrize(
    "half",
    [
        [add_node(function("n")), add_edge("n>ghost")],
        [add_node(function("n")), add_edge("a>n"), add_node({"id": "m", "type": "nope"})],
        [remove("/nodes/d"), add_edge("c>d")],
        [remove("/nodes/d"), add_node(function("n")), replace("/nodes/n/config", {"handler": 5})],
        [add_node(function("n", "${ctx.ghost.output}")), add_edge("c>n")],
        [add_node(function("n", "${1 +}")), add_edge("c>n")],
        [add_node(function("a")), add_node(function("n"))],
        [replace("/nodes/c/join", {"count": 99})],
        [{"op": "add", "path": "/limits", "value": {"patches": 10**9}}],
        [remove("/edges"), replace("/nodes", [])],
        [replace("/nodes", {"a": 1})],
        [replace("/nodes/d/id", "a")],
        [replace("", {"nodes": [function("z")]})],
    ],
)
def test_operations_that_compile_only_halfway_change_nothing_and_say_where(harness: Harness, half: list[Json]) -> None:
    run_id, held = begin(harness, JOIN, "a")
    error = refused(harness, run_id, *half)
    assert error.problems and all(found.path.startswith("/") and found.message for found in error.problems)
    held.done("b")
    held.done("c")
    held.done("d")
    assert_whole(harness, run_id)


@pytest.mark.parametrize("operations", [None, {}, "[]", 5, [[]], [None], [{"op": ["add"], "path": "/x", "value": 1}]])
def test_what_is_no_list_of_operations_changes_nothing(harness: Harness, operations: Json) -> None:
    from chalicelib.engine.patches import patch_run
    from tests.engine.patching import dump, request

    run_id, _ = begin(harness, JOIN)
    before = dump(harness)
    with pytest.raises(InvalidInput) as caught:
        patch_run(harness.services, request(run_id, operations))
    assert caught.value.problems[0].path.startswith("/operations")
    assert dump(harness) == before


def test_each_problem_of_a_patched_document_names_the_operation_that_it_comes_from(harness: Harness) -> None:
    run_id, _ = begin(harness, JOIN)
    operations = [*FINE, add_node({"id": "m", "type": "nope"}), add_edge("a>ghost"), replace("/nodes/d/config", {})]
    found = refused(harness, run_id, *operations).problems
    assert sorted(problem.message.rsplit("/", 1)[1] for problem in found) == ["2.", "3.", "4."]
    assert [problem.path.split("/")[1] for problem in found].count("nodes") == 2
