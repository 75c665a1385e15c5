"""Every route of the API over real HTTP, with nothing known but the contract."""

from __future__ import annotations

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.api.table import ROUTES
from tests.e2e.client import (
    REAL,
    RUN_S,
    Api,
    check_gapless,
    check_problem,
    document,
    frozen,
    function,
    plain_http,
    sha256,
)
from tests.e2e.conftest import eventually

pytestmark = pytest.mark.stack
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
RUN = {
    "run_id", "workflow", "status", "revision", "created_at", "started_at", "finished_at", "input", "output", "error",
    "counts", "nodes", "usage", "links",
}  # fmt: skip
RUN_NODE = {"type", "status", "attempts", "iteration", "started_at", "finished_at"}
EXECUTION = {
    "iteration", "attempt", "status", "job_id", "input", "output", "error", "dispatched_at", "settled_at"
}  # fmt: skip
ONE = document(function("a", params={"n": "${input.n}"}), name="one")
SLOW = document(function("a", "sleep", {"ms": 20_000}), function("b"), edges=[("a", "b")])


@pytest.fixture(scope="module")
def stack(start_stack):
    running = start_stack(*REAL)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def api(stack):
    return Api(stack)


@pytest.fixture(scope="module")
def ended(api):
    """A completed run of ONE."""
    return api.finish(api.start(ONE, {"n": 1}))


def fixture(name):
    return json.loads((FIXTURES / name).read_text())


def test_a_run_has_every_member_of_the_contract(api, ended):
    assert set(ended) >= RUN
    assert set(ended["workflow"]) == {"name", "version"}
    assert set(ended["nodes"]["a"]) >= RUN_NODE
    assert set(ended["usage"]) == {"tokens", "usd"}
    assert (ended["status"], ended["revision"], ended["error"]) == ("COMPLETED", 0, None)
    assert (ended["input"], ended["output"], ended["counts"]) == ({"n": 1}, {"a": {"n": 1}}, {"COMPLETED": 1})
    assert all(TIME.fullmatch(ended[name]) for name in ("created_at", "started_at", "finished_at"))
    assert all(link.startswith(api.stack.ready["api_url"] + "/api/v1/runs/") for link in ended["links"].values())


def test_the_links_of_a_run_lead_somewhere(api, ended):
    for link in ended["links"].values():
        assert api.get(link.removeprefix(api.stack.ready["api_url"])).status == 200


def test_a_worker_that_asks_before_it_begins_is_told_to(api):
    run = api.finish(api.start(document(function("a", params={"n": 1}, check_before_start=True))))
    assert (run["status"], run["output"]) == ("COMPLETED", {"a": {"n": 1}})


def test_a_failed_run_names_type_message_and_node(api):
    failing = document(function("f", "flaky", {"failures": 9, "type": "Odd", "retryable": False}))
    run = api.finish(api.start(failing))
    assert run["status"] == "FAILED"
    assert set(run["error"]) == {"type", "message", "node_id"}
    assert (run["error"]["type"], run["error"]["node_id"]) == ("Odd", "f")
    assert run["nodes"]["f"]["status"] == "FAILED"


def test_a_node_shows_its_executions(api):
    flaky = function("f", "flaky", {"failures": 1}, retry={"max_attempts": 3, "backoff_ms": 10})
    run_id = api.start(document(flaky))
    api.finish(run_id)
    node = api.get(f"/runs/{run_id}/nodes/f").json
    assert (node["id"], node["type"], node["status"]) == ("f", "function", "COMPLETED")
    first, second = node["executions"]
    assert set(first) >= EXECUTION
    assert (first["status"], first["attempt"], first["error"]["type"]) == ("FAILED", 1, "TaskFailed")
    assert (second["status"], second["attempt"], second["error"]) == ("COMPLETED", 2, None)
    assert first["job_id"] != second["job_id"]
    assert TIME.fullmatch(second["dispatched_at"]) and TIME.fullmatch(second["settled_at"])
    assert second["output"] == {"failures": 1}
    check_problem(api.get(f"/runs/{run_id}/nodes/g"), 404)


