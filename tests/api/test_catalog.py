"""The catalog by HTTP: patches of saved workflows, versions, diffs, tags, and saving what a run has become."""

from __future__ import annotations

import pytest

from tests.api.client import Api
from tests.api.documents import ONE, version
from tests.api.test_workflows import save

ADD = [{"op": "replace", "path": "/nodes/a/config/value", "value": 7}]


def patch(api: Api, body: object, name: str = "w", **headers: str):
    return api.call("PATCH", f"workflows/{name}", body, **headers)


def test_a_patch_makes_the_next_version_from_the_latest(api: Api) -> None:
    save(api, "w", 1)
    save(api, "w", 2)
    tag = api.get("workflows/w").headers["ETag"]
    reply = patch(api, ADD, If_Match=tag)
    assert (reply.status, reply.json["version"], reply.headers["ETag"]) == (201, 3, '"3"')
    assert reply.headers["Location"].endswith("/workflows/w?version=3")
    latest = api.get("workflows/w").json
    assert (latest["version"], latest["workflow"]["nodes"][0]["config"]["value"]) == (3, 7)
    assert latest["created_by"] == "ann"
    assert api.get("workflows/w?version=2").json["workflow"]["nodes"][0]["config"]["value"] == 2


@pytest.mark.parametrize("given", ['"1"', "1", "*", 'W/"1"', '"9", "1"', None])
def test_if_match_takes_the_version_quoted_bare_or_any(api: Api, given: str | None) -> None:
    save(api, "w", 1)
    headers = {} if given is None else {"If_Match": given}
    assert patch(api, {"operations": ADD}, **headers).status == 201


def test_a_patch_of_a_version_that_is_no_longer_the_latest_is_refused(api: Api) -> None:
    save(api, "w", 1)
    save(api, "w", 2)
    reply = patch(api, ADD, If_Match='"1"')
    assert (reply.status, reply.json["version"]) == (409, 2)
    assert patch(api, ADD, If_Match="yes").status == 422
    assert api.get("workflows/w").json["version"] == 2


def test_a_patch_that_is_refused_names_its_operation_and_makes_no_version(api: Api) -> None:
    save(api, "w", 1)
    for body, status, path in (
        ([*ADD, {"op": "remove", "path": "/nodes/none"}], 422, "/operations/1/path"),
        ([{"op": "test", "path": "/nodes/a/id", "value": "b"}], 422, "/operations/0/path"),
        ([{"op": "fly"}], 422, "/operations/0/op"),
        ({"operations": 1}, 422, "/operations"),
        ({}, 422, "/operations"),
        ("text", 422, ""),
    ):
        reply = patch(api, body)
        assert (reply.status, reply.json["errors"][0]["path"]) == (status, path), reply.text
    assert patch(api, b"[").status == 400
    assert patch(api, ADD, name="none").status == 404
    assert api.get("workflows/w").json["version"] == 1


def test_a_patch_that_does_not_compile_says_which_operation_is_at_fault(api: Api) -> None:
    save(api, "w", 1)
    new = {"id": "b", "type": "nothing"}
    reply = patch(api, [*ADD, {"op": "add", "path": "/nodes/-", "value": new}])
    assert reply.status == 422
    assert [(error["code"], error["path"]) for error in reply.json["errors"]] == [("unknown_type", "/nodes/1/type")]
    assert reply.json["errors"][0]["message"].endswith("See /operations/1.")
    assert api.get("workflows/w").json["version"] == 1


def test_a_patch_repeated_under_its_key_makes_no_second_version(api: Api) -> None:
    """The first try died before its answer was kept; others saved meanwhile."""
    save(api, "w", 1)
    grow = [{"op": "add", "path": "/nodes/-", "value": {"id": "b", "type": "pass"}}]
    first = patch(api, grow, Idempotency_Key="k", If_Match="1")
    assert first.json["version"] == 2
    for key, text in list(api.directory._texts.items()):
        if key[0] == "idem#acme" and '"answer"' in text:
            record = api.directory.get(key)
            api.directory.put(key, {name: value for name, value in record.items() if name != "answer"})
    save(api, "w", 3)
    again = patch(api, grow, Idempotency_Key="k", If_Match="1")
    assert (again.status, again.json["version"]) == (201, 2)
    assert api.get("workflows/w").json["version"] == 3


def test_versions_are_listed_newest_first_in_pages(api: Api) -> None:
    for number in (1, 2, 3):
        save(api, "w", number, **({"tag": "prod"} if number == 2 else {}))
    first = api.get("workflows/w/versions?limit=2").json
    assert [(item["version"], item["tags"]) for item in first["items"]] == [(3, []), (2, ["prod"])]
    assert {"hash", "created_at", "created_by"} <= set(first["items"][0])
    second = api.get(f"workflows/w/versions?limit=2&cursor={first['next_cursor']}").json
    assert [item["version"] for item in second["items"]] == [1]
    assert second["next_cursor"] is None
    assert api.get("workflows/none/versions").status == 404
    assert api.get("workflows/w/versions?cursor=x").status == 422


