"""Nodes that wait for people and for events from outside."""

from __future__ import annotations

import pytest
import redis

from chalicelib.domain.errors import Conflict, Forbidden, InvalidInput
from chalicelib.engine.approvals import Decision, decide
from chalicelib.engine.controls import pause_run, resume_run
from chalicelib.engine.redo import skip_node
from chalicelib.engine.run_events import send_event
from chalicelib.engine.supervise import detect_timeouts, sweep
from tests.engine.harness import Harness

ASK = {
    "nodes": [
        {"id": "ask", "type": "human", "config": {"message": "Ship ${input.id}?"}},
        {"id": "ship", "type": "function", "config": {"handler": "echo", "params": "${ctx.ask.output.by}"}},
    ],
    "edges": [{"from": "ask", "to": "ship"}],
}
EVENT = {
    "nodes": [
        {"id": "paid", "type": "event", "config": {"name": "paid-${input.id}"}},
        {"id": "ship", "type": "function", "config": {"handler": "echo", "params": "${output}"}},
    ],
    "edges": [{"from": "paid", "to": "ship"}],
}


@pytest.fixture
def harness(client: redis.Redis) -> Harness:
    return Harness(client)


def asked(harness: Harness, config: dict | None = None, **node: object) -> str:
    human = {**ASK["nodes"][0], **node, "config": {**ASK["nodes"][0]["config"], **(config or {})}}
    document = {"nodes": [human, ASK["nodes"][1]], "edges": ASK["edges"]}
    run_id = harness.start(document, {"id": 7})
    harness.drain()
    assert harness.meta(run_id)["status"] == "RUNNING"
    return run_id


def vote(harness: Harness, run_id: str, by: str = "ann", approved: bool = True, **more: object) -> dict:
    answer = decide(harness.services, Decision(run_id, "ask", by, approved, **more))
    harness.drain()
    return answer


def ended(harness: Harness, run_id: str) -> tuple[str, object]:
    harness.assert_fold_equals_store(run_id)
    meta = harness.meta(run_id)
    return meta["status"], harness.output(run_id) if meta["status"] == "COMPLETED" else meta.get("error")


def test_a_person_approves_and_the_run_goes_on(harness: Harness) -> None:
    run_id = asked(harness)
    answer = vote(harness, run_id, comment="fine", data={"n": 1})
    assert (answer["decided"], [one["by"] for one in answer["decisions"]]) == (True, ["ann"])
    assert ended(harness, run_id) == ("COMPLETED", {"ship": "ann"})
    waiting = next(e for e in harness.events(run_id) if e["type"] == "node_waiting")
    assert (waiting["node_id"], waiting["data"]["message"]) == ("ask", "Ship 7?")


def test_a_quorum_needs_as_many_people_and_each_decides_once(harness: Harness) -> None:
    run_id = asked(harness, {"approvers": ["ann", "bob", "cy"], "quorum": 2})
    assert vote(harness, run_id, "ann")["decided"] is False
    with pytest.raises(Conflict, match="before"):
        vote(harness, run_id, "ann", approved=False)
    with pytest.raises(Forbidden):
        vote(harness, run_id, "eve")
    assert vote(harness, run_id, "bob", approved=False)["decided"] is False
    assert vote(harness, run_id, "cy")["decided"] is True
    assert ended(harness, run_id)[0] == "COMPLETED"


def test_a_quorum_out_of_reach_rejects(harness: Harness) -> None:
    run_id = asked(harness, {"approvers": ["ann", "bob", "cy"], "quorum": 2})
    vote(harness, run_id, "ann", approved=False)
    assert vote(harness, run_id, "bob", approved=False, comment="no")["decided"] is True
    status, error = ended(harness, run_id)
    assert status == "FAILED" and '"Rejected"' in error and "bob rejected it: no" in error


def test_a_rejection_may_go_on(harness: Harness) -> None:
    run_id = asked(harness, {"on_reject": "continue"})
    vote(harness, run_id, approved=False)
    assert ended(harness, run_id)[0] == "COMPLETED"


def test_data_that_do_not_fit_the_form_change_nothing(harness: Harness) -> None:
    form = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    run_id = asked(harness, {"form": form})
    with pytest.raises(InvalidInput) as refused:
        vote(harness, run_id, data={"n": "x"})
    assert refused.value.problems[0].path == "/data/n"
    assert vote(harness, run_id, data={"n": 3})["decided"]
    assert ended(harness, run_id)[0] == "COMPLETED"


@pytest.mark.parametrize(("policy", "status"), [("approve", "COMPLETED"), ("reject", "FAILED"), ("fail", "FAILED")])
def test_nobody_answers_in_time(harness: Harness, policy: str, status: str) -> None:
    run_id = asked(harness, {"on_timeout": policy}, timeout_ms=5000)
    harness.clock.now += 6000
    assert detect_timeouts(harness.services) == 1
    harness.drain()
    assert ended(harness, run_id)[0] == status
    with pytest.raises(Conflict):
        vote(harness, run_id)


def test_the_last_vote_is_found_by_the_sweep_where_its_client_died(harness: Harness) -> None:
    run_id = asked(harness)
    decide(harness.services, Decision(run_id, "ask", "ann", True))
    for message in harness.queues.receive("completion-signals", 10):
        harness.queues.delete("completion-signals", message.receipt)
    harness.clock.now += 120_000
    for tick in range(15):
        sweep(harness.services, tick)
    harness.drain()
    assert ended(harness, run_id)[0] == "COMPLETED"


