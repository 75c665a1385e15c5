"""A run's input against its workflow's input_schema: precise, and never without end."""

from __future__ import annotations

import time

import pytest

from chalicelib.domain.compiler import check
from chalicelib.domain.input_schema import MAX_FOUND, input_problems
from chalicelib.domain.limits import Limits


def test_each_place_is_named():
    schema = {"required": ["id"], "properties": {"a/b": {"type": "integer"}, "list": {"items": {"minimum": 2}}}}
    problems = input_problems(schema, {"a/b": "x", "list": [3, 1]})
    assert [problem.path for problem in problems] == ["/input", "/input/a~1b", "/input/list/1"]
    assert {problem.code for problem in problems} == {"invalid_input"}
    assert input_problems(schema, {"id": 1}) == ()
    assert [problem.path for problem in input_problems(False, 1)] == ["/input"]


def test_a_pattern_that_backtracks_elsewhere_ends_at_once():
    """Python's regular expressions take hours for this one."""
    started = time.monotonic()
    assert input_problems({"pattern": "^(a+)+$"}, "a" * 100 + "b")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"$ref": "#/$defs/none"}])
def test_a_schema_that_cannot_be_checked_refuses_the_input(schema):
    [problem] = input_problems(schema, {"a": 1})
    assert problem.path == "/input"
    assert "cannot be checked" in problem.message


def test_many_faults_of_a_large_input_stay_bounded():
    problems = input_problems({"items": {"type": "string"}}, [list(range(1000))] * 1000)
    assert len(problems) == MAX_FOUND
    assert max(len(problem.message) for problem in problems) <= 301


def test_a_pattern_that_cannot_be_checked_is_refused_when_the_workflow_compiles():
    document = {"nodes": [{"id": "a", "type": "pass"}], "input_schema": {"properties": {"x": {"pattern": "(?=a)b"}}}}
    _, problems, _ = check(document, limits=Limits())
    assert [(p.code, p.path) for p in problems] == [("bad_schema_pattern", "/input_schema/properties/x/pattern")]
