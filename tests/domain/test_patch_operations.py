"""JSON Patch on workflow documents: RFC 6902 as it stands, and ids as path segments."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.errors import InvalidInput
from chalicelib.domain.patch_operations import apply_operations

Json = Any
LIMIT = 1 << 20
NODES = [{"id": "a", "type": "pass"}, {"id": "b", "type": "pass"}, {"id": "c", "type": "pass"}]
EDGES = [{"from": "a", "to": "b"}, {"from": "a", "to": "b", "on": "failure"}, {"from": "b", "to": "c", "on": "always"}]
DOCUMENT = {"nodes": NODES, "edges": EDGES}


def op(kind: str, path: str, value: Json = ..., **more: str) -> Json:
    return {"op": kind, "path": path, **more, **({} if value is ... else {"value": value})}


def applied(document: Json, *operations: Json) -> Json:
    before = copy.deepcopy((document, operations))
    found = apply_operations(document, list(operations), LIMIT).document
    assert (document, operations) == before, "neither the document nor the operations change"
    return found


def refused(document: Json, *operations: Json) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as caught:
        applied(document, *operations)
    return caught.value.problems[0].code, caught.value.problems[0].path


#: (metadata before, operations below /metadata, metadata after): the examples of RFC 6902, appendix A, and more.
RFC = [
    ({"foo": "bar"}, [op("add", "/baz", "qux")], {"foo": "bar", "baz": "qux"}),
    ({"foo": ["bar", "baz"]}, [op("add", "/foo/1", "qux")], {"foo": ["bar", "qux", "baz"]}),
    ({"foo": ["bar"]}, [op("add", "/foo/-", ["abc"])], {"foo": ["bar", ["abc"]]}),
    ({"foo": ["bar"]}, [op("add", "/foo/1", 1)], {"foo": ["bar", 1]}),
    ({"baz": 1, "foo": 2}, [op("remove", "/baz")], {"foo": 2}),
    ({"foo": [1, 2, 3]}, [op("remove", "/foo/1")], {"foo": [1, 3]}),
    ({"baz": 1}, [op("replace", "/baz", "boo")], {"baz": "boo"}),
    ({"baz": [1, 2]}, [op("replace", "/baz/0", None)], {"baz": [None, 2]}),
    ({"foo": {"bar": 1, "waldo": 2}, "qux": {}}, [op("move", "/qux/thud", **{"from": "/foo/waldo"})],
     {"foo": {"bar": 1}, "qux": {"thud": 2}}),
    ({"foo": [1, 2, 3, 4]}, [op("move", "/foo/3", **{"from": "/foo/1"})], {"foo": [1, 3, 4, 2]}),
    ({"foo": 1}, [op("move", "/foo", **{"from": "/foo"})], {"foo": 1}),
    ({"a": {"b": [1]}}, [op("copy", "/c", **{"from": "/a"}), op("add", "/c/b/-", 2)],
     {"a": {"b": [1]}, "c": {"b": [1, 2]}}),
    ({"a": [1, {"b": 2.0}]}, [op("test", "/a", [1.0, {"b": 2}])], {"a": [1, {"b": 2.0}]}),
    ({"foo": None}, [op("test", "/foo", None)], {"foo": None}),
    ({"/": 1, "~1": 2}, [op("test", "/~01", 2), op("replace", "/~1", 3)], {"/": 3, "~1": 2}),
    ({"": 1}, [op("replace", "/", 2)], {"": 2}),
    ({"foo": 1}, [op("add", "/child", 2, xyz="123")], {"foo": 1, "child": 2}),
    ({"foo": "bar"}, [op("add", "/foo", "new")], {"foo": "new"}),
]  # fmt: skip


def below(operation: Json) -> Json:
    return {**operation, **{n: "/metadata" + operation[n] for n in ("path", "from") if n in operation}}


@pytest.mark.parametrize(("before", "operations", "after"), RFC, ids=lambda value: json.dumps(value)[:60])
def test_rfc_6902_holds(before: Json, operations: Json, after: Json) -> None:
    document = {**DOCUMENT, "metadata": before}
    assert applied(document, *map(below, operations)) == {**DOCUMENT, "metadata": after}


REFUSED = [
    ({"foo": "bar"}, op("test", "/foo", "baz"), "test_failed"),
    ({"foo": 1}, op("test", "/foo", True), "test_failed"),
    ({"foo": 0}, op("test", "/foo", False), "test_failed"),
    ({"foo": None}, op("test", "/bar", None), "path_not_found"),
    ({"foo": "bar"}, op("add", "/baz/bat", 1), "path_not_found"),
    ({"foo": "bar"}, op("add", "/foo/bat", 1), "path_not_found"),
    ({"foo": [1, 2]}, op("add", "/foo/3", 1), "path_not_found"),
    ({"foo": [1, 2]}, op("add", "/foo/01", 1), "bad_index"),
    ({"foo": [1, 2]}, op("add", "/foo/x", 1), "bad_index"),
    ({"foo": [1, 2]}, op("remove", "/foo/-1"), "bad_index"),
    ({"foo": [1, 2]}, op("remove", "/foo/2"), "path_not_found"),
    ({"foo": [1, 2]}, op("replace", "/foo/-", 1), "bad_index"),
    ({"foo": 1}, op("replace", "/bar", 1), "path_not_found"),
    ({"foo": {"bar": 1}}, op("move", "/foo/bar/baz", **{"from": "/foo"}), "move_into_itself"),
]


@pytest.mark.parametrize(("before", "operation", "code"), REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_what_rfc_6902_calls_an_error_is_refused(before: Json, operation: Json, code: str) -> None:
    assert refused({**DOCUMENT, "metadata": before}, below(operation))[0] == code


def test_ids_stand_for_indexes_and_are_resolved_before_each_operation() -> None:
    found = applied(
        DOCUMENT,
        op("remove", "/nodes/a"),
        op("add", "/nodes/0", {"id": "z", "type": "pass"}),
        op("add", "/nodes/b/name", "second"),
        op("add", "/nodes/z/name", "first"),
    )
    assert [(node["id"], node.get("name")) for node in found["nodes"]] == [("z", "first"), ("b", "second"), ("c", None)]


def test_adding_at_an_id_inserts_before_it() -> None:
    new = {"id": "n", "type": "pass"}
    found = applied(DOCUMENT, op("add", "/nodes/b", new), op("move", "/nodes/a", **{"from": "/nodes/c"}))
    assert [node["id"] for node in found["nodes"]] == ["c", "a", "n", "b"]


def test_removing_a_node_removes_its_edges_also_before_later_operations() -> None:
    assert applied(DOCUMENT, op("remove", "/nodes/b")) == {"nodes": [NODES[0], NODES[2]], "edges": []}
    again = {"from": "a", "to": "b"}
    found = applied(DOCUMENT, op("remove", "/nodes/b"), op("add", "/nodes/-", NODES[1]), op("add", "/edges/-", again))
    assert found["edges"] == [again]
    assert refused(DOCUMENT, op("remove", "/nodes/b"), op("remove", "/edges/a:b"))[0] == "unknown_edge"


def test_edges_are_named_by_their_ends_and_on() -> None:
    assert applied(DOCUMENT, op("remove", "/edges/a:b"))["edges"] == EDGES[1:]
    assert applied(DOCUMENT, op("remove", "/edges/a:b:failure"))["edges"] == [EDGES[0], EDGES[2]]
    assert applied(DOCUMENT, op("remove", "/edges/b:c"))["edges"] == EDGES[:2], "the only one"
    assert refused(DOCUMENT, op("remove", "/edges/a:b:always")) == ("unknown_edge", "/operations/0/path")
    two = {**DOCUMENT, "edges": [{"from": "a", "to": "b", "on": on} for on in ("failure", "always")]}
    assert refused(two, op("remove", "/edges/a:b")) == ("ambiguous_edge", "/operations/0/path")


def test_a_document_without_edges_takes_them() -> None:
    bare = {"nodes": NODES}
    assert applied(bare, op("add", "/edges/-", EDGES[0]))["edges"] == [EDGES[0]]
    assert applied(bare, op("test", "/edges", [])) == bare


def test_what_operations_touched_is_known() -> None:
    operations = [
        op("add", "/nodes/-", {"id": "n", "type": "pass"}), op("add", "/edges/-", {"from": "a", "to": "n"}),
        op("replace", "/nodes/0/type", "branch"), op("remove", "/nodes/c"),
    ]  # fmt: skip
    found = apply_operations(DOCUMENT, operations, LIMIT)
    assert found.nodes == {"n": 0, "a": 2, "c": 3}
    assert found.edges == {"a:n:success": 1, "b:c:always": 3}


def test_the_first_operation_that_fails_is_named() -> None:
    assert refused(DOCUMENT, op("add", "/name", "x"), op("remove", "/zz")) == ("path_not_found", "/operations/1/path")
    missing = op("copy", "/name", **{"from": "/nodes/zz"})
    assert refused(DOCUMENT, missing) == ("unknown_node", "/operations/0/from")


ATOMS = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab/~-0", max_size=3)
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab0-", max_size=2), inner)
)
PATHS = st.lists(
    st.sampled_from(["nodes", "edges", "a", "b", "zz", "0", "1", "-", "a:b", "", "id", "from"]), max_size=4
)
MEMBERS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "no", None])},
    optional={
        "path": PATHS.map(lambda parts: "".join(f"/{part}" for part in parts)) | ATOMS,
        "from": PATHS.map(lambda parts: "".join(f"/{part}" for part in parts)) | ATOMS,
        "value": VALUES,
    },
)


@settings(max_examples=400, deadline=None)
@given(st.lists(MEMBERS | ATOMS, max_size=6))
def test_no_operations_break_it(operations: Json) -> None:
    before = json.dumps([DOCUMENT, operations])
    try:
        json.dumps(apply_operations(DOCUMENT, operations, LIMIT).document)
    except InvalidInput as error:
        assert all(problem.path.startswith("/operations") for problem in error.problems)
    assert json.dumps([DOCUMENT, operations]) == before
