"""Files are read as JSON or as YAML 1.2, and nothing in them can hang or surprise the reader."""

import io
import json

import pytest

from infra.cli.documents import parse, read_document, read_input
from infra.cli.errors import CliError


def test_yaml_words_that_older_yaml_reads_as_something_else_stay_text():
    text = "{on: failure, no: no, date: 2020-01-01, time: 1:30, octal: 010, exp: 1e3, none: , yes: true, hex: 0x1F}"
    assert parse(text, yaml_too=True) == {
        "on": "failure", "no": "no", "date": "2020-01-01", "time": "1:30", "octal": 10, "exp": 1000.0, "none": None,
        "yes": True, "hex": "0x1F",
    }  # fmt: skip


def test_yaml_and_json_of_one_document_are_equal(tmp_path):
    document = {"nodes": [{"id": "a", "type": "pass", "config": {"x": [1, 2.5, None, "ü ${a}"]}}], "edges": []}
    (tmp_path / "w.json").write_text(json.dumps(document))
    (tmp_path / "w.yaml").write_text(
        "nodes:\n- id: a\n  type: pass\n  config: {x: [1, 2.5, null, 'ü ${a}']}\nedges: []"
    )
    assert read_document(str(tmp_path / "w.json")) == read_document(str(tmp_path / "w.yaml")) == document


def test_yaml_anchors_and_merges_are_written_out():
    text = "base: &b {retry: {max_attempts: 3}}\nnode:\n  <<: *b\n  id: a"
    assert parse(text, yaml_too=True)["node"] == {"retry": {"max_attempts": 3}, "id": "a"}


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        "{a: 1, a: 2}",
        '{"a": 1, "a": 2}',
        "{1: a}",
        "a: [1, 2",
        "x: !!python/object/apply:os.system ['true']",
        "x: !!binary aGk=",
        "x: &x [*x]",
        BOMB,
        "[" * 20_000,
        '{"a": NaN}',
        "a: b\n---\nc: d",
    ],
)
def test_what_is_no_document_is_refused_with_the_file_named(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(CliError, match=r"bad\.yaml is neither JSON nor YAML"):
        read_document(str(tmp_path / "bad.yaml"))


def test_a_missing_file_a_folder_and_bytes_are_refused(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    for name in ("none.json", ".", "bytes.json"):
        with pytest.raises(CliError, match="cannot be read"):
            read_document(str(tmp_path / name))


def test_the_input_is_json_or_a_file_or_empty(tmp_path):
    (tmp_path / "in.yaml").write_text("a: 1")
    assert read_input(None) == {}
    assert read_input("[1, null]") == [1, None]
    assert read_input(f"@{tmp_path / 'in.yaml'}") == {"a": 1}
    for bad in ("{a: 1}", "", "[" * 100_000):
        with pytest.raises(CliError, match="--input is not JSON"):
            read_input(bad)


def test_a_dash_reads_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"nodes: []")))
    assert read_document("-") == {"nodes": []}
