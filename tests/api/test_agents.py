"""An agent's credential, what it tells while it works, and what it used: the engine and the API without a worker."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from chalicelib.api.table import LINK, PUBLIC, ROUTES, TASK, Route
from chalicelib.domain.agent_tools import SCOPES
from chalicelib.engine import large_values
from chalicelib.engine.credentials import verify_token
from chalicelib.engine.ports import Outgoing
from tests.api.client import SECRET, Api
from tests.api.test_access import assert_problem

SIGNALS = "completion-signals"


def agent(**config: Any) -> dict[str, Any]:
    given = {"task": "Do it.", "provider": "scripted", "turns": [{"text": "ok"}], **config}
    return {"id": "boss", "type": "agent", "config": given}


def begin(api: Api, node: dict | None = None, *more: dict, run_input: Any = None, **document: Any) -> tuple[str, dict]:
    """Start a run of one agent; its id, and the agent's task message."""
    run_id = api.start({"nodes": [node or agent(), *more], **document}, run_input)
    while api.settle_batch():
        pass
    return run_id, task_of(api)


def task_of(api: Api) -> dict:
    [message] = api.queues.receive("tasks-agent")
    api.queues.delete("tasks-agent", message.receipt)
    return json.loads(message.body)


def patch(api: Api, run_id: str, task: dict, *nodes: dict, key: str = "", **more: Any):
    operations = [{"op": "add", "path": "/nodes/-", "value": node} for node in nodes]
    body = {"operations": operations, "description": "why", **more}
    headers = {"Idempotency_Key": key} if key else {}
    return api.post(f"runs/{run_id}/patch", body, token=task["agent"]["token"], **headers)


def tell(api: Api, task: dict, told_as: str, *events: tuple[str, dict], **more: Any) -> None:
    listed = [{"type": kind, "data": data} for kind, data in events]
    ids = {name: task[name] for name in ("job_id", "run_id", "node_id")}
    text = json.dumps({"version": "1.0", "kind": "progress", **ids, "key": told_as, "events": listed, **more})
    api.queues.send([Outgoing(SIGNALS, text)])


def settle(api: Api, task: dict, **answer: Any) -> None:
    api.answer(task, {"status": "completed", "result": "ok", **answer})
    while api.settle_batch():
        pass


def told(api: Api, run_id: str) -> list[tuple[str, Any]]:
    return [(e["type"], e["data"]["n"]) for e in api.events(run_id) if e["type"] in ("agent_turn", "tool_called")]


def fine(name: str = "new", kind: str = "pass", **config: Any) -> dict:
    return {"id": name, "type": kind, **({"config": config} if config else {})}


# The credential


def test_the_credential_is_bound_to_run_node_attempt_and_time_and_made_of_the_job_alone(api: Api):
    allow = {"node_types": ["pass"], "functions": ["echo"]}
    node = {**agent(allow=allow, budget={"tokens": 1000}), "timeout_ms": 60_000}
    run_id, task = begin(api, node)
    claims = verify_token(SECRET, task["agent"]["token"], api.clock.now_ms())
    assert (claims.sub, claims.tenant, claims.run_id, claims.attempt) == ("node:boss", "acme", run_id, "boss@#0.1")
    assert claims.scopes == set(SCOPES) == {"runs:patch", "runs:read"}
    assert claims.caps == {**allow, "secrets": [], "budget": {"tokens": 1000}}
    api.clock.now += 60_001
    assert_problem(patch(api, run_id, task, fine()), 401)


def test_every_send_of_an_agent_s_task_has_the_same_bytes(api: Api):
    node = agent(task="Look at ${input.text} and ${ctx.a.output}.")
    document = {"nodes": [{"id": "a", "type": "transform", "config": {"value": "v"}}, node]}
    run_id = api.start({**document, "edges": [{"from": "a", "to": "boss"}]}, {"text": "this"})
    batch = api.queues.receive(SIGNALS)
    sent: list[str] = []
    original = api.queues.send

    def lose(messages):
        sent.extend(m.body for m in messages if m.queue == "tasks-agent")
        original(messages)
        from chalicelib.domain.errors import Unavailable

        raise Unavailable("lost reply")

    api.queues.send = lose
    assert api.coordinator.handle([m.body for m in batch]) == {0}
    api.queues.send = original
    api.clock.now += 5000
    assert api.coordinator.handle([m.body for m in batch]) == set()
    first, second = api.queues.bodies("tasks-agent")
    assert first == second == sent[0]
    text = json.loads(first)["config"]["task"]
    assert [text[start:end] for start, end in json.loads(first)["agent"]["data"]] == ["this", "v"]
    assert api.meta(run_id)["status"] == "RUNNING"


