"""`graft draw RUN` marks what patches did to the run."""

from __future__ import annotations

from tests.cli.server import serving

GRAPH = {"nodes": [{"id": n, "type": "pass"} for n in ("a", "b", "c")], "edges": [{"from": "a", "to": "b"}]}
NOTHING = {"added": [], "removed": [], "changed": [], "edges_added": [], "edges_removed": [], "edges_changed": []}
PATCHES = [
    {**NOTHING, "added": ["c", "gone"], "changed": ["a"]},
    {**NOTHING, "removed": ["gone"], "edges_added": ["a:b:success"]},
]


def answer(method, path, query, body):
    if path.endswith("/workflow"):
        return 200, GRAPH
    if path.endswith("/patches"):
        first = query.get("cursor") is None
        return 200, {"items": PATCHES[:1] if first else PATCHES[1:], "next_cursor": "2" if first else None}
    return 200, {"run_id": "r1", "status": "RUNNING", "revision": 2, "nodes": {}}


def test_the_drawing_of_a_patched_run_marks_what_came_and_what_changed(graft, tmp_path):
    with serving(answer) as server:
        code, _, err = graft("draw", "r1", "-o", tmp_path / "x.svg", "--url", server.url, "--token", "t")
    assert code == 0, err
    svg = (tmp_path / "x.svg").read_text()
    assert svg.count("#15803d") > svg.count("#b45309") >= 1
    assert "gone" not in svg


def test_a_run_that_was_never_patched_is_not_asked_for_patches(graft, tmp_path):
    def unpatched(method, path, query, body):
        status, value = answer(method, path, query, body)
        return (status, {**value, "revision": 0}) if path == "/runs/r1" else (status, value)

    with serving(unpatched) as server:
        assert graft("draw", "r1", "-o", tmp_path / "x.svg", "--url", server.url, "--token", "t")[0] == 0
        assert not any(path.endswith("/patches") for _, path, *_ in server.asked)
