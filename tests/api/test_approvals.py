"""What waits for people, and their decisions, over HTTP."""

from __future__ import annotations

import pytest

from chalicelib.domain.journal import timestamp
from chalicelib.engine.approval_list import MAX_SCAN
from chalicelib.engine.approvals import MAX_COMMENT, MAX_DATA
from chalicelib.engine.directory_keys import approval_key
from chalicelib.engine.directory_keys import approvals as partition
from tests.api.client import Api
from tests.api.people import FORM, approvals, asks, decide, dying, run, started
from tests.engine.hazards import recover


def test_what_waits_is_listed_with_all_that_a_person_needs(api: Api) -> None:
    run_id = started(api, asks({"approvers": ["ann", "bob"], "form": FORM, "quorum": 2}, timeout_ms=60_000))
    decide(api, run_id, "bob", data={"n": 1})
    [item] = approvals(api)
    at = timestamp(api.clock.now_ms())
    node = api.get(f"runs/{run_id}/nodes/ask").json["executions"][0]
    assert item == {
        "run_id": run_id,
        "workflow": {"name": "ship", "version": None},
        "node_id": "ask",
        "job_id": node["job_id"],
        "iteration": 1,
        "loops": {},
        "message": "Ship 7?",
        "form": FORM,
        "approvers": ["ann", "bob"],
        "quorum": 2,
        "decisions": [{"by": "bob", "approved": True, "comment": None, "data": {"n": 1}, "at": at}],
        "since": "2027-01-15T08:00:00.000Z",
        "expires_at": "2027-01-15T08:01:00.000Z",
        "links": {
            "run": f"https://graft.test/api/v1/runs/{run_id}",
            "node": f"https://graft.test/api/v1/runs/{run_id}/nodes/ask",
            "decision": f"https://graft.test/api/v1/runs/{run_id}/nodes/ask/decision",
        },
    }
    assert node["input"] == {"message": "Ship 7?", "approvers": ["ann", "bob"], "form": FORM, "quorum": 2}


def test_the_list_holds_what_still_waits_and_forgets_the_rest(api: Api) -> None:
    gone, cancelled, kept = (started(api, asks()) for _ in range(3))
    decide(api, gone)
    api.drain()
    api.post(f"runs/{cancelled}/cancel")
    assert len(api.directory.query(partition("acme"))) == 3
    assert [item["run_id"] for item in approvals(api)] == [kept]
    assert [record["run_id"] for _, record in api.directory.query(partition("acme"))] == [kept]


def test_mine_are_those_that_the_caller_may_still_decide(api: Api) -> None:
    anybody = started(api, asks({"quorum": 2}))
    bobs = started(api, asks({"approvers": ["bob"]}))
    assert {item["run_id"] for item in approvals(api, "?mine=true")} == {anybody}
    assert {item["run_id"] for item in approvals(api, "?mine=true", sub="bob")} == {anybody, bobs}
    decide(api, anybody, "bob")
    assert [item["run_id"] for item in approvals(api, "?mine=true", sub="bob")] == [bobs]
    assert len(approvals(api, "?mine=false", sub="bob")) == 2


def test_a_decided_node_that_nobody_has_settled_yet_is_nobodys(api: Api) -> None:
    run_id = started(api, asks())
    decide(api, run_id)
    assert approvals(api, "?mine=true", sub="bob") == []


def test_a_tenant_and_a_token_of_one_run_see_their_own(api: Api) -> None:
    mine, other = started(api, asks()), started(api, asks())
    stranger = started(api, asks(), token=api.token(tenant="other"))
    assert [item["run_id"] for item in approvals(api, tenant="other")] == [stranger]
    for run_id, seen in ((mine, [mine]), (other, [other]), (stranger, []), ("none", [])):
        assert [item["run_id"] for item in approvals(api, run_id=run_id)] == seen


def test_a_run_that_the_store_lost_is_still_listed(api: Api) -> None:
    run_id = started(api, asks())
    api.client.flushall()
    assert [item["run_id"] for item in approvals(api)] == [run_id]
    assert decide(api, run_id).status == 200


def test_an_entry_that_the_run_does_not_know_yet_is_kept(api: Api) -> None:
    """The store fell back to before the node waited; the journal knows better, and the rebuild makes it so."""
    run_id = started(api, asks())
    api.directory.put(approval_key("acme", 1, run_id, "later@#0.1"), {"run_id": run_id, "token": "later@#0.1"})
    assert len(approvals(api)) == 1
    assert len(api.directory.query(partition("acme"))) == 2


