"""Who may use which route: one walk over the whole table."""

from __future__ import annotations

import hashlib

import jwt
import pytest

from app import app
from chalicelib.api.fallback import GREEDY
from chalicelib.api.openapi import describe
from chalicelib.api.table import ANY, LINK, PUBLIC, ROUTES, TASK, Route
from chalicelib.engine.credentials import SCOPES, verify_callback_token, verify_token
from tests.api.client import SECRET, Api
from tests.api.documents import ONE

GUARDED = [route for route in ROUTES if route.scope not in (PUBLIC, TASK, LINK)]
BODIES = {
    "validate_workflow": ONE,
    "save_workflow": {"name": "one", "workflow": ONE},
    "start_saved_run": {"input": {"n": 1}},
    "start_batch": {"inputs": [{"n": 1}]},
    "start_run": {"workflow": ONE, "input": {"n": 1}},
    "announce_artifact": {"sha256": "0" * 64, "size": 3},
    "fork_run_from": {"from_seq": 1},
    "patch_run": {"operations": []},
    "patch_run_document": [],
    "patch_run_operations": [],
    "patch_workflow": [],
    "move_tag": {"version": 1},
    "decide_node": {"approved": True},
    "set_settings": {"max_running": 2},
    "set_schedule": {"rate": "1 hour", "input": {"n": 1}},
}
QUERIES = {"diff_versions": "?from=1"}
#: Routes that name nothing: another tenant gets its own, empty or new.
OWN = {
    "validate_workflow",
    "save_workflow",
    "start_run",
    "announce_artifact",
    "list_workflows",
    "list_runs",
    "list_approvals",
    "list_dead_letters",
    "redrive_dead_letters",
    "get_schema",
}


def ids(route: Route) -> str:
    return route.id


def filled(api: Api, route: Route) -> str:
    """The route's target on things of the tenant acme."""
    sha256 = hashlib.sha256(b"abc").hexdigest()
    api.artifacts.put(b"abc")
    api.post("artifacts", {"sha256": sha256, "size": 3})
    api.post("workflows", {"name": "one", "workflow": ONE, "tag": "prod"})
    run_id = api.post("runs", {"workflow": ONE, "input": {"n": 1}}).json["run_id"]
    if "{schedule}" in route.path:
        api.call("PUT", "workflows/one/schedules/s", BODIES["set_schedule"])
    if route.id == "revert_patch":
        api.post(f"runs/{run_id}/patch", {"operations": [{"op": "add", "path": "/metadata", "value": {}}]})
    names = {
        "name": "one",
        "tag": "prod",
        "run_id": run_id,
        "node_id": "a",
        "sha256": sha256,
        "token": "none",
        "schedule": "s",
        "n": "1",
    }
    return route.full_path.format(**names) + QUERIES.get(route.id, "")


#: Routes that a run which has just begun refuses: past the access check, they answer 409.
REFUSED_AT_FIRST = {"redrive_run", "rerun_node", "skip_node", "decide_node", "make_decision_links"}


def reached(route: Route) -> set[int]:
    """Statuses that show that the credential was let through."""
    if route.id == "delete_schedule":
        return {route.status, 404}  # the second time there is nothing left to delete
    return {route.status, 409} if route.id in REFUSED_AT_FIRST else {route.status}


def ask(api: Api, route: Route, target: str, token: str | None):
    return api.call(route.method, target, BODIES.get(route.id), token=token)


def assert_problem(reply, status: int) -> None:
    assert reply.status == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "errors"} <= set(reply.json)
    assert reply.json["status"] == status
    assert reply.headers["Access-Control-Allow-Origin"] == "*"


def test_the_table_is_what_the_app_serves() -> None:
    served = {(path, method) for path, methods in app.routes.items() for method in methods if path != GREEDY}
    listed = {(route.full_path, route.method) for route in ROUTES}
    assert served == listed | {(path, "HEAD") for path, method in listed if method == "GET"}
    assert len({route.id for route in ROUTES}) == len(ROUTES)


def test_every_route_takes_every_content_type_and_has_cors() -> None:
    for methods in app.routes.values():
        for entry in methods.values():
            if entry.uri_pattern.startswith("/api/v1"):
                assert entry.content_types == ["*/*"]
                headers = entry.cors.get_access_control_headers()
                for name in ("If-Match", "Idempotency-Key", "Authorization"):
                    assert name in headers["Access-Control-Allow-Headers"]
                assert headers["Access-Control-Expose-Headers"] == "ETag,Location,Retry-After"


def test_the_description_has_every_route_and_names_its_scope() -> None:
    paths = describe("https://x")["paths"]
    assert {(path, method.upper()) for path, item in paths.items() for method in item} == {
        (route.path, route.method) for route in ROUTES
    }
    assert "runs:read" in paths["/runs/{run_id}"]["get"]["description"]
    assert paths["/health"]["get"]["security"] == []


@pytest.mark.parametrize("route", GUARDED, ids=ids)
def test_without_a_credential_there_is_only_401(api: Api, route: Route) -> None:
    target = filled(api, route)
    reply = ask(api, route, target, None)
    assert_problem(reply, 401)
    assert reply.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", GUARDED, ids=ids)