def test_an_agent_patches_its_run_as_its_node(api: Api):
    run_id, task = begin(api)
    reply = patch(api, run_id, task, fine(), key="k1")
    assert (reply.status, reply.json["added"]) == (200, ["new"])
    assert patch(api, run_id, task, fine(), key="k1").json == reply.json
    [event] = [e for e in api.events(run_id) if e["type"] == "patch_applied"]
    assert event["actor"] == "node:boss"
    settle(api, task)
    assert api.meta(run_id)["status"] == "COMPLETED"
    api.assert_fold_equals_store(run_id)


def test_an_agent_reads_its_run_and_no_other(api: Api):
    run_id, task = begin(api)
    other, _ = begin(api)
    token = task["agent"]["token"]
    for path in ("", "/workflow", "/nodes/boss", "/events", "/patches", "/explain"):
        assert api.get(f"runs/{run_id}{path}", token=token).status == 200
        assert_problem(api.get(f"runs/{other}{path}", token=token), 403)


def test_an_agent_patches_no_other_run(api: Api):
    _, task = begin(api)
    other, _ = begin(api)
    token = task["agent"]["token"]
    assert_problem(patch(api, other, task, fine()), 403)
    for method, path in (("PATCH", ""), ("PATCH", "/patch"), ("POST", "/patches/1/revert")):
        assert_problem(api.call(method, f"runs/{other}{path}", [], token=token), 403)
    assert api.meta(other)["rev"] == "0"


@pytest.mark.parametrize(
    "route",
    [r for r in ROUTES if r.scope not in (PUBLIC, TASK, LINK)],
    ids=lambda route: f"{route.method} {route.path}",
)
def test_an_agent_reaches_nothing_but_reading_and_patching_its_run(api: Api, route: Route):
    """Every route that there is, with the ids of its own run and node where it takes some."""
    run_id, task = begin(api)
    values = {"run_id": run_id, "node_id": "boss", "name": "flow", "sha256": "0" * 64, "tag": "live", "n": "1"}
    path = re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "x"), route.path).removeprefix("/")
    reply = api.call(route.method, path, {} if route.method in ("POST", "PUT") else None, token=task["agent"]["token"])
    if "{run_id}" in route.path and route.scope in SCOPES:
        assert reply.status not in (401, 403), reply.text
    else:
        assert_problem(reply, 403)


def test_the_credential_ends_with_its_attempt(api: Api):
    node = {**agent(), "retry": {"max_attempts": 2, "backoff_ms": 10}}
    run_id, first = begin(api, node, {"id": "w", "type": "wait", "config": {"seconds": 3600}})
    error = {"type": "Odd", "message": "m", "retryable": True}
    settle(api, first, status="failed", error=error)
    assert_problem(patch(api, run_id, first, fine("late")), 403)
    api.clock.now += 1000
    while api.settle_batch():
        pass
    second = task_of(api)
    assert patch(api, run_id, second, fine()).status == 200
    settle(api, second)
    assert_problem(patch(api, run_id, second, fine("later")), 403)
    assert "late" not in api.get(f"runs/{run_id}").json["nodes"]


def test_an_attempt_that_ends_while_its_patch_is_planned_changes_nothing(api: Api):
    run_id, task = begin(api, None, {"id": "w", "type": "wait", "config": {"seconds": 3600}})
    save = api.services.plans.save

    def meanwhile(plan):
        save(plan)
        api.services.plans.save = save
        settle(api, task)

    api.services.plans.save = meanwhile
    assert_problem(patch(api, run_id, task, fine("late")), 403)
    assert "late" not in api.get(f"runs/{run_id}").json["nodes"]


