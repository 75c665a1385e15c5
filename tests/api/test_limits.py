"""Every limit of the deployment over the API: 422 or 413 that names what is too much, or the run's own error."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chalicelib.api import context
from chalicelib.domain.limits import Limits
from chalicelib.engine.step import Coordinator
from tests.api.client import Api, Reply

Json = Any


def limit(api: Api, **limits: int) -> None:
    """The deployment's limits from now on."""
    api.services = dataclasses.replace(api.services, limits=dataclasses.replace(Limits(), **limits))
    api.coordinator = Coordinator(api.services)
    context.use(api.services)


def node(name: str, **more: Json) -> Json:
    return {"id": name, "type": "function", "config": {"handler": "echo", "params": 1}, **more}


def add(value: Json, where: str = "nodes") -> Json:
    return {"op": "add", "path": f"/{where}/-", "value": value}


def edge(source: str, target: str) -> Json:
    return {"from": source, "to": target}


def start(api: Api, document: Json, **more: Json) -> str:
    reply = api.post("runs", {"workflow": document, **more})
    assert reply.status == 202, reply.text
    api.settle_batch()
    return str(reply.json["run_id"])


def refused(reply: Reply, status: int = 422, code: str | None = "limit_exceeded") -> str:
    """The message of a refusal."""
    assert reply.status == status, reply.text
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    if code is None:
        return str(reply.json["detail"])
    assert [error["code"] for error in reply.json["errors"]] == [code]
    path = reply.json["errors"][0]["path"]
    assert path == "" or path.startswith("/")  # "" is the whole document
    return str(reply.json["errors"][0]["message"])


THREE = {"nodes": [node("a"), node("b"), node("c")], "edges": [edge("a", "b"), edge("b", "c")]}
WAYS = ("runs", "workflows", "workflows/validate")


def offered(api: Api, way: str, document: Json) -> Reply:
    named = {"name": "x", "workflow": document}
    return api.post(way, named if way == "workflows" else {"workflow": document})


@pytest.mark.parametrize("way", WAYS[:2])
def test_nodes_of_a_workflow(api: Api, way: str) -> None:
    limit(api, nodes=3)
    assert offered(api, way, THREE).status in (201, 202)
    message = refused(offered(api, way, {**THREE, "nodes": [*THREE["nodes"], node("d")]}))
    assert "4 nodes" in message and "at most 3" in message


@pytest.mark.parametrize("way", WAYS[:2])
def test_edges_of_a_workflow(api: Api, way: str) -> None:
    limit(api, edges=2)
    assert offered(api, way, THREE).status in (201, 202)
    message = refused(offered(api, way, {**THREE, "edges": [*THREE["edges"], edge("a", "c")]}))
    assert "3 edges" in message and "at most 2" in message


def test_edges_that_blocks_make_count_too(api: Api) -> None:
    limit(api, edges=2)
    branch = {"id": "r", "type": "branch", "branch": {"rules": [], "default": ["a", "b", "c"]}}
    assert "3 edges" in refused(offered(api, "runs", {"nodes": [branch, *THREE["nodes"]]}))


def test_validate_tells_of_a_limit_as_of_any_problem(api: Api) -> None:
    limit(api, nodes=2)
    reply = offered(api, "workflows/validate", THREE)
    assert (reply.status, reply.json["valid"]) == (200, False)
    assert [(error["code"], error["path"]) for error in reply.json["errors"]] == [("limit_exceeded", "/nodes")]


def test_nodes_and_edges_that_patches_add(api: Api) -> None:
    limit(api, nodes=4, edges=3)
    run_id = start(api, THREE)
    assert api.post(f"runs/{run_id}/patch", {"operations": [add(node("d"))]}).status == 200
    assert "5 nodes" in refused(api.post(f"runs/{run_id}/patch", {"operations": [add(node("e"))]}))
    more = [add(edge("a", "c"), "edges"), add(edge("a", "d"), "edges")]
    assert "4 edges" in refused(api.post(f"runs/{run_id}/patch", {"operations": more}))
    assert api.get(f"runs/{run_id}").json["revision"] == 1


@pytest.mark.parametrize("way", WAYS[:2])
def test_bytes_of_a_document(api: Api, way: str) -> None:
    limit(api, document_bytes=2000)
    assert offered(api, way, {**THREE, "metadata": {"x": "y" * 1000}}).status in (201, 202)
    assert "2000" in refused(offered(api, way, {**THREE, "metadata": {"x": "y" * 2000}}))


def test_bytes_of_a_document_that_a_patch_makes(api: Api) -> None:
    limit(api, document_bytes=2000)
    run_id = start(api, THREE)
    grown = {"op": "add", "path": "/metadata", "value": {"x": "y" * 2000}}
    assert "2000" in refused(api.post(f"runs/{run_id}/patch", {"operations": [grown]}))