def test_a_diff_compares_any_two_versions_or_tags(api: Api) -> None:
    save(api, "w", 1, tag="prod")
    save(api, "w", 2)
    both = api.get("workflows/w/diff?from=1&to=2").json
    assert (both["from"], both["to"]) == (1, 2)
    assert both["nodes"] == {
        "added": [],
        "removed": [],
        "moved": [],
        "changed": [{"id": "a", "changes": [{"path": "/nodes/a/config/value", "before": 1, "after": 2}]}],
    }
    assert api.get("workflows/w/diff?from=prod").json == both
    assert api.get("workflows/w/diff?from=2&to=prod").json["nodes"]["changed"][0]["changes"][0]["before"] == 2
    assert api.get("workflows/w/diff?from=2").json["nodes"]["changed"] == []
    for query, status in (("", 422), ("?from=9", 404), ("?from=1&to=none", 404), ("?from=a%20b", 404)):
        assert api.get(f"workflows/w/diff{query}").status == status, query


def test_a_tag_is_moved_forth_and_back_and_tells_by_whom_and_when(api: Api) -> None:
    save(api, "w", 1)
    save(api, "w", 2)
    assert api.get("workflows/w/tags/prod").status == 404
    for number, who in ((1, "ann"), (2, "bob"), (2, "zoe"), (1, "bob")):
        reply = api.call("PUT", "workflows/w/tags/prod", {"version": number}, token=api.token(sub=who))
        assert (reply.status, reply.json["version"]) == (200, number)
    assert api.get("workflows/w?tag=prod").json["version"] == 1
    found = api.get("workflows/w/tags/prod").json
    assert (found["name"], found["tag"], found["version"], found["by"]) == ("w", "prod", 1, "bob")
    assert [(move["version"], move["by"]) for move in found["history"]] == [(1, "bob"), (2, "bob"), (1, "ann")]
    assert all(move["at"].endswith("Z") for move in found["history"])
    page = api.get("workflows/w/tags/prod?limit=2").json
    rest = api.get(f"workflows/w/tags/prod?limit=2&cursor={page['next_cursor']}").json
    assert page["history"] + rest["history"] == found["history"]
    assert (found["next_cursor"], rest["next_cursor"]) == (None, None)


def test_a_tag_moves_only_to_a_version_that_is_there(api: Api) -> None:
    save(api, "w", 1)
    for target, body, status in (
        ("workflows/w/tags/prod", {"version": 2}, 404),
        ("workflows/none/tags/prod", {"version": 1}, 404),
        ("workflows/w/tags/validate", {"version": 1}, 422),
        ("workflows/w/tags/prod", {"version": "1"}, 422),
        ("workflows/w/tags/prod", {"version": True}, 422),
        ("workflows/w/tags/prod", {}, 422),
    ):
        assert api.call("PUT", target, body).status == status, (target, body)
    assert api.get("workflows/w/tags/prod").status == 404


def test_what_a_run_has_become_is_saved_as_a_version(api: Api) -> None:
    save(api, "w", 1)
    run_id = api.post("runs", {"workflow": ONE, "input": {"n": 1}}).json["run_id"]
    grown = {"op": "add", "path": "/nodes/-", "value": {"id": "b", "type": "pass"}}
    assert api.post(f"runs/{run_id}/patch", {"operations": [grown]}).status == 200
    reply = api.post("workflows", {"name": "w", "run_id": run_id, "tag": "kept"})
    assert (reply.status, reply.json["version"]) == (201, 2)
    assert api.get("workflows/w?tag=kept").json["workflow"] == api.get(f"runs/{run_id}/workflow").json
    assert api.post("workflows", {"name": "w", "run_id": run_id}, token=api.token(tenant="other")).status == 404
    for body in ({"name": "w"}, {"name": "w", "run_id": run_id, "workflow": ONE}, {"name": "w", "run_id": 7}):
        assert api.post("workflows", body).status == 422


def test_a_repeated_save_of_a_run_keeps_the_graph_of_the_first_try(api: Api) -> None:
    run_id = api.post("runs", {"workflow": ONE, "input": {"n": 1}}).json["run_id"]
    first = api.post("workflows", {"name": "w", "run_id": run_id}, Idempotency_Key="k").json
    for key, text in list(api.directory._texts.items()):
        if key[0] == "idem#acme" and '"answer"' in text:
            record = api.directory.get(key)
            api.directory.put(key, {name: value for name, value in record.items() if name != "answer"})
    api.post(f"runs/{run_id}/patch", {"operations": [{"op": "add", "path": "/metadata", "value": {"x": 1}}]})
    again = api.post("workflows", {"name": "w", "run_id": run_id}, Idempotency_Key="k").json
    assert (again["version"], again["hash"]) == (first["version"], first["hash"])


def test_saved_versions_differ_for_the_same_name_under_another_tenant(api: Api) -> None:
    save(api, "w", 1)
    other = api.token(tenant="other")
    assert api.call("PATCH", "workflows/w", ADD, token=other).status == 404
    assert api.call("PUT", "workflows/w/tags/t", {"version": 1}, token=other).status == 404
    assert api.post("workflows", {"name": "w", "workflow": version(5)}, token=other).json["version"] == 1
    assert api.get("workflows/w").json["workflow"]["nodes"][0]["config"]["value"] == 1