def test_bad_credentials_are_no_credentials(api: Api, route: Route) -> None:
    target = filled(api, route)
    now = api.clock.now_ms() // 1000
    good = {"aud": "graft-api", "sub": "ann", "tenant": "acme", "scopes": list(SCOPES), "exp": now + 60}
    bad = {
        "expired": jwt.encode({**good, "exp": now}, SECRET, "HS256"),
        "never expires": jwt.encode({k: v for k, v in good.items() if k != "exp"}, SECRET, "HS256"),
        "alg none": jwt.encode(good, None, "none"),
        "another alg": jwt.encode(good, SECRET.ljust(64, b"."), "HS512"),
        "another secret": jwt.encode(good, b"x" * 32, "HS256"),
        "another audience": jwt.encode({**good, "aud": "graft-task"}, SECRET, "HS256"),
        "no audience": jwt.encode({k: v for k, v in good.items() if k != "aud"}, SECRET, "HS256"),
        "no tenant": jwt.encode({k: v for k, v in good.items() if k != "tenant"}, SECRET, "HS256"),
        "half a character": jwt.encode({**good, "sub": "\ud800"}, SECRET, "HS256"),
        "odd tenant": jwt.encode({**good, "tenant": "a#b"}, SECRET, "HS256"),
        "odd exp": jwt.encode({**good, "exp": True}, SECRET, "HS256"),
        "not yet": jwt.encode({**good, "nbf": now + 30}, SECRET, "HS256"),
        "scopes are a text": jwt.encode({**good, "scopes": "admin"}, SECRET, "HS256"),
        "nonsense": "a.b.c",
        "long": "x" * 9000,
    }
    for name, token in bad.items():
        reply = ask(api, route, target, token)
        assert reply.status == 401, f"{name}: {reply.status}"
        assert_problem(reply, 401)


@pytest.mark.parametrize("route", [route for route in GUARDED if route.scope != ANY], ids=ids)
def test_a_token_needs_the_route_s_scope_or_admin(api: Api, route: Route) -> None:
    target = filled(api, route)
    others = [scope for scope in SCOPES if scope not in (route.scope, "admin")]
    assert_problem(ask(api, route, target, api.token(others)), 403)
    for scopes in ([route.scope], ["admin"]):
        reply = ask(api, route, target, api.token(scopes))
        assert reply.status in reached(route), reply.text


@pytest.mark.parametrize("route", GUARDED, ids=ids)
def test_another_tenant_finds_nothing(api: Api, route: Route) -> None:
    target = filled(api, route)
    reply = ask(api, route, target, api.token(tenant="other"))
    if route.id not in OWN:
        assert_problem(reply, 404)
    elif route.method == "GET" and route.id != "get_schema":
        assert reply.json == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("route", GUARDED, ids=ids)
def test_a_token_of_one_run_reaches_that_run_only(api: Api, route: Route) -> None:
    target = filled(api, route)
    run_id = target.split("/")[4] if "{run_id}" in route.path else "none"
    reply = ask(api, route, target, api.token(run_id=run_id))
    assert reply.status in (reached(route) if "{run_id}" in route.path or route.bound else {403})
    if not route.bound:  # the view of such a route keeps to the run
        assert_problem(ask(api, route, target, api.token(run_id="another")), 403)


def test_the_other_header_goes_before_a_signature_for_iam(api: Api) -> None:
    signature = "AWS4-HMAC-SHA256 Credential=x"
    assert api.get("runs", token=None, Authorization=signature, X_Graft_Token=api.token()).status == 200
    assert api.get("runs", token=None, Authorization=signature).status == 401
    assert api.get("runs", token=None, authorization=f"bearer {api.token()}").status == 200


def test_public_routes_need_nothing(api: Api) -> None:
    assert api.get("health", token=None).json == {"status": "ok", "stage": "test"}
    assert api.get("openapi.json", token=None).json["openapi"] == "3.1.0"
    assert api.get("schema", token=None).status == 401
    assert "nodes" in api.get("schema", token=api.token([])).json["properties"]


def test_tokens_say_what_was_signed(api: Api) -> None:
    claims = verify_token(SECRET, api.token(["runs:read"], run_id="r1", caps={"patch": 1}), api.clock.now_ms())
    assert (claims.sub, claims.tenant, claims.run_id, claims.caps) == ("ann", "acme", "r1", {"patch": 1})
    token = api.services.callback_token("job", "r1", "n", 2, api.clock.now_ms() + 1)
    assert token == api.services.callback_token("job", "r1", "n", 2, api.clock.now_ms() + 1)
    task = verify_callback_token(SECRET, token, api.clock.now_ms())
    assert (task.job_id, task.run_id, task.node_id, task.attempt) == ("job", "r1", "n", 2)


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("DELETE", "/api/v1/runs", "GET, HEAD, OPTIONS, POST"),
        ("PUT", "/api/v1/runs/x/nodes/y", "GET, HEAD, OPTIONS"),
        ("GET", "/api/v1/workflows/validate", "OPTIONS, POST"),
    ],
)
def test_a_wrong_method_is_405_with_what_is_allowed(api: Api, method: str, target: str, allow: str) -> None:
    reply = api.call(method, target)
    assert_problem(reply, 405)
    assert reply.headers["Allow"] == allow


@pytest.mark.parametrize("target", ["/", "/nope", "/api/v1/nope", "/api/v1/runs/x/y/z/w", "/api/v2/runs"])
def test_an_unknown_path_is_404(api: Api, target: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert_problem(api.call(method, target, token=None), 404)
    assert api.call("HEAD", target, token=None).text == ""


def test_head_is_get_without_its_body(api: Api) -> None:
    run_id = api.post("runs", {"workflow": ONE, "input": {"n": 1}}).json["run_id"]
    reply = api.call("HEAD", f"runs/{run_id}")
    assert (reply.status, reply.headers["ETag"], reply.text) == (200, '"0"', "")
    assert api.call("HEAD", f"runs/{run_id}", token=None).status == 401