def test_events_are_gapless_typed_and_paged(api, ended):
    events = api.events(ended["run_id"], limit=2)
    check_gapless(events)
    assert [event["type"] for event in events] == [
        "run_created", "run_started", "node_dispatched", "node_completed", "run_completed",
    ]  # fmt: skip
    for event in events:
        assert set(event) >= {"seq", "type", "at", "actor", "data"}
        assert TIME.fullmatch(event["at"])
    assert {"node_id", "iteration", "attempt", "job_id"} <= set(events[2])
    assert events[0]["actor"] == "ann"
    page = api.get(f"/runs/{ended['run_id']}/events?after=2&limit=2").json
    assert [event["seq"] for event in page["events"]] == [3, 4]
    assert (page["next"], page["done"]) == (4, False)
    assert api.get(f"/runs/{ended['run_id']}/events?after=4").json["done"] is True
    for query in ("after=x", "after=-1", "limit=0", "limit=1e9", "wait=26", "wait=nan"):
        check_problem(api.get(f"/runs/{ended['run_id']}/events?{query}"), 422)


def test_a_long_poll_answers_as_soon_as_there_is_an_event(api):
    with frozen(api.stack):
        run_id = api.start(ONE, {"n": 1})
        api.waits(run_id, "a")
        last = api.events(run_id)[-1]["seq"]
        with ThreadPoolExecutor(1) as pool:
            polling = pool.submit(api.get, f"/runs/{run_id}/events?after={last}&wait=20")
            time.sleep(0.5)
            assert not polling.done()
            api.post(f"/runs/{run_id}/cancel")
            page = polling.result()
    assert page.json["events"][0]["seq"] == last + 1
    assert page.took_s < 15
    empty = api.get(f"/runs/{api.start(SLOW)}/events?after=1000&wait=0.3")
    assert (empty.json["events"], empty.json["done"]) == ([], False)


def test_the_graph_and_the_run_carry_the_revision_as_their_etag(api, ended):
    graph = api.get(f"/runs/{ended['run_id']}/workflow")
    assert graph.headers["ETag"] == api.get(f"/runs/{ended['run_id']}").headers["ETag"] == '"0"'
    assert [node["id"] for node in graph.json["nodes"]] == ["a"]


def test_starting_is_accepted_with_a_location(api):
    reply = api.post("/runs", {"workflow": ONE, "input": {"n": 2}})
    assert reply.status == 202
    assert set(reply.json) >= {"run_id", "status", "links"}
    assert reply.headers["Location"] == f"{api.stack.ready['api_url']}/api/v1/runs/{reply.json['run_id']}"


def test_starting_again_under_a_key_or_an_id_is_the_same_run(api):
    body = {"workflow": ONE, "input": {"n": 3}}
    key = {"Idempotency-Key": "start-3"}
    first, again = (api.post("/runs", body, headers=key) for _ in range(2))
    assert (first.status, again.status, first.json["run_id"]) == (202, 202, again.json["run_id"])
    assert first.headers["Location"] == again.headers["Location"]
    check_problem(api.post("/runs", {**body, "input": {"n": 4}}, headers=key), 409)
    mine = {**body, "run_id": "my-run"}
    assert [api.post("/runs", mine).json["run_id"] for _ in range(2)] == ["my-run", "my-run"]
    check_problem(api.post("/runs", {**mine, "input": {"n": 4}}), 409)


def test_twenty_starts_at_once_under_one_key_are_one_run(api):
    body, key = {"workflow": ONE, "input": {"n": 5}}, {"Idempotency-Key": "start-5"}
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: api.post("/runs", body, headers=key), range(20)))
    assert {reply.status for reply in replies} == {202}
    assert len({reply.json["run_id"] for reply in replies}) == 1


def test_workflows_are_validated_saved_listed_read_and_started(api):
    good = api.post("/workflows/validate", ONE).json
    assert (good["valid"], good["errors"]) == (True, [])
    assert {"warnings", "graph"} <= set(good)
    bad = api.post("/workflows/validate", document(function("a", "nobody"), function("a"), edges=[("a", "z")])).json
    assert bad["valid"] is False
    assert all({"code", "path", "message"} <= set(error) for error in bad["errors"])
    assert len(bad["errors"]) >= 3
    saved = api.post("/workflows", {"name": "one", "workflow": ONE, "tag": "prod"})
    assert (saved.status, saved.json["name"], saved.json["version"]) == (201, "one", 1)
    assert saved.headers["Location"]
    assert api.post("/workflows", {"name": "one", "workflow": ONE}).json["version"] == 1
    other = document(function("a", params=2), name="one")
    assert api.post("/workflows", {"name": "one", "workflow": other}).json["version"] == 2
    assert "one" in [item["name"] for item in api.get("/workflows").json["items"]]
    assert api.get("/workflows/one").json["version"] == 2
    assert (
        api.get("/workflows/one?version=1").json["version"] == api.get("/workflows/one?tag=prod").json["version"] == 1
    )
    for body, version in (({}, 2), ({"tag": "prod"}, 1), ({"version": 1}, 1)):
        reply = api.post("/workflows/one/runs", {"input": {"n": 6}, **body})
        assert reply.status == 202
        assert api.run(reply.json["run_id"])["workflow"] == {"name": "one", "version": version}
    for name, version in (("one", 2), ("one@1", 1), ("one@prod", 1)):
        run_id = api.start(name, {"n": 7})
        assert api.run(run_id)["workflow"] == {"name": "one", "version": version}
    for path in ("/workflows/nothing", "/workflows/one?version=9", "/workflows/one?tag=none", "/workflows/validate"):
        assert api.get(path).status in (404, 405)
    check_problem(api.post("/runs", {"workflow": "one@9", "input": {}}), 404)
    check_problem(api.post("/workflows", {"name": "validate", "workflow": ONE}), 422)