@pytest.mark.parametrize(
    "node",
    [
        fine("x", "function", handler="other"),
        fine("x", "http", url="https://x.example"),
        fine("x") | {"compensate": {"type": "function", "config": {"handler": "other"}}},
        fine("x", "transform", pipeline=[{"step": "http_request", "url": "https://x.example"}]),
        fine("x", "function", handler="echo", params="${secret.KEY}"),
        fine("x", "function", handler="echo", params={"deep": ["${ secret.KEY }"]}),
        agent(allow={"functions": ["echo"], "node_types": ["pass"]}) | {"id": "x"},
        agent(budget={"tokens": 10}) | {"id": "x"},
        agent(budget={"tokens": 1001}, allow={"functions": ["echo"], "node_types": ["pass"]}) | {"id": "x"},
        agent(budget={"tokens": 10}, allow={"functions": ["echo", "more"], "node_types": ["pass"]}) | {"id": "x"},
        agent(budget={"tokens": 10}, allow={"functions": ["echo"], "node_types": ["http"]}) | {"id": "x"},
        agent(budget={"tokens": 10}, allow={"functions": [], "node_types": [], "secrets": ["KEY"]}) | {"id": "x"},
        agent(budget={"tokens": 10}, allow={"functions": [], "node_types": []}, tools=["http_request"]) | {"id": "x"},
    ],
)
def test_no_added_node_widens_what_the_credential_allows(api: Api, node: dict):
    """Each is what a page could talk a model into."""
    allow = {"node_types": ["pass", "transform", "function", "agent"], "functions": ["echo"]}
    run_id, task = begin(api, agent(allow=allow, budget={"tokens": 1000}))
    reply = patch(api, run_id, task, node)
    assert_problem(reply, 422)
    assert {error["code"] for error in reply.json["errors"]} == {"not_allowed"}
    assert api.meta(run_id)["rev"] == "0"


def test_an_agent_may_add_an_agent_that_is_allowed_no_more_than_itself(api: Api):
    allow = {"node_types": ["pass", "agent"], "functions": ["echo"]}
    run_id, task = begin(api, agent(allow=allow, budget={"tokens": 1000}))
    child = agent(budget={"tokens": 500}, allow={"node_types": ["pass"], "functions": ["echo"]}) | {"id": "child"}
    assert patch(api, run_id, task, child).status == 200


def test_a_secret_that_another_node_reads_cannot_be_sent_elsewhere(api: Api):
    """The node is not the agent's; only where it sends its key would change."""
    keeper = fine("keeper", "http", url="https://good.example", auth="${secret.KEY}")
    run_id, task = begin(api, agent(), keeper, edges=[{"from": "boss", "to": "keeper"}])
    operations = [{"op": "replace", "path": "/nodes/keeper/config/url", "value": "https://evil.example"}]
    reply = api.post(f"runs/{run_id}/patch", {"operations": operations}, token=task["agent"]["token"])
    assert_problem(reply, 422)
    assert reply.json["errors"][0]["code"] == "not_allowed"


def test_an_agent_allows_itself_no_more_by_changing_its_own_node(api: Api):
    run_id, task = begin(api, agent(allow={"node_types": ["pass", "agent"], "functions": []}, budget={"tokens": 9}))
    for path, value in (("allow", {}), ("allow/functions", ["echo"]), ("budget/tokens", 10), ("budget", {"usd": 1})):
        operations = [{"op": "replace", "path": f"/nodes/boss/config/{path}", "value": value}]
        reply = api.post(f"runs/{run_id}/patch", {"operations": operations}, token=task["agent"]["token"])
        assert_problem(reply, 422)
        assert {error["code"] for error in reply.json["errors"]} == {"not_allowed"}


def test_a_patch_in_an_agent_s_signal_is_bounded_as_its_credential_is(api: Api):
    run_id, task = begin(api, agent(allow={"node_types": ["pass"]}))
    operations = [{"op": "add", "path": "/nodes/-", "value": fine("x", "function", handler="echo")}]
    settle(api, task, patch={"operations": operations, "description": "d"})
    assert json.loads(api.meta(run_id)["error"])["type"] == "PatchRefused"


def test_limits_on_nodes_added_by_agents_hold_for_the_credential(api: Api):
    run_id, task = begin(api, limits={"agent_nodes": 3})
    assert patch(api, run_id, task, fine("a"), fine("b")).status == 200
    reply = patch(api, run_id, task, fine("c"), fine("d"))
    assert_problem(reply, 422)
    assert reply.json["errors"][0]["code"] == "limit_exceeded"


def test_agents_added_by_agents_are_limited_in_depth(api: Api):
    run_id, task = begin(api, limits={"patch_depth": 2})
    for depth in range(1, 4):
        node = agent() | {"id": f"child{depth}"}
        reply = patch(api, run_id, task, node)
        if depth == 3:
            break
        assert reply.status == 200
        while api.settle_batch():
            pass
        task = task_of(api)
    assert_problem(reply, 422)
    assert reply.json["errors"][0]["code"] == "limit_exceeded"


