"""Conditions of the three kinds: what they accept, and when they hold."""

from itertools import pairwise
from typing import Any

import pytest

from chalicelib.domain.conditions import compile_condition, holds
from chalicelib.domain.errors import EvaluationError

VALUES = {
    "output": {"score": 9, "name": "Ann", "tags": ["a", "b"], "rows": [{"n": 1}, {"n": 5.0}]},
    "ctx": {"fetch": {"output": {"ok": True}, "status": "COMPLETED"}},
    "input": {"limit": 4},
}


def check(raw: Any, values: dict[str, Any] = VALUES) -> bool:
    condition, problems = compile_condition(raw, "/c")
    assert problems == []
    assert condition is not None
    return holds(condition, values)


def found(raw: Any) -> list[tuple[str, str]]:
    condition, problems = compile_condition(raw, "/c")
    assert condition is None
    return [(problem.code, problem.path) for problem in problems]


def jsonpath(query: str, operator: str, *value: Any) -> dict[str, Any]:
    return {"type": "jsonpath", "query": query, "operator": operator} | ({"value": value[0]} if value else {})


def test_a_string_is_cel() -> None:
    condition, problems = compile_condition("output.score > 5 && ctx.fetch.output.ok", "/c")
    assert problems == []
    assert condition is not None
    assert condition.spec == {"type": "cel", "expression": "output.score > 5 && ctx.fetch.output.ok"}
    assert condition.expression.nodes == ("fetch",)
    assert holds(condition, VALUES)


@pytest.mark.parametrize(("source", "kind"), [("output.score", "a number"), ("null", "null"), ("'yes'", "a string")])
def test_a_condition_that_gives_no_bool_is_an_error(source: str, kind: str) -> None:
    with pytest.raises(EvaluationError, match=kind):
        check(source)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (jsonpath("$.output.score", "exists"), True),
        (jsonpath("$.output.zz", "exists"), False),
        (jsonpath("$.output.zz", "not_exists"), True),
        (jsonpath("$.output.score", "==", 9.0), True),
        (jsonpath("$.ctx.fetch.output.ok", "==", 1), False),
        (jsonpath("$.output.rows[*].n", "==", 5), True),
        (jsonpath("$.output.rows[*].n", "!=", 5), True),
        (jsonpath("$.output.rows[?@.n > $.input.limit].n", ">=", 5), True),
        (jsonpath("$.output.rows[*].n", "<", 1), False),
        (jsonpath("$.output.name", "<", 5), False),
        (jsonpath("$.output.name", "in", ["Bob", "Ann"]), True),
        (jsonpath("$.output.tags", "contains", "b"), True),
        (jsonpath("$.output.name", "contains", "nn"), True),
        (jsonpath("$.output", "contains", "score"), True),
        (jsonpath("$.output.name", "matches", "^A.n$"), True),
        (jsonpath("$.output.tags[?match(@, '[a-b]')]", "exists"), True),
        (jsonpath("$.output.tags[?match(@, 'c')]", "exists"), False),
        ({"type": "schema", "schema": {"required": ["score"]}}, True),
        ({"type": "schema", "schema": {"required": ["zz"]}, "invert": True}, True),
        ({"type": "schema", "schema": {"type": "integer"}, "path": "/output/rows/0/n"}, True),
        ({"type": "schema", "schema": {"type": "object", "patternProperties": {"^s": {"type": "string"}}}}, False),
        ({"type": "schema", "schema": False}, False),
    ],
)
def test_when_a_condition_holds(raw: Any, expected: bool) -> None:
    assert check(raw) is expected


def test_jsonpath_names_the_nodes_it_reads_also_in_filters() -> None:
    raw = jsonpath("$.ctx.a.output[?@.n > $['ctx']['b-c'].output.limit]", "exists")
    condition, _ = compile_condition(raw, "")
    assert condition is not None
    assert condition.expression.names == ("ctx",)
    assert condition.expression.nodes == ("a", "b-c")