def test_a_refused_document_tells_every_error(api):
    refused = check_problem(api.post("/runs", {"workflow": {"nodes": [], "extra": 1}, "input": {}}), 422)
    assert {"/nodes", "/extra"} <= {error["path"].removeprefix("/workflow") for error in refused["errors"]}


def test_lists_are_newest_first_and_their_cursors_lose_nothing(stack):
    lister = Api(stack, tenant="lister")
    lister.post("/workflows", {"name": "w", "workflow": ONE})
    started = [lister.start("w" if i % 2 else ONE, {"n": i}) for i in range(7)]
    for run_id in started:
        lister.finish(run_id)
    found, cursor = [], None
    for _ in range(20):
        page = lister.get(f"/runs?limit=3{'&cursor=' + cursor if cursor else ''}").json
        assert set(page) == {"items", "next_cursor"}
        assert len(page["items"]) <= 3
        found += [item["run_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == started[::-1]

    def listed(query):
        return [item["run_id"] for item in lister.get(f"/runs?{query}").json["items"]]

    assert listed("workflow=w") == started[5::-2]
    assert listed("status=COMPLETED") == started[::-1]
    assert listed("status=FAILED") == listed("since=2999-01-01T00:00:00Z") == []
    assert listed("since=2020-01-01T00:00:00Z") == started[::-1]
    for query in ("status=WRONG", "since=yesterday", "limit=0", "limit=201", "limit=x"):
        check_problem(lister.get(f"/runs?{query}"), 422)
    assert lister.get("/runs?cursor=../../x").status in (200, 422)


def test_no_credential_a_bad_one_and_a_late_one_are_401(api):
    late = Api(api.stack, now_s=int(time.time()) - 7200).token
    forged = api.token[:-4] + ("AAAA" if api.token[-4:] != "AAAA" else "BBBB")
    for token in (None, "nonsense", late, forged, "a.b.c", "Bearer"):
        for path in ("/runs", "/workflows", "/schema", "/runs/x"):
            reply = api.get(path, token=token)
            check_problem(reply, 401)
            assert reply.headers["WWW-Authenticate"]
    both = {"X-Graft-Token": api.token, "Authorization": "AWS4-HMAC-SHA256 Credential=x"}
    assert api.call("GET", "/runs", headers=both, token=None).status == 200


def _filled(path, run_id):
    values = {
        "run_id": run_id,
        "node_id": "a",
        "name": "secret-flow",
        "tag": "t",
        "n": "1",
        "sha256": sha256(b"private"),
    }
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "x"), path)


BODIES = {
    "validate_workflow": ONE,
    "save_workflow": {"name": "two", "workflow": ONE},
    "start_run": {"workflow": "secret-flow"},
    "announce_artifact": {"sha256": sha256(b"private"), "size": 7},
    "patch_run": {"operations": []},
    "patch_run_document": [],
    "patch_run_operations": [],
    "fork_run_from": {"from_seq": 1},
    "tag_workflow": {"version": 1},
}


