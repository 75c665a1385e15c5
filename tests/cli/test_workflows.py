"""`graft workflows` against a server that answers as the contract says."""

import json

import pytest

OLD = {"name": "w", "nodes": [{"id": "a", "type": "transform", "config": {"value": 1}}, {"id": "c", "type": "pass"}],
       "edges": [{"from": "a", "to": "c"}]}  # fmt: skip
NEW = {**OLD, "nodes": [{"id": "a", "type": "transform", "config": {"value": 2}}, {"id": "b", "type": "pass"},
                        OLD["nodes"][1]],
       "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}], "timeout_ms": 5}  # fmt: skip
AT = "2030-01-31T12:00:00.000Z"
MOVE = {"version": 2, "at": AT, "by": "ann"}
ANSWERS = {
    ("GET", "/workflows/w"): {"name": "w", "version": 3, "workflow": OLD},
    ("GET", "/runs/r1/workflow"): NEW,
    ("PATCH", "/workflows/w"): {"name": "w", "version": 4},
    ("GET", "/workflows/w/settings"): {"name": "w", "max_running": 2, "running": ["r1"], "waiting": ["r2", "r3"]},
    ("PUT", "/workflows/w/settings"): {"name": "w", "max_running": None, "running": [], "waiting": []},
    ("POST", "/workflows/w/batches"): {"run_id": "r9", "status": "PENDING", "links": {}},
    ("POST", "/workflows"): {"name": "w", "version": 5},
    ("PUT", "/workflows/w/tags/prod"): {"name": "w", "tag": "prod", **MOVE},
    ("GET", "/workflows/w/tags/prod"): {"name": "w", "tag": "prod", **MOVE, "history": [MOVE], "next_cursor": None},
    ("GET", "/workflows/w/versions"): {
        "items": [{"version": 2, "created_at": AT, "created_by": "bob", "tags": ["prod", "eu"]}],
        "next_cursor": "2",
    },
}


@pytest.fixture
def ask(scripted):
    return scripted("workflows", ANSWERS)


def test_a_tag_is_moved(ask):
    code, out, asked = ask("tag", "w", "prod", "2")
    assert (code, asked[0][:2], asked[0][3]) == (0, ("PUT", "/api/v1/workflows/w/tags/prod"), {"version": 2})
    assert "w@prod is version 2." in out


def test_a_tag_without_a_version_tells_its_history(ask):
    code, out, asked = ask("tag", "w", "prod")
    assert (code, [method for method, *_ in asked]) == (0, ["GET"])
    assert "ann" in out


def test_versions_are_listed_with_their_tags(ask):
    code, out, asked = ask("versions", "w", "--limit", "1")
    assert (code, asked[0][2]) == (0, {"limit": "1"})
    assert "prod, eu" in out and "--cursor 2" in out
    assert json.loads(ask("versions", "w", "--json")[1])["items"][0]["version"] == 2


def test_a_patch_goes_from_a_file_to_the_latest_or_to_the_version_named(ask, tmp_path):
    operations = [{"op": "remove", "path": "/nodes/c"}]
    (tmp_path / "p.json").write_text(json.dumps(operations))
    code, out, asked = ask("patch", "w", "--file", "p.json", "--base", "3")
    assert (code, asked[0][0], asked[0][3]) == (0, "PATCH", operations)
    assert asked[0][4]["If-Match"] == '"3"' and asked[0][4]["Idempotency-Key"]
    assert "w is version 4" in out
    assert "If-Match" not in ask("patch", "w", "--file", "p.json")[2][0][4]


def test_a_run_s_graph_is_saved(ask):
    code, out, asked = ask("save", "--run", "r1", "--name", "w", "--tag", "kept")
    assert (code, asked[0][3]) == (0, {"name": "w", "run_id": "r1", "tag": "kept"})
    assert "w is version 5" in out
    for words in (["save"], ["save", "f.json", "--run", "r1"], ["save", "--run", "r1"]):
        assert ask(*words)[0] == 2


def test_the_diff_of_two_versions_is_the_server_s(ask):
    code, out, asked = ask("diff", "w", "--from", "1", "--to", "prod")
    assert (code, asked[0][1:3]) == (2, ("/api/v1/workflows/w/diff", {"from": "1", "to": "prod"}))
    assert "There is nothing here." in out


def test_the_diff_of_a_version_and_a_run_is_made_here(ask):
    code, out, asked = ask("diff", "w", "--run", "r1", "--from", "3")
    assert (code, asked[0][2]) == (0, {"version": "3"})
    assert out.splitlines() == [
        "w: from 3 to r1",
        "+ node b",
        "~ node a",
        "    /nodes/a/config/value: 1 -> 2",
        "> node c: behind b:c:success, was a:c:success",
        "+ edge a:b:success",
        "+ edge b:c:success",
        "- edge a:c:success",
        "~ document",
        "    /timeout_ms: none -> 5",
    ]
    assert json.loads(ask("diff", "w", "--run", "r1", "--json")[1])["nodes"]["added"] == ["b"]
    assert ask("diff", "w", "--run", "r1", "--from", "prod")[2][0][2] == {"tag": "prod"}


def test_a_diff_needs_two_things_to_compare(ask):
    for words in (["w"], ["w", "--from", "1", "--to", "2", "--run", "r1"]):
        code, _, asked = ask("diff", *words)
        assert (code, asked) == (2, [])


def test_a_limit_of_runs_is_shown_set_and_lifted(ask):
    code, out, asked = ask("limit", "w")
    assert (code, asked[0][0]) == (0, "GET") and "2 at a time" in out and "r2, r3" in out
    for word, number in (("5", 5), ("none", None)):
        code, out, asked = ask("limit", "w", word)
        assert (code, asked[0][:2], asked[0][3]) == (
            0,
            ("PUT", "/api/v1/workflows/w/settings"),
            {"max_running": number},
        )
    assert ask("limit", "w", "many")[0] == 2


@pytest.mark.parametrize(("name", "chosen"), [("w", {}), ("w@3", {"version": 3}), ("w@prod", {"tag": "prod"})])
def test_a_batch_starts_a_run_for_each_input(ask, name, chosen):
    code, out, asked = ask("batch", name, "--inputs", '[{"n": 1}, {"n": 2}]', "--concurrency", "2")
    assert code == 0 and "graft runs show r9 --tree" in out
    assert asked[0][3] == {"inputs": [{"n": 1}, {"n": 2}], "max_concurrency": 2, **chosen}
