from __future__ import annotations

from tests.api.client import Api
from tests.api.documents import LOOP, ONE, version


def save(api: Api, name: str, number: int, **more: object) -> dict:
    reply = api.post("workflows", {"name": name, "workflow": version(number), **more})
    assert reply.status == 201, reply.text
    return reply.json


def test_validation_shows_the_graph_or_every_error(api: Api) -> None:
    good = api.post("workflows/validate", LOOP)
    assert good.status == 200
    assert good.json["valid"] is True and good.json["errors"] == []
    assert [node["id"] for node in good.json["graph"]["nodes"]] == ["w", "l"]
    assert good.json["graph"]["edges"] == [{"from": "w", "to": "l", "on": "success", "kind": "plain"}]
    assert api.post("workflows/validate", {"workflow": LOOP}).json == good.json
    bad = api.post("workflows/validate", {"nodes": [{"id": "a", "type": "x"}, {"id": "a", "type": "pass"}]})
    assert bad.status == 200
    assert bad.json["valid"] is False and bad.json["graph"] is None
    assert len(bad.json["errors"]) >= 2
    assert api.post("workflows/validate", [1]).json["valid"] is False
    assert not api.directory._texts, "validation stores nothing"


def test_versions_count_and_the_same_content_is_the_same_version(api: Api) -> None:
    assert [save(api, "w", number)["version"] for number in (1, 2, 1, 3)] == [1, 2, 1, 3]
    assert save(api, "x", 1)["version"] == 1


def test_a_version_is_read_by_number_tag_or_as_the_latest(api: Api) -> None:
    save(api, "w", 1, tag="prod")
    save(api, "w", 2)
    for query, number in (("", 2), ("?version=1", 1), ("?tag=prod", 1), ("?version=2", 2)):
        reply = api.get(f"workflows/w{query}")
        assert reply.json["version"] == number
        assert reply.json["workflow"]["nodes"][0]["config"]["value"] == number
        assert reply.json["tags"] == {"prod": 1}
    save(api, "w", 2, tag="prod")
    assert api.get("workflows/w?tag=prod").json["version"] == 2
    for query in ("?version=9", "?tag=none", "?tag=" + "x" * 3000, "?tag="):
        assert api.get(f"workflows/w{query}").status == 404
    assert api.get("workflows/w?version=1&tag=prod").status == 422
    assert api.get("workflows/unknown").status == 404
    assert api.get("workflows/no%20name").status == 404


def test_workflows_are_listed_by_name_in_pages(api: Api) -> None:
    for name in ("c", "a", "b"):
        save(api, name, 1)
    save(api, "a", 2)
    first = api.get("workflows?limit=2").json
    assert [(item["name"], item["version"]) for item in first["items"]] == [("a", 2), ("b", 1)]
    second = api.get(f"workflows?limit=2&cursor={first['next_cursor']}").json
    assert [item["name"] for item in second["items"]] == ["c"]
    assert second["next_cursor"] is None
    assert api.get("workflows?cursor=" + "x" * 3000).status == 422


def test_a_saved_workflow_is_started_by_name_number_and_tag(api: Api) -> None:
    save(api, "w", 1, tag="prod")
    save(api, "w", 2)
    starts = [
        ("workflows/w/runs", {}, 2),
        ("workflows/w/runs", {"tag": "prod"}, 1),
        ("workflows/w/runs", {"version": 1}, 1),
        ("runs", {"workflow": "w"}, 2),
        ("runs", {"workflow": "w@1"}, 1),
        ("runs", {"workflow": "w@prod"}, 1),
        ("runs", {"workflow": "w", "version": 1}, 1),
        ("runs", {"workflow": "w", "tag": "prod"}, 1),
    ]
    for target, body, number in starts:
        reply = api.post(target, body)
        assert reply.status == 202, reply.text
        api.drain()
        run = api.get(f"runs/{reply.json['run_id']}").json
        assert run["workflow"] == {"name": "w", "version": number}
        assert run["output"] == {"a": number}
    assert api.post("workflows/w/runs").status == 202, "no body is an empty one"
    for target, body, status in (
        ("workflows/none/runs", {}, 404),
        ("workflows/w/runs", {"tag": "x"}, 404),
        ("runs", {"workflow": "w@9"}, 404),
        ("runs", {"workflow": ""}, 404),
        ("workflows/w/runs", {"tag": "prod", "version": 1}, 422),
        ("workflows/w/runs", {"version": "1"}, 422),
        ("runs", {"workflow": "a/b@c"}, 404),
        ("runs", {"workflow": "w" * 3000}, 404),
        ("runs", {"workflow": "w@1", "tag": "prod"}, 404),
        ("runs", {"workflow": ONE, "version": 1}, 422),
    ):
        assert api.post(target, body).status == status, body


def test_a_name_that_is_none_is_refused(api: Api) -> None:
    for name in ("validate", "", "a b", "a" * 65, 7, None):
        reply = api.post("workflows", {"name": name, "workflow": ONE})
        assert reply.status == 422, name
        assert reply.json["errors"][0]["path"] == "/name"