def test_a_missing_scope_is_403_and_another_tenants_things_are_404_on_every_route(api):
    stranger = Api(api.stack, tenant="other", sub="eve")
    nobody = Api(api.stack, scopes=())
    assert api.post("/workflows", {"name": "secret-flow", "workflow": ONE}).status == 201
    assert plain_http("PUT", _upload(api, b"private"), b"private").status == 200
    run_id = api.start(SLOW)
    named = 0
    for route in ROUTES:
        if route.scope in ("(public)", "(any)", "(task)", "(link)"):
            continue
        path, body = _filled(route.path, run_id), BODIES.get(route.id, {})
        body = None if route.method == "GET" else body
        check_problem(nobody.call(route.method, path, body), 403)
        if "{" in route.path or route.id == "start_run":
            reply = stranger.call(route.method, path, body)
            absent = stranger.call(route.method, path.replace(run_id, "x").replace("secret-flow", "x"), body)
            check_problem(reply, absent.status)
            assert reply.status in (404, 422), route.id
            assert b"sleep" not in reply.raw
            named += reply.status == 404
    assert named > 10
    assert run_id not in stranger.get("/runs").raw.decode()
    assert "secret-flow" not in stranger.get("/workflows").raw.decode()
    assert api.run(run_id)["status"] == "RUNNING"


def test_a_token_bound_to_a_run_reaches_that_run_alone(api, ended):
    bound = Api(api.stack, scopes=("runs:read", "runs:patch", "runs:control"), run_id=ended["run_id"])
    assert bound.get(f"/runs/{ended['run_id']}").status == 200
    check_problem(bound.get(f"/runs/{api.start(ONE, {'n': 1})}"), 403)
    check_problem(bound.get("/runs"), 403)


@pytest.mark.parametrize("path", ["/nothing", "/runs/a/b/c/d/e", "/api", "/api/v2/runs", "/runs/%2e%2e/workflows"])
def test_unknown_routes_are_404_problems(api, path):
    check_problem(api.get(path), 404)


def test_wrong_methods_are_405_with_the_right_ones(api):
    for method, path, allowed in (
        ("DELETE", "/runs", {"GET", "POST"}),
        ("PUT", "/workflows", {"GET", "POST"}),
        ("POST", "/health", {"GET"}),
        ("GET", "/workflows/validate", {"POST"}),
        ("BREW", "/runs", {"GET", "POST"}),
    ):
        reply = api.call(method, path)
        check_problem(reply, 405)
        assert allowed <= set(re.split(r",\s*", reply.headers["Allow"])), path


def test_preflight_requests_allow_what_browsers_send(api):
    reply = api.call("OPTIONS", "/runs", headers={"Origin": "https://x", "Access-Control-Request-Method": "POST"})
    assert reply.status in (200, 204)
    assert {"If-Match", "Idempotency-Key", "Authorization"} <= set(
        re.split(r",\s*", reply.headers["Access-Control-Allow-Headers"])
    )
    seen = api.get("/runs", headers={"Origin": "https://x"})
    assert {"ETag", "Location", "Retry-After"} <= set(re.split(r",\s*", seen.headers["Access-Control-Expose-Headers"]))


def test_json_is_taken_whatever_the_content_type_says(api):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "multipart/form-data"):
        assert api.post("/workflows/validate", ONE, headers={"Content-Type": kind}).json["valid"] is True


def _upload(api, data):
    reply = api.post("/artifacts", {"sha256": sha256(data), "size": len(data)})
    assert reply.status == 201, reply.raw
    return reply.json["upload_url"]


def test_an_artifact_goes_up_and_comes_down_by_presigned_urls(api):
    data = b'{"big": true}'
    assert plain_http("PUT", _upload(api, data), data).status == 200
    reply = api.get(f"/artifacts/{sha256(data)}")
    assert reply.status == 303
    assert plain_http("GET", reply.headers["Location"]).raw == data
    check_problem(api.get(f"/artifacts/{sha256(b'nothing')}"), 404)
    check_problem(api.get("/artifacts/xyz"), 404)
    check_problem(api.post("/artifacts", {"sha256": "xyz", "size": 1}), 422)
    check_problem(api.post("/artifacts", {"sha256": sha256(b""), "size": 101 << 20}), 413)


def test_health_the_description_and_the_schema(api):
    assert api.get("/health", token=None).status == 200
    described = api.get("/openapi.json", token=None).json
    assert described["openapi"].startswith("3.")
    for route in ROUTES:
        assert route.method.lower() in described["paths"][route.path], route.id
    assert described["servers"][0]["url"].endswith("/api/v1")
    assert api.get("/schema").json["$schema"].startswith("https://json-schema.org/")


def test_cancel_stops_a_run_at_once_and_again_changes_nothing(api):
    run_id = api.start(SLOW)
    api.waits(run_id, "a")
    first = api.post(f"/runs/{run_id}/cancel")
    assert (first.status, first.json["status"]) == (200, "CANCELLED")
    assert first.json["nodes"]["a"]["status"] == "CANCELLED"
    assert api.post(f"/runs/{run_id}/cancel").json["status"] == "CANCELLED"
    events = api.events(run_id)
    assert [event["type"] for event in events].count("run_cancelled") == 1
    done = api.finish(api.start(ONE, {"n": 1}))["run_id"]
    for action in ("cancel", "pause", "resume"):
        check_problem(api.post(f"/runs/{done}/{action}"), 409)
        check_problem(api.post(f"/runs/nothing/{action}"), 404)


