"""`graft runs show --tree` against a server that answers as the contract says."""

import json

from tests.cli.server import problem, serving


def item(run_id, node, name="sub", version=2, status="RUNNING"):
    parent = {"run_id": "r1", "node_id": node} if node else None
    return {"run_id": run_id, "workflow": {"name": name, "version": version}, "status": status, "parent": parent}


CHILDREN = {"r1": [[item("r2", "call")], [item("r3", "other", status="FAILED")]], "r2": [[item("r4", "deep")]]}


def answer(method, path, query, body):
    if path == "/runs/r1":
        return 200, item("r1", None, name=None, version=None)
    if path == "/runs":
        pages = CHILDREN.get(query["parent"], [[]])
        number = int(query.get("cursor") or 0)
        following = str(number + 1) if number + 1 < len(pages) else None
        return 200, {"items": pages[number], "next_cursor": following}
    return problem(404, "There is nothing here.")


def test_the_tree_shows_a_run_with_all_below_it(graft):
    with serving(answer) as server:
        code, out, _ = graft("runs", "show", "r1", "--tree", "--url", server.url, "--token", "t")
    lines = [line.rstrip() for line in out.splitlines()]
    assert code == 0 and len(lines) == 4
    assert lines[0].startswith("a document") and lines[0].endswith("r1")
    for line, texts in zip(lines[1:], [("call: sub@2", "r2"), ("deep: sub@2", "r4"), ("other", "FAILED")], strict=True):
        assert all(text in line for text in texts), line


def test_the_tree_as_json(graft):
    with serving(answer) as server:
        code, out, _ = graft("runs", "show", "r1", "--tree", "--json", "--url", server.url, "--token", "t")
    family = json.loads(out)
    assert code == 0 and [child["run_id"] for child in family["children"]] == ["r2", "r3"]
    assert family["children"][0]["children"][0]["node_id"] == "deep" and family["more"] is False
