"""`graft runs redrive|rerun|skip|fork|rollback|diff` and `patch --add-node` against a scripted server."""

from __future__ import annotations

import json

import pytest

from tests.cli.server import ask, serving

RUN = {"run_id": "r1", "status": "RUNNING"}
CASES = {
    "redrive": (("redrive", "r1"), "/runs/r1/redrive", {}),
    "rollback": (("rollback", "r1"), "/runs/r1/rollback", {}),
    "rerun": (("rerun", "r1", "a"), "/runs/r1/nodes/a/rerun", {}),
    "skip": (("skip", "r1", "a", "--output", '{"n": 1}'), "/runs/r1/nodes/a/skip", {"output": {"n": 1}}),
    "skip one": (
        ("skip", "r1", "a", "--job-id", "j"),
        "/runs/r1/nodes/a/skip",
        {"output": None, "job_id": "j"},
    ),
    "fork": (("fork", "r1", "--from-seq", "3"), "/runs/r1/fork", {"from_seq": 3}),
    "fork with input": (
        ("fork", "r1", "--from-node", "a", "--input", "[1]"),
        "/runs/r1/fork",
        {"from_node": "a", "input": [1]},
    ),
    "add a node": (
        ("patch", "r1", "--add-node", '{"id": "x", "type": "pass"}', "--after", "a", "--before", "b"),
        "/runs/r1/patch",
        {
            "operations": [
                {"op": "add", "path": "/nodes/-", "value": {"id": "x", "type": "pass"}},
                {"op": "add", "path": "/edges/-", "value": {"from": "a", "to": "x"}},
                {"op": "add", "path": "/edges/-", "value": {"from": "x", "to": "b"}},
            ]
        },
    ),
}
WRONG = [
    ("fork", "r1"),
    ("fork", "r1", "--from-seq", "1", "--from-node", "a"),
    ("fork", "r1", "--from-seq", "1", "--input", "{"),
    ("skip", "r1", "a", "--output", "nope"),
    ("patch", "r1"),
    ("patch", "r1", "--add-node", "{"),
    ("patch", "r1", "--add-node", "[]"),
]


@pytest.mark.parametrize("case", CASES)
def test_a_verb_posts_what_it_was_told(graft, case):
    words, path, body = CASES[case]
    with serving(lambda *_: (200, RUN)) as server:
        code, out, err = ask(graft, server, "runs", *words)
    assert code == 0, err
    assert server.asked[0][:2] == ("POST", f"/api/v1{path}") and server.asked[0][3] == body
    assert "r1 is RUNNING" in out or case == "add a node"


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(graft, words):
    with serving(lambda *_: (200, RUN)) as server:
        assert ask(graft, server, "runs", *words)[0] == 2
    assert server.asked == []


def test_the_diff_of_a_run_names_what_changed_between_two_revisions(graft):
    old = {"nodes": [{"id": "a", "type": "pass"}], "edges": []}
    new = {"nodes": [*old["nodes"], {"id": "b", "type": "pass"}], "edges": [{"from": "a", "to": "b"}]}

    def answer(method, path, query, body):
        return 200, old if query.get("revision") == "0" else new

    with serving(answer) as server:
        code, out, err = ask(graft, server, "runs", "diff", "r1")
        assert code == 0, err
        assert "+ node b" in out and "+ edge a:b" in out
        found = json.loads(ask(graft, server, "runs", "diff", "r1", "--from", "0", "--to", "2", "--json")[1])
    assert found["nodes"]["added"] == ["b"] and (found["from"], found["to"]) == (0, 2)