def test_a_run_pauses_before_its_breakpoint_and_resume_goes_on(api):
    chain = document(function("a", params=1), function("b", params=2), edges=[("a", "b")])
    run_id = api.start(chain, breakpoints=["b"])
    eventually(lambda: api.run(run_id)["status"] == "PAUSED", RUN_S, "the run being PAUSED")
    run = api.run(run_id)
    assert (run["breakpoints"], run["counts"]) == (["b"], {"COMPLETED": 1, "PENDING": 1})
    explained = api.get(f"/runs/{run_id}/explain").json
    assert "before node b at its breakpoint" in explained["waiting"][0]["moved_by"]
    api.post(f"/runs/{run_id}/resume")
    assert api.finish(run_id)["output"] == {"b": 2}
    refused = check_problem(api.post("/runs", {"workflow": chain, "breakpoints": ["a", "nope"]}), 422)
    assert [error["path"] for error in refused["errors"]] == ["/breakpoints/1"]


def test_pause_keeps_results_and_resume_goes_on(api):
    with frozen(api.stack):
        run_id = api.start(document(function("a"), function("b"), edges=[("a", "b")]))
        api.waits(run_id, "a")
        assert api.post(f"/runs/{run_id}/pause").json["status"] == "PAUSED"
    api.waits(run_id, "a", "COMPLETED")
    time.sleep(0.5)
    assert api.run(run_id)["nodes"]["b"]["status"] != "COMPLETED"
    assert api.run(run_id)["status"] == "PAUSED"
    assert api.post(f"/runs/{run_id}/resume").json["status"] == "RUNNING"
    assert api.finish(run_id)["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("score", "revenue", "hot"), [(92, 250_000, True), (80, 100_001, True), (79, 250_000, False), (92, 100_000, False)]
)
def test_the_condition_of_the_first_hour_is_taken_word_for_word(api, score, revenue, hot):
    run = api.finish(api.start(fixture("condition_workflow.json"), {"score": score, "revenue": revenue}))
    assert run["status"] == "COMPLETED", run["error"]
    assert run["nodes"]["notify_sales"]["status"] == ("COMPLETED" if hot else "SKIPPED")
    assert run["nodes"]["archive"]["status"] == ("SKIPPED" if hot else "COMPLETED")


def test_the_patch_of_the_first_hour_adds_a_notifier_to_a_running_workflow(api):
    flow = fixture("condition_workflow.json")
    patch = fixture("email_notifier_patch.json")
    with frozen(api.stack):
        run_id = api.start(flow, {"score": 92, "revenue": 250_000})
        api.waits(run_id, "enrich_data")
        dry = api.post(f"/runs/{run_id}/patch", {**patch, "dry_run": True})
        reply = api.post(f"/runs/{run_id}/patch", {**patch, "base_revision": 0})
        stale = check_problem(api.post(f"/runs/{run_id}/patch", {**patch, "base_revision": 0}), 409)
    assert (dry.status, reply.status) == (200, 200), reply.raw
    assert dry.json == reply.json
    assert set(reply.json) >= {"run_id", "revision", "added", "removed", "changed", "dispatched", "warnings"}
    assert (reply.json["revision"], reply.json["added"]) == (1, ["email_notifier"])
    assert stale["revision"] == 1
    assert api.get(f"/runs/{run_id}/workflow").headers["ETag"] == '"1"'
    run = api.finish(run_id)
    assert (run["status"], run["nodes"]["email_notifier"]["status"]) == ("COMPLETED", "COMPLETED"), run["error"]
    applied = [event for event in api.events(run_id) if event["type"] == "patch_applied"]
    assert [event["actor"] for event in applied] == ["ann"]
    (listed,) = api.get(f"/runs/{run_id}/patches").json["items"]
    assert listed["operations"] == patch["operations"]
    check_problem(api.post(f"/runs/{run_id}/patch", patch), 409)


def test_many_readers_at_once_all_get_their_answers(api, ended):
    replies = []

    def read():
        replies.extend(api.get(f"/runs/{ended['run_id']}").status for _ in range(10))

    threads = [threading.Thread(target=read) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [200] * 120