def test_pages_follow_one_another_and_work_is_bounded(api: Api) -> None:
    runs = [started(api, asks()) for _ in range(5)]
    found, cursor = [], ""
    while True:
        page = api.get(f"approvals?limit=2{cursor}").json
        found += [item["run_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor'].replace('#', '%23')}"
    assert sorted(found) == sorted(runs)
    for number in range(MAX_SCAN + 10):
        key = approval_key("acme", 5 + number, f"gone{number}", "ask@#0.1")
        api.directory.put(key, {"run_id": f"gone{number}", "token": "ask@#0.1"})
    first = api.get("approvals").json
    assert first["items"] == [] and first["next_cursor"] is not None
    assert len(api.get("approvals").json["items"]) == 5, "the stale ones were removed on the way"


@pytest.mark.parametrize("query", ["mine=yes", "limit=0", "limit=201", "cursor=x", "cursor=%00", "cursor=1%23a%23b"])
def test_a_query_that_makes_no_sense_is_refused(api: Api, query: str) -> None:
    assert api.get(f"approvals?{query}").status == 422


def test_a_decision_answers_what_it_came_to(api: Api) -> None:
    run_id = started(api, asks({"quorum": 2}))
    first = decide(api, run_id, comment="fine", data={"x": 1})
    assert first.status == 200
    assert (first.json["decided"], first.json["approved"], first.json["node_id"]) == (False, True, "ask")
    assert decide(api, run_id).status == 409
    assert decide(api, run_id, "bob", comment=None).json["decided"] is True
    api.drain()
    output = run(api, run_id)["output"]["ship"]
    assert (output["by"], [one["by"] for one in output["decisions"]]) == ("bob", ["ann", "bob"])
    assert decide(api, run_id, "cy").status == 409


def test_who_may_not_decide_is_told(api: Api) -> None:
    run_id = started(api, asks({"approvers": ["bob"]}))
    assert decide(api, run_id, "ann").status == 403
    assert api.post(f"runs/{run_id}/nodes/none/decision", {"approved": True}).status == 404
    assert api.post(f"runs/{run_id}/nodes/ship/decision", {"approved": True}).status == 409
    assert api.post("runs/none/nodes/ask/decision", {"approved": True}).status == 404


def test_data_are_checked_against_the_form(api: Api) -> None:
    run_id = started(api, asks({"form": FORM}))
    for data, path in (({"n": "x"}, "/data/n"), ({}, "/data"), (None, "/data")):
        reply = decide(api, run_id, data=data)
        assert (reply.status, reply.json["errors"][0]["path"]) == (422, path)
    assert decide(api, run_id, data={"n": 1}).json["decided"] is True


BAD = [
    ({}, 422, "/approved"),
    ({"approved": "yes"}, 422, "/approved"),
    ({"approved": 1}, 422, "/approved"),
    ({"approved": None}, 422, "/approved"),
    ({"approved": True, "comment": 5}, 422, "/comment"),
    ({"approved": True, "comment": "x" * (MAX_COMMENT + 1)}, 422, "/comment"),
    ({"approved": True, "job_id": ["x"]}, 422, "/job_id"),
    ({"approved": True, "by": "bob"}, 422, "/by"),
    ({"approved": True, "job_id": "nonsense"}, 409, "/job_id"),
    ({"approved": True, "data": "x" * MAX_DATA}, 413, None),
    ([], 422, ""),
]


@pytest.mark.parametrize(("body", "status", "path"), BAD)
def test_a_decision_that_breaks_a_rule_changes_nothing(api: Api, body: object, status: int, path: str | None) -> None:
    run_id = started(api, asks())
    reply = api.post(f"runs/{run_id}/nodes/ask/decision", body)
    assert reply.status == status, reply.text
    assert path is None or reply.json["errors"][0]["path"] == path
    assert approvals(api)[0]["decisions"] == []


def test_of_several_executions_one_is_named_by_its_job(api: Api) -> None:
    """An iteration that a failed neighbour left behind still waits when the next one asks."""
    document = {
        "nodes": [
            {"id": "s", "type": "pass"},
            {"id": "ask", "type": "human", "config": {"message": "${iteration}?"}},
            {"id": "go", "type": "pass"},
            {"id": "j", "type": "pass", "join": "any"},
            {"id": "l", "type": "loop", "loop": {"condition": "iteration < 2", "loop_back_to": "s"}},
            {"id": "end", "type": "human", "config": {"message": "End?"}},
        ],
        "edges": [
            {"from": "s", "to": "ask"},
            {"from": "s", "to": "go"},
            {"from": "ask", "to": "j"},
            {"from": "go", "to": "j"},
            {"from": "j", "to": "l"},
            {"from": "l", "to": "end"},
        ],
    }
    run_id = started(api, document)
    reply = decide(api, run_id)
    assert reply.status == 409 and len(reply.json["errors"]) == 2
    waiting = {item["message"]: item for item in approvals(api)}
    assert waiting["2?"]["loops"] == {"l": 2}
    assert {error["message"] for error in reply.json["errors"]} == {waiting[f"{n}?"]["job_id"] for n in (1, 2)}
    assert decide(api, run_id, job_id=waiting["2?"]["job_id"]).json["job_id"] == waiting["2?"]["job_id"]
    api.drain()
    assert {item["message"] for item in approvals(api)} == {"1?", "End?"}
    assert decide(api, run_id, job_id=waiting["2?"]["job_id"]).status == 409
    assert decide(api, run_id).status == 200


POINTS = [
    ("store", "commit", False),
    ("store", "commit", True),
    ("journal", "append", False),
    ("journal", "append", True),
    ("store", "acknowledge", False),
    ("queues", "send", False),
    ("queues", "send", True),
    ("directory", "put", False),
]


@pytest.mark.parametrize("wipe", [False, True], ids=["", "and the store is lost"])
@pytest.mark.parametrize(("port", "name", "after"), POINTS)
def test_a_repeat_of_a_decision_that_died_is_that_decision(
    api: Api, port: str, name: str, after: bool, wipe: bool
) -> None:
    run_id = started(api, asks({"quorum": 2}))
    decide(api, run_id, "bob")
    dying(api, port, name, lambda: decide(api, run_id, key="k"), after=after)
    if wipe:
        api.client.flushall()
    again = decide(api, run_id, key="k")
    assert (again.status, again.json["decided"]) == (200, True), again.text
    assert [vote["by"] for vote in again.json["decisions"]] == ["bob", "ann"]
    api.client.flushall()
    api.drain()
    assert decide(api, run_id, key="k").text == again.text
    recover(api)
    assert [vote["by"] for vote in run(api, run_id)["output"]["ship"]["decisions"]] == ["bob", "ann"]


def test_a_repeat_after_the_run_has_ended_and_gone_is_still_the_first_decision(api: Api) -> None:
    run_id = started(api, asks())
    dying(api, "directory", "put", lambda: decide(api, run_id, key="k", comment="c"))
    api.drain()
    api.retire(run_id)
    again = decide(api, run_id, key="k", comment="c")
    assert (again.status, again.json["decided"], again.json["decisions"][0]["comment"]) == (200, True, "c")


def test_a_vote_is_in_the_journal_before_its_repeat_is_answered(api: Api) -> None:
    """HAZARDS 18: the first try stood in the store alone."""
    run_id = started(api, asks({"quorum": 2}))
    dying(api, "journal", "append", lambda: decide(api, run_id, key="k"))
    assert decide(api, run_id, key="k").status == 200
    api.client.flushall()
    assert [vote["by"] for vote in approvals(api)[0]["decisions"]] == ["ann"]


def test_each_item_of_a_map_asks_by_itself(api: Api) -> None:
    body = {"type": "human", "config": {"message": "${item}?", "form": FORM}, "timeout_ms": 60_000}
    document = {
        "nodes": [{"id": "ask", "type": "map", "config": {"items": "${input.names}", "body": body}}],
        "output": "${ctx.ask.output.map(one, one.data.n)}",
    }
    reply = api.post("runs", {"workflow": document, "input": {"names": ["x", "y"]}})
    api.drain()
    run_id = reply.json["run_id"]
    waiting = {item["index"]: item for item in approvals(api)}
    assert [waiting[index]["message"] for index in (0, 1)] == ["x?", "y?"]
    assert waiting[1]["expires_at"] == "2027-01-15T08:01:00.000Z"
    assert decide(api, run_id, data={"n": 1}).status == 409
    for index in (1, 0):
        assert decide(api, run_id, data={"n": index}, job_id=waiting[index]["job_id"]).status == 200
        api.drain()
    assert run(api, run_id)["output"] == [0, 1]