# What it tells


def test_what_an_agent_tells_is_journaled_once_for_each_key(api: Api):
    run_id, task = begin(api)
    for key in ("turn-1", "turn-1", "calls-1", "turn-1"):
        tell(api, task, key, ("agent_turn", {"n": key}))
    while api.settle_batch():
        pass
    tell(api, task, "turn-1", ("agent_turn", {"n": "again"}))
    while api.settle_batch():
        pass
    assert told(api, run_id) == [("agent_turn", "turn-1"), ("agent_turn", "calls-1")]
    [event, _] = [e for e in api.events(run_id) if e["type"] == "agent_turn"]
    assert (event["node_id"], event["attempt"], event["actor"]) == ("boss", 1, "node:boss")
    api.assert_fold_equals_store(run_id)
    settle(api, task)
    assert api.meta(run_id)["status"] == "COMPLETED"
    api.assert_fold_equals_store(run_id)


def test_what_is_told_too_late_changes_nothing(api: Api):
    run_id, task = begin(api)
    settle(api, task)
    before = api.get(f"runs/{run_id}/events").text
    tell(api, task, "turn-1", ("agent_turn", {"n": 1}))
    while api.settle_batch():
        pass
    assert api.get(f"runs/{run_id}/events").text == before
    assert api.queues.bodies(f"{SIGNALS}-dlq") == []


def test_what_is_told_in_one_batch_with_the_answer_and_a_patch_loses_nothing(api: Api):
    run_id, task = begin(api)
    tell(api, task, "turn-1", ("agent_turn", {"n": 1}))
    assert patch(api, run_id, task, fine()).status == 200
    tell(api, task, "calls-1", ("tool_called", {"n": 2}))
    settle(api, task)
    run = api.get(f"runs/{run_id}").json
    assert run["status"] == "COMPLETED"
    assert sorted(run["nodes"]) == ["boss", "new"]
    assert told(api, run_id)[:1] == [("agent_turn", 1)]
    api.assert_fold_equals_store(run_id)


def said(key: str, *numbers: int) -> dict:
    return {"key": key, "events": [{"type": "agent_turn", "data": {"n": n}} for n in numbers]}


@pytest.mark.parametrize("failed", [False, True], ids=["completed", "failed"])
def test_an_answer_that_overtakes_what_was_told_before_it_brings_it_along(api: Api, failed: bool):
    """The last turn was left out: its report came after the answer."""
    run_id, task = begin(api)
    tell(api, task, "turn-1", ("agent_turn", {"n": 1}))
    while api.settle_batch():
        pass
    more = {"status": "failed", "error": {"type": "Odd", "message": "m"}} if failed else {}
    for _ in range(2):
        settle(api, task, progress=[said("turn-1", 1), said("calls-1", 2, 3), said("turn-2", 4)], **more)
    tell(api, task, "turn-2", ("agent_turn", {"n": 4}))
    while api.settle_batch():
        pass
    assert told(api, run_id) == [("agent_turn", n) for n in (1, 2, 3, 4)]
    kinds = [event["type"] for event in api.events(run_id)]
    assert kinds.index("node_failed" if failed else "node_completed") > max(
        place for place, kind in enumerate(kinds) if kind == "agent_turn"
    )
    api.assert_fold_equals_store(run_id)


def test_what_an_answer_brings_along_is_kept_though_the_agent_has_patched_its_run(api: Api):
    run_id, task = begin(api)
    assert patch(api, run_id, task, fine()).status == 200
    settle(api, task, progress=[said("turn-1", 1), said("turn-2", 2)])
    assert told(api, run_id) == [("agent_turn", 1), ("agent_turn", 2)]
    assert api.get(f"runs/{run_id}").json["status"] == "COMPLETED"


def test_what_an_answer_brings_along_is_kept_though_the_store_is_lost(api: Api):
    run_id, task = begin(api)
    api.client.flushall()
    settle(api, task, progress=[said("turn-1", 1), said("turn-2", 2)])
    assert told(api, run_id) == [("agent_turn", 1), ("agent_turn", 2)]
    assert api.get(f"runs/{run_id}").json["status"] == "COMPLETED"


@pytest.mark.parametrize("given", ["x", {"a": 1}, [1], [{"key": "a b"}], [{"key": "k", "events": [{"type": "no"}]}]])
def test_what_an_answer_brings_along_in_another_form_is_passed_over(api: Api, given: Any):
    run_id, task = begin(api)
    settle(api, task, progress=given)
    assert told(api, run_id) == []
    assert api.get(f"runs/{run_id}").json["status"] == "COMPLETED"
    assert api.queues.bodies(f"{SIGNALS}-dlq") == []


