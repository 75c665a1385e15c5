"""`graft runs patch|patches|revert` against a scripted server."""

import json

import pytest

from tests.cli.server import ask, problem, serving

ANSWER = {
    "run_id": "r1", "revision": 3, "added": ["n"], "removed": [], "changed": ["a"], "edges_added": ["a:n:success"],
    "edges_removed": [], "edges_changed": [], "dispatched": ["n"],
    "warnings": [{"code": "already_settled", "path": "", "message": "It has settled."}],
}  # fmt: skip
OPERATIONS = [{"op": "remove", "path": "/nodes/b"}]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "patch.yaml"
    path.write_text("- {op: remove, path: /nodes/b}\n")
    return str(path)


def test_a_patch_is_sent_with_its_reason_and_its_answer_is_told(graft, file):
    with serving(lambda *_: (200, ANSWER)) as server:
        code, out, _err = ask(graft, server, "runs", "patch", "r1", "--file", file, "-m", "why", "--base", "2")
    method, path, _, body, headers = server.asked[0]
    assert (method, path) == ("POST", "/api/v1/runs/r1/patch")
    assert body == {"operations": OPERATIONS, "description": "why", "base_revision": 2}
    assert headers["Idempotency-Key"]
    assert code == 0
    for text in ("revision 3", "+n ~a +a:n:success", "Starting at once: n", "already_settled"):
        assert text in out


def test_a_dry_run_says_what_would_be(graft, file):
    with serving(lambda *_: (200, ANSWER)) as server:
        _code, out, _err = ask(graft, server, "runs", "patch", "r1", "--file", file, "--dry-run")
    assert server.asked[0][3] == {"operations": OPERATIONS, "dry_run": True}
    assert "would be at revision 3" in out


def test_a_refused_patch_names_its_problems(graft, file):
    found = [{"code": "node_started", "path": "/operations/0/path", "message": "It is running."}]
    with serving(lambda *_: problem(422, "The patch breaks one rule.", found)) as server:
        code, _out, err = ask(graft, server, "runs", "patch", "r1", "--file", file)
    assert code == 2
    assert "/operations/0/path" in err
    assert "It is running." in err


def test_patches_are_listed_and_taken_back(graft):
    item = {**ANSWER, "patch": 1, "author": "ann", "at": "2030-01-31T12:00:00.000Z", "description": "why"}
    with serving(lambda *_: (200, {"items": [item], "next_cursor": "1"})) as server:
        _code, out, _err = ask(graft, server, "runs", "patches", "r1")
    assert "ann" in out
    assert "--cursor 1" in out
    with serving(lambda *_: (200, ANSWER)) as server:
        _code, out, _err = ask(graft, server, "runs", "revert", "r1", "1", "--json")
    assert server.asked[0][:2] == ("POST", "/api/v1/runs/r1/patches/1/revert")
    assert json.loads(out) == ANSWER