def test_votes_survive_the_loss_of_the_store(harness: Harness) -> None:
    run_id = asked(harness, {"quorum": 2})
    vote(harness, run_id, "ann")
    harness.client.flushall()
    assert vote(harness, run_id, "bob")["decided"]
    assert ended(harness, run_id)[0] == "COMPLETED"


def test_a_request_that_is_repeated_votes_once(harness: Harness) -> None:
    run_id = asked(harness, {"quorum": 2})
    assert vote(harness, run_id, once="k")["decided"] is False
    assert vote(harness, run_id, once="k")["decided"] is False
    vote(harness, run_id, "bob")
    assert vote(harness, run_id, once="k")["decided"] is True
    assert ended(harness, run_id)[0] == "COMPLETED"


def test_a_waiting_person_may_be_skipped(harness: Harness) -> None:
    run_id = asked(harness)
    skip_node(harness.services, run_id, "ask", {"by": "nobody"}, "ann")
    harness.drain()
    assert ended(harness, run_id) == ("COMPLETED", {"ship": "nobody"})


def test_a_decision_counts_while_the_run_is_paused_and_what_follows_is_held(harness: Harness) -> None:
    run_id = asked(harness)
    pause_run(harness.services, run_id, "op")
    assert vote(harness, run_id)["decided"]
    assert harness.meta(run_id)["status"] == "PAUSED" and harness.tasks == []
    resume_run(harness.services, run_id, "op")
    harness.drain()
    assert ended(harness, run_id)[0] == "COMPLETED"


def test_a_node_that_began_to_wait_in_a_paused_run_times_out(harness: Harness) -> None:
    run_id = harness.start({"nodes": [{**ASK["nodes"][0], "timeout_ms": 5000}]}, {"id": 1})
    pause_run(harness.services, run_id, "op")
    harness.drain()
    resume_run(harness.services, run_id, "op")
    harness.drain()
    harness.clock.now += 10_000
    detect_timeouts(harness.services)
    harness.drain()
    assert ended(harness, run_id)[0] == "FAILED"


def test_an_event_wakes_the_node_that_waits(harness: Harness) -> None:
    run_id = harness.start(EVENT, {"id": 3})
    harness.drain()
    assert send_event(harness.services, run_id, "paid-3", {"eur": 5}, "shop")["number"] == 1
    harness.drain()
    assert ended(harness, run_id) == ("COMPLETED", {"ship": {"eur": 5}})


def test_an_event_may_come_before_anybody_waits(harness: Harness) -> None:
    run_id = harness.start(EVENT, {"id": 3})
    send_event(harness.services, run_id, "paid-3", "early", "shop")
    send_event(harness.services, run_id, "other", "x", "shop")
    harness.drain()
    assert ended(harness, run_id) == ("COMPLETED", {"ship": "early"})


def test_each_event_wakes_one_waiter_in_order(harness: Harness) -> None:
    names = ["a", "b", "c"]
    nodes = [{"id": name, "type": "event", "config": {"name": "tick"}} for name in names]
    run_id = harness.start({"nodes": nodes})
    send_event(harness.services, run_id, "tick", 1, "shop")
    harness.drain()
    assert send_event(harness.services, run_id, "tick", 2, "shop", once="k")["number"] == 2
    assert send_event(harness.services, run_id, "tick", 2, "shop", once="k")["number"] == 2
    send_event(harness.services, run_id, "tick", 3, "shop")
    harness.drain()
    assert ended(harness, run_id) == ("COMPLETED", {"a": 1, "b": 2, "c": 3})
    with pytest.raises(Conflict):
        send_event(harness.services, run_id, "tick", 4, "shop")


def test_a_large_event_travels_by_reference(harness: Harness) -> None:
    run_id = harness.start(EVENT, {"id": 3})
    send_event(harness.services, run_id, "paid-3", "x" * 100_000, "shop")
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    assert max(len(item.text) for item in harness.journal.read(run_id, 0, 100)) < 110_000
    harness.assert_fold_equals_store(run_id)


def test_early_events_survive_the_loss_of_the_store(harness: Harness) -> None:
    run_id = harness.start(EVENT, {"id": 3})
    send_event(harness.services, run_id, "paid-3", 1, "shop")
    harness.client.flushall()
    harness.drain()
    for tick in range(15):
        sweep(harness.services, tick)
    harness.drain()
    assert ended(harness, run_id) == ("COMPLETED", {"ship": 1})


def test_an_event_in_a_loop_takes_the_next_one_each_time(harness: Harness) -> None:
    loop = {"condition": "iteration < 3", "loop_back_to": "tick"}
    document = {
        "vars": {"seen": []},
        "nodes": [
            {
                "id": "tick",
                "type": "event",
                "config": {"name": "tick"},
                "loop": loop,
                "set": {"seen": "${vars.seen + [output]}"},
            }
        ],
        "output": "${vars.seen}",
    }
    run_id = harness.start(document)
    for number in range(3):
        send_event(harness.services, run_id, "tick", number, "shop")
        harness.drain()
    assert ended(harness, run_id) == ("COMPLETED", [0, 1, 2])
