"""`graft validate`, `graft schema` and `graft draw` on files."""

import json
import xml.etree.ElementTree as ET

import pytest
from jsonschema import Draft202012Validator

from infra.cli.demo_data import FOLDER
from infra.cli.documents import read_document

EXAMPLES = sorted(str(path) for path in FOLDER.parent.glob("*/workflow.*"))


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        "nodes:\n- {id: a, type: function, config: {handler: nope}}\nedges:\n- {from: a, to: b, on: failure}\n"
    )
    return path


@pytest.mark.parametrize("path", EXAMPLES)
def test_every_example_compiles_with_the_functions_that_are_there(graft, path):
    code, out, _ = graft("validate", path, "--json")
    assert (code, json.loads(out)["errors"]) == (0, [])


@pytest.mark.parametrize("path", EXAMPLES)
def test_every_example_fits_the_schema(graft, path):
    code, out, _ = graft("schema")
    assert code == 0
    assert list(Draft202012Validator(json.loads(out)).iter_errors(read_document(path))) == []


def test_validate_names_each_problem_with_code_path_and_message(graft, bad):
    code, out, _ = graft("validate", bad)
    assert code == 2
    assert "/edges/0/to" in out and "unknown_target" in out and 'There is no node "b"' in out
    assert "/nodes/0/config/handler" in out and "unknown_handler" in out
    assert "2 problems" in out


def test_validate_as_json_is_one_json_document(graft, bad):
    code, out, err = graft("validate", bad, "--json")
    found = json.loads(out)
    assert (code, found["valid"], err) == (2, False, "")
    assert {problem["code"] for problem in found["errors"]} == {"unknown_target", "unknown_handler"}


def test_a_lambda_on_the_allowlist_is_a_handler(graft, tmp_path, monkeypatch):
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"nodes": [{"id": "a", "type": "function", "config": {"handler": "my-lambda"}}]}))
    assert graft("validate", path)[0] == 2
    monkeypatch.setenv("GRAFT_LAMBDA_ALLOWLIST", "other, my-lambda")
    assert graft("validate", path)[0] == 0


@pytest.mark.parametrize("text", ["3", "[]", "null", '"x"', "{}"])
def test_values_that_are_no_workflow_are_refused(graft, tmp_path, text):
    path = tmp_path / "w.json"
    path.write_text(text)
    assert graft("validate", path)[0] == 2


def test_draw_writes_svg_to_standard_output_or_a_file(graft, tmp_path):
    code, out, _ = graft("draw", EXAMPLES[0])
    assert code == 0
    assert ET.fromstring(out).tag.endswith("svg")
    assert graft("draw", EXAMPLES[0], "-o", tmp_path / "x.svg")[0] == 0
    assert (tmp_path / "x.svg").read_text() == out
    assert json.loads(graft("draw", EXAMPLES[0], "--json")[1]) == {"svg": out}


def test_draw_refuses_what_is_no_workflow_and_where_it_cannot_write(graft, tmp_path):
    (tmp_path / "list.json").write_text("[]")
    code, _, err = graft("draw", tmp_path / "list.json")
    assert code == 2 and "is no workflow" in err
    code, _, err = graft("draw", EXAMPLES[0], "-o", tmp_path / "list.json" / "x.svg")
    assert code == 2 and "cannot be written" in err


def test_hostile_file_content_cannot_steer_the_terminal(graft, tmp_path):
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"nodes": [{"id": "a\x1b[2Jb\u202e[bold]", "type": "pass"}], "edges": []}))
    code, out, _ = graft("validate", path)
    assert code == 2
    assert "\x1b" not in out and "\u202e" not in out