def test_what_an_answer_brings_along_is_left_out_rather_than_that_its_attempt_fails(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    """The commit would be too large with it."""
    monkeypatch.setattr(large_values, "COMMIT_BYTES", 3_000)
    for size, kept in ((10, [("agent_turn", 1)]), (3_000, [])):
        run_id, task = begin(api)
        progress = said("turn-1", 1)
        progress["events"][0]["data"]["text"] = random.Random(1).randbytes(size).hex()
        settle(api, task, progress=[progress])
        assert api.get(f"runs/{run_id}").json["status"] == "COMPLETED"
        assert told(api, run_id) == kept
        api.assert_fold_equals_store(run_id)


def test_agents_of_a_map_say_what_they_told_before_too(api: Api):
    body = agent(task="Look at ${item}.")
    del body["id"]
    each = {"id": "each", "type": "map", "config": {"items": "${input}", "body": body}}
    run_id = api.start({"nodes": [each]}, ["x"])
    while api.settle_batch():
        pass
    settle(api, task_of(api), progress=[said("turn-1", 1)])
    assert told(api, run_id) == [("agent_turn", 1)]
    api.assert_fold_equals_store(run_id)


def test_an_undo_s_answer_brings_nothing_along_and_is_settled(api: Api):
    """It was settled by a step that had not read what it looked for."""
    undo = {"type": "queue", "config": {"queue": "work"}}
    nodes = [{"id": "a", "type": "pass", "compensate": undo}, {"id": "stop", "type": "fail"}]
    edges = [{"from": "a", "to": "stop"}]
    run_id = api.start({"on_failure": "compensate", "nodes": nodes, "edges": edges})
    while api.settle_batch():
        pass
    [message] = api.queues.receive("work")
    settle(api, json.loads(message.body), progress=[said("turn-1", 1)])
    assert (api.meta(run_id)["status"], api.meta(run_id)["rollback"]) == ("FAILED", "done")
    assert told(api, run_id) == []


def test_an_answer_brings_along_the_newest_of_what_is_told_and_no_more(api: Api):
    run_id, task = begin(api)
    settle(api, task, progress=[said(f"turn-{n}", n) for n in range(20)])
    assert told(api, run_id) == [("agent_turn", n) for n in range(12, 20)]


def test_what_is_told_of_a_paused_run_is_journaled_and_starts_nothing(api: Api):
    run_id, task = begin(api)
    assert api.post(f"runs/{run_id}/pause").status == 200
    tell(api, task, "turn-1", ("agent_turn", {"n": 1}))
    while api.settle_batch():
        pass
    assert told(api, run_id) == [("agent_turn", 1)]
    assert api.meta(run_id)["status"] == "PAUSED"


def test_what_is_told_survives_the_loss_of_the_store(api: Api):
    run_id, task = begin(api)
    tell(api, task, "turn-1", ("agent_turn", {"n": 1}))
    while api.settle_batch():
        pass
    api.client.flushall()
    for _ in range(3):
        tell(api, task, "turn-1", ("agent_turn", {"n": "again"}))
        api.clock.now += 60_000
        while api.settle_batch():
            api.clock.now += 60_000
    assert told(api, run_id) == [("agent_turn", 1)]


@pytest.mark.parametrize(
    "more",
    [
        {"key": "a b"},
        {"key": 5},
        {"key": "x" * 200},
        {"events": []},
        {"events": "x"},
        {"events": [{"type": "run_failed"}]},
        {"events": [{"type": "agent_turn", "data": 1}]},
        {"events": [{"type": "agent_turn", "data": {"x": "y" * 100_000}}]},
        {"events": [{"type": "agent_turn", "data": {}}] * 51},
    ],
)
def test_what_is_told_in_another_form_goes_to_the_dead_letters(api: Api, more: dict):
    run_id, task = begin(api)
    tell(api, task, "turn-1", ("agent_turn", {}), **more)
    while api.settle_batch():
        pass
    assert len(api.queues.bodies(f"{SIGNALS}-dlq")) == 1
    assert told(api, run_id) == []


# What it used


def test_usage_adds_up_over_attempts_and_nodes_failed_ones_included(api: Api):
    node = {**agent(), "retry": {"max_attempts": 2, "backoff_ms": 10}}
    run_id, first = begin(api, node)
    error = {"type": "Odd", "message": "m", "retryable": True}
    settle(api, first, status="failed", error=error, metadata={"tokens_used": 100, "usd": 0.1})
    api.clock.now += 1000
    while api.settle_batch():
        pass
    second = task_of(api)
    for _ in range(2):
        settle(api, second, metadata={"tokens_used": 23, "usd": 0.2})
    run = api.get(f"runs/{run_id}").json
    assert run["status"] == "COMPLETED"
    assert run["usage"] == {"tokens": 123, "usd": pytest.approx(0.3)}
    api.assert_fold_equals_store(run_id)


@pytest.mark.parametrize("bad", [-5, "many", None, True, 1e30, [1], {"a": 1}])
def test_usage_that_is_no_count_is_passed_over(api: Api, bad: Any):
    run_id, task = begin(api)
    settle(api, task, metadata={"tokens_used": bad, "usd": bad})
    run = api.get(f"runs/{run_id}").json
    assert run["status"] == "COMPLETED"
    assert run["usage"]["tokens"] in (0, bad if isinstance(bad, int) and bad is not True and bad > 0 else 0)


def test_usage_is_the_same_whatever_the_order(api: Api):
    amounts = [0.1, 0.2, 1e-9, 3.3, 0.7]
    found = set()
    for seed in range(3):
        random.Random(seed).shuffle(amounts)
        nodes = [agent() | {"id": f"a{n}"} for n in range(len(amounts))]
        run_id = api.start({"nodes": nodes})
        while api.settle_batch():
            pass
        for message, usd in zip(api.queues.receive("tasks-agent"), amounts, strict=True):
            api.queues.delete("tasks-agent", message.receipt)
            settle(api, json.loads(message.body), metadata={"usd": usd})
        found.add(api.get(f"runs/{run_id}").json["usage"]["usd"])
    assert found == {4.300000001}


def test_an_execution_shows_its_transcript_also_where_it_failed(api: Api):
    node = {**agent(), "retry": {"max_attempts": 2, "backoff_ms": 10}}
    run_id, first = begin(api, node)
    refs = [api.artifacts.put(f'"{n}"'.encode()) for n in range(2)]
    error = {"type": "Odd", "message": "m", "retryable": True}
    settle(api, first, status="failed", error=error, metadata={"transcript": refs[0]})
    api.clock.now += 1000
    while api.settle_batch():
        pass
    settle(api, task_of(api), metadata={"transcript": refs[1]})
    executions = api.get(f"runs/{run_id}/nodes/boss").json["executions"]
    assert [execution["transcript"] for execution in executions] == [{"$artifact": ref} for ref in refs]
    assert api.get(f"artifacts/{refs[0].rpartition('/')[2]}").status == 303
    api.assert_fold_equals_store(run_id)


def test_agents_of_a_map_have_a_credential_each_and_are_bounded_by_the_body(api: Api):
    body = agent(task="Look at ${item}.", allow={"node_types": ["pass"]})
    del body["id"]
    each = {"id": "each", "type": "map", "config": {"items": "${input}", "body": body}}
    run_id = api.start({"nodes": [each]}, ["x", "y"])
    while api.settle_batch():
        pass
    tasks = [json.loads(message.body) for message in api.queues.receive("tasks-agent")]
    attempts = {verify_token(SECRET, task["agent"]["token"], api.clock.now_ms()).attempt for task in tasks}
    assert attempts == {"each@[0]#0.1", "each@[1]#0.1"}
    first, second = sorted(tasks, key=lambda task: task["index"])
    assert first["config"]["task"] == "Look at x."
    assert first["agent"]["data"] == [[8, 9]]
    tell(api, first, "turn-1", ("agent_turn", {"n": 1}))
    settle(api, first, metadata={"tokens_used": 5})
    assert told(api, run_id) == [("agent_turn", 1)]
    assert_problem(patch(api, run_id, first, fine("a")), 403)
    assert patch(api, run_id, second, fine("b")).status == 200
    operations = [{"op": "add", "path": "/nodes/-", "value": fine("x", "function", handler="echo")}]
    settle(api, second, patch={"operations": operations, "description": "d"}, metadata={"tokens_used": 7})
    run = api.get(f"runs/{run_id}").json
    assert run["usage"]["tokens"] == 12
    assert run["error"]["type"] == "PatchRefused"
    api.assert_fold_equals_store(run_id)
