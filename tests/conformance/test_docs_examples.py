"""The pages' examples compile, and their tables name exactly what the code has."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from chalicelib.domain import schema
from chalicelib.domain.cel_analysis import NAMES
from chalicelib.domain.cel_functions import FUNCTIONS
from chalicelib.domain.compiler import check
from chalicelib.domain.conditions import _KEYS as CONDITION_KEYS
from chalicelib.domain.jsonpath_conditions import _OPERATORS, _UNARY
from chalicelib.domain.limits import Limits
from chalicelib.domain.node_config import CONFIGS
from chalicelib.domain.node_types import AVAILABLE_TYPES
from chalicelib.domain.pipeline_steps import STEPS
from chalicelib.functions import HANDLERS
from tests.conformance.documented import Example, examples, names, rows, sections
from tests.conformance.problem_codes import codes_of_the_compiler

REFERENCE = "workflow-reference.md"
SOURCES = Path(__file__).parents[2] / "chalicelib"
TABLES = {
    "The document": schema.WorkflowPart,
    "Nodes": schema.NodePart,
    "Edges": schema.EdgePart,
    "Joins": schema.JoinPart,
    "Branch": schema.BranchPart,
    "Rule": schema.RulePart,
    "Loop": schema.LoopPart,
    "Retry": schema.RetryPart,
    **{f"`{kind}`": model for kind, model in CONFIGS.items() if model.model_fields},
    **{f"`{step}`": model for step, model in STEPS.items()},
}


@pytest.mark.parametrize("example", [e for e in examples() if e.kind], ids=lambda example: example.where)
def test_every_workflow_on_a_page_compiles(example: Example):
    value = json.loads(example.text)
    document = {"nodes": value} if example.kind == "nodes" else value
    plan, problems, _ = check(document, limits=Limits(), handlers=HANDLERS.__contains__)
    assert problems == []
    assert plan is not None


def test_every_example_of_the_reference_is_a_workflow_or_nodes():
    kinds = [example.kind for example in examples() if example.where.startswith(("concepts", "workflow-reference"))]
    assert set(kinds) == {"workflow", "nodes"}
    assert len(kinds) >= 13


def test_the_first_example_does_what_the_page_says(harness):
    first = json.loads(next(example.text for example in examples() if example.where.startswith("concepts")))
    run_id = harness.run(first, {"total": 500})["run_id"]
    assert harness.output(run_id) == {"mail": {"to": "shop@example.com", "subject": "look at 500"}}
    assert [task["node_id"] for task in harness.tasks] == ["look_up", "mail"]


@pytest.mark.parametrize("heading", TABLES)
def test_each_table_of_keys_is_that_of_its_model(heading: str):
    known = {field.alias or name for name, field in TABLES[heading].model_fields.items()}
    assert names(sections(REFERENCE)[heading], "key") == known


@pytest.mark.parametrize(
    "heading", ["The document", "Nodes", "Edges", "Rule", "Loop", *map("`{}`".format, CONFIGS | STEPS)]
)
def test_a_key_is_called_required_where_it_is(heading: str):
    model = TABLES.get(heading)
    for row in rows(sections(REFERENCE).get(heading, ""), "key"):
        key = row[0].strip("`")
        field = next(field for name, field in model.model_fields.items() if (field.alias or name) == key)
        assert (row[2] == "required") == field.is_required(), f"{heading}: {key}"


def test_the_page_names_the_node_types():
    text = sections(REFERENCE)["Node types"]
    assert set(re.findall(r"`(\w+)`", text.split("Older names")[0])) == AVAILABLE_TYPES


def test_the_page_has_every_problem_code_and_no_other():
    text = sections(REFERENCE)["Compile problem codes"]
    assert names(text, "code") | {"template"} == codes_of_the_compiler()


def test_the_page_has_the_limits_and_their_defaults():
    found = {row[0].strip("`"): int(row[1].replace(",", "")) for row in rows(sections(REFERENCE)["Limits"], "key")}
    assert found == {field.name: field.default for field in fields(Limits)}


def test_the_page_has_the_variables_functions_and_operators():
    text = sections(REFERENCE)["Expressions"]
    assert names(text, "name") == NAMES
    assert {name.split("(")[0] for name in names(text, "function")} == set(FUNCTIONS)
    assert names(sections(REFERENCE)["JSONPath condition"], "operator") == {*_OPERATORS, *_UNARY}


@pytest.mark.parametrize(("heading", "kind"), [("CEL", "cel"), ("JSONPath", "jsonpath"), ("Schema", "schema")])
def test_the_page_has_the_keys_of_conditions(heading: str, kind: str):
    assert names(sections(REFERENCE)[f"{heading} condition"], "key") == CONDITION_KEYS[kind][1] | {"type"}


def test_the_page_has_the_error_types_that_the_code_raises():
    raised: set[str] = set()
    for path in SOURCES.rglob("*.py"):
        if path.name != "demo_penguins.py":
            text = path.read_text(encoding="utf-8")
            raised |= set(re.findall(r"(?:TaskError|_fail|_failed)\(\s*\"([A-Z]\w+)\"", text))
            raised |= set(re.findall(r"\"type\": \"([A-Z]\w+)\"", text))
    assert raised <= names(sections(REFERENCE)["Error types"], "type")