@pytest.mark.parametrize(
    ("raw", "problems"),
    [
        (None, [("bad_condition", "/c")]),
        ({"type": "python"}, [("bad_condition", "/c/type")]),
        ({"type": ["cel"]}, [("bad_condition", "/c/type")]),
        ({"type": "cel"}, [("missing_key", "/c")]),
        ({"type": "cel", "expression": 5}, [("bad_condition", "/c/expression")]),
        (
            {"type": "cel", "expression": "foo", "a/b": 1},
            [("unknown_key", "/c/a~1b"), ("cel_unknown_name", "/c/expression")],
        ),
        ("foo", [("cel_unknown_name", "/c")]),
        (jsonpath("output.x", "exists"), [("jsonpath_syntax", "/c/query")]),
        (jsonpath("$.output[?@.x =~ /a/]", "exists"), [("jsonpath_syntax", "/c/query")]),
        (jsonpath("$", "exists"), [("jsonpath_unknown_name", "/c/query")]),
        (jsonpath("$..x", "exists"), [("jsonpath_unknown_name", "/c/query")]),
        (jsonpath("$.run.id", "exists"), [("jsonpath_unknown_name", "/c/query")]),
        (jsonpath("$.ctx.*.status", "exists"), [("jsonpath_dynamic_ctx", "/c/query")]),
        (jsonpath("$" + "[?@" * 3000, "exists"), [("jsonpath_syntax", "/c/query")]),
        (jsonpath("$.output" + "[?@" * 500 + "]" * 500, "exists"), [("jsonpath_syntax", "/c/query")]),
        (jsonpath("$.zz", "~"), [("bad_operator", "/c/operator"), ("jsonpath_unknown_name", "/c/query")]),
        (jsonpath("$.output", "=="), [("missing_key", "/c")]),
        (jsonpath("$.output", "exists", 1), [("bad_value", "/c/value")]),
        (jsonpath("$.output", "in", 1), [("bad_value", "/c/value")]),
        (jsonpath("$.output", "<", None), [("bad_value", "/c/value")]),
        (jsonpath("$.output", "matches", "("), [("bad_value", "/c/value")]),
        (jsonpath("$.output", "matches", "(?=a)"), [("bad_value", "/c/value")]),
        ({"type": "schema", "schema": 5}, [("bad_schema", "/c/schema")]),
        (
            {"type": "schema", "schema": {"type": "text"}, "invert": 1},
            [("bad_value", "/c/invert"), ("bad_schema", "/c/schema/type")],
        ),
        ({"type": "schema", "schema": {"$ref": "http://h/s"}}, [("bad_schema_ref", "/c/schema/$ref")]),
        ({"type": "schema", "schema": {"pattern": "(?=a)"}}, [("bad_schema_pattern", "/c/schema/pattern")]),
        ({"type": "schema", "schema": {}, "path": "output"}, [("bad_value", "/c/path")]),
        ({"type": "schema", "schema": {}, "path": "/ctx"}, [("bad_value", "/c/path")]),
    ],
)
def test_every_problem_is_named_with_its_place(raw: Any, problems: list[tuple[str, str]]) -> None:
    assert found(raw) == problems


def test_a_property_may_be_called_pattern() -> None:
    assert check({"type": "schema", "schema": {"properties": {"pattern": {"type": "string"}, "$ref": {}}}})


def test_regular_expressions_never_backtrack() -> None:
    values = {"output": {"name": "a" * 50_000 + "b"}}
    evil = "(a+)+$"
    assert not check(jsonpath("$.output.name", "matches", evil), values)
    assert not check(jsonpath(f"$.output[?search(@, '{evil}')]", "exists"), values)
    assert not check({"type": "schema", "schema": {"pattern": evil}, "path": "/output/name"}, values)
    closed = {"patternProperties": {evil: True}, "additionalProperties": False}
    assert not check({"type": "schema", "schema": closed}, {"output": {"a" * 30 + "b": 1}})


def test_a_query_that_visits_too_much_is_cut_off() -> None:
    values = {"output": [[i] for i in range(2000)]}
    with pytest.raises(EvaluationError, match="visits more than"):
        check(jsonpath("$.output..[?$.output..[?@ == -1]]", "exists"), values)
    with pytest.raises(EvaluationError, match="visits more than"):
        check(jsonpath("$.output[*][?count($.output[*]) > 9999]", "exists"), values)


def test_schemas_that_double_or_never_end_are_cut_off() -> None:
    names = [f"d{i}" for i in range(40)]
    defs: dict[str, Any] = {name: {"allOf": [{"$ref": f"#/$defs/{after}"}] * 2} for name, after in pairwise(names)}
    schema = {"$defs": defs | {names[-1]: True}, "$ref": "#/$defs/d0"}
    with pytest.raises(EvaluationError, match="references"):
        check({"type": "schema", "schema": schema})
    with pytest.raises(EvaluationError):
        check({"type": "schema", "schema": {"$ref": "#"}})
    with pytest.raises(EvaluationError):
        check({"type": "schema", "schema": {"$ref": "#/$defs/none"}})


def test_a_missing_value_is_an_error_for_a_schema() -> None:
    with pytest.raises(EvaluationError, match="/output/zz"):
        check({"type": "schema", "schema": {}, "path": "/output/zz"})


def test_unique_items_of_many_objects_are_checked_in_linear_time() -> None:
    rows = [{"n": n} for n in range(20_000)]
    assert check({"type": "schema", "schema": {"uniqueItems": True}}, {"output": rows})
    assert not check({"type": "schema", "schema": {"uniqueItems": True}}, {"output": [*rows, {"n": 7.0}]})