def test_an_input_past_the_inline_limit_is_an_artifact_and_reads_the_same(api: Api) -> None:
    limit(api, input_bytes=100)
    document = {"nodes": [{"id": "a", "type": "transform", "config": {"value": "${size(input.x)}"}}]}
    run_id = start(api, document, input={"x": "y" * 1000})
    api.drain()
    assert "input" not in api.meta(run_id) and api.meta(run_id)["input_ref"].startswith("artifact://")
    assert api.get(f"runs/{run_id}").json["output"] == {"a": 1000}


def test_bytes_of_an_artifact_and_of_an_input(api: Api) -> None:
    limit(api, artifact_bytes=1000, input_bytes=100)
    assert api.post("artifacts", {"sha256": "a" * 64, "size": 1000}).status in (200, 201)
    assert "1000" in refused(api.post("artifacts", {"sha256": "a" * 64, "size": 1001}), 413, None)
    reply = api.post("runs", {"workflow": THREE, "input": {"x": "y" * 1000}})
    assert "1000 are allowed" in refused(reply, 413, None)


def test_hops_of_a_run(api: Api) -> None:
    limit(api, hops=10)
    loop = {"id": "l", "type": "loop", "loop": {"condition": "true", "max_iterations": 100, "loop_back_to": "a"}}
    run_id = start(api, {"nodes": [node("a"), loop], "edges": [edge("a", "l")]})
    api.drain()
    run = api.get(f"runs/{run_id}").json
    assert (run["status"], run["error"]["type"]) == ("FAILED", "LimitExceeded")
    assert "10" in run["error"]["message"]


def test_iterations_of_a_loop(api: Api) -> None:
    limit(api, loop_iterations=3)
    loop = {"id": "l", "type": "loop", "loop": {"condition": "true", "max_iterations": 4, "loop_back_to": "a"}}
    document = {"nodes": [node("a"), loop], "edges": [edge("a", "l")]}
    assert "At most 3" in refused(offered(api, "runs", document))
    del loop["loop"]["max_iterations"]
    run_id = start(api, document)
    api.drain()
    assert api.get(f"runs/{run_id}").json["error"]["type"] == "LoopLimit"
    assert [task["node_id"] for task in api.tasks] == ["a"] * 3


def test_patches_of_a_run_reverts_included(api: Api) -> None:
    limit(api, patches=2)
    run_id = start(api, {**THREE, "edges": []})
    wait = {"id": "w", "type": "wait", "config": {"seconds": 60}}
    later = [add(wait), add(node("d")), add(edge("w", "d"), "edges")]
    assert api.post(f"runs/{run_id}/patch", {"operations": later}).status == 200
    assert api.post(f"runs/{run_id}/patch", {"operations": [add(node("e"))]}).status == 200
    message = refused(api.post(f"runs/{run_id}/patch", {"operations": [add(node("f"))]}))
    assert "2 patches" in message
    assert api.get(f"runs/{run_id}").json["revision"] == 2


def test_nodes_that_nodes_add_by_their_own_credential(api: Api) -> None:
    limit(api, agent_nodes=2)
    run_id = start(api, THREE)
    own = api.token(sub="node:a", run_id=run_id, scopes=["runs:patch", "runs:read"])
    assert api.post(f"runs/{run_id}/patch", {"operations": [add(node("d")), add(node("e"))]}, token=own).status == 200
    message = refused(api.post(f"runs/{run_id}/patch", {"operations": [add(node("f"))]}, token=own))
    assert "at most 2" in message
    assert api.post(f"runs/{run_id}/patch", {"operations": [add(node("f"))]}).status == 200  # a person may


def test_depth_of_nodes_added_by_added_nodes(api: Api) -> None:
    limit(api, patch_depth=2)
    run_id = start(api, THREE)
    for author, name in (("a", "x"), ("x", "y")):
        own = api.token(sub=f"node:{author}", run_id=run_id, scopes=["runs:patch", "runs:read"])
        assert api.post(f"runs/{run_id}/patch", {"operations": [add(node(name))]}, token=own).status == 200
    own = api.token(sub="node:y", run_id=run_id, scopes=["runs:patch", "runs:read"])
    assert "at most 2" in refused(api.post(f"runs/{run_id}/patch", {"operations": [add(node("z"))]}, token=own))


def test_bytes_of_a_body(api: Api) -> None:
    limit(api, body_bytes=500)
    assert "500" in refused(api.post("runs", {"workflow": THREE, "input": "x" * 500}), 413, None)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Limits)])
def test_a_document_may_lower_a_limit_and_not_raise_it(api: Api, name: str) -> None:
    most = getattr(Limits(), name)
    assert offered(api, "workflows/validate", {**THREE, "limits": {name: most}}).json["valid"]
    reply = offered(api, "workflows/validate", {**THREE, "limits": {name: most + 1}})
    assert [(error["code"], error["path"]) for error in reply.json["errors"]] == [("limit_raised", f"/limits/{name}")]
