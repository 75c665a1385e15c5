"""What `explain` and the view of a node say of nodes that wait for people and events."""

from __future__ import annotations

from chalicelib.engine.approvals import Decision, decide
from chalicelib.engine.redo import skip_node
from chalicelib.engine.run_events import send_event
from chalicelib.engine.supervise import detect_timeouts
from tests.engine.harness import Harness
from tests.engine.patching import patch, replace
from tests.engine.test_explain import codes, explained
from tests.engine.test_waiting import EVENT, asked


def test_a_person_s_node_shows_who_may_decide_and_what_is_missing(harness: Harness) -> None:
    run_id = asked(harness, {"approvers": ["ann", "bob", "cy"], "quorum": 2}, timeout_ms=60_000)
    decide(harness.services, Decision(run_id, "ask", "bob", True, "fine"))
    decide(harness.services, Decision(run_id, "ask", "cy", False))
    answer = explained(harness, run_id)
    [entry] = answer["waiting"]
    assert (entry["waits_for"], entry["message"], entry["approvers"]) == ("decision", "Ship 7?", ["ann", "bob", "cy"])
    assert [entry[name] for name in ("quorum", "approved", "rejected", "missing")] == [2, 1, 1, 1]
    assert [(one["by"], one["approved"]) for one in entry["decisions"]] == [("bob", True), ("cy", False)]
    assert (entry["since"], entry["deadline"]) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:01:00.000Z")
    assert entry["moved_by"] == "1 more approval, by ann: POST /runs/{id}/nodes/{node}/decision."
    assert answer["summary"] == "The run is RUNNING and waits for 1 decision." and answer["problems"] == []
    decide(harness.services, Decision(run_id, "ask", "ann", True))
    assert explained(harness, run_id)["waiting"][0]["moved_by"].startswith("It is decided")


def test_anybody_may_decide_where_no_approvers_are_named(harness: Harness) -> None:
    [entry] = explained(harness, asked(harness, {"quorum": 2}))["waiting"]
    assert (entry["approvers"], entry["deadline"]) == (None, None)
    assert entry["moved_by"].startswith("2 more approvals, by anybody with the scope approvals")


def test_many_approvers_are_named_in_part(harness: Harness) -> None:
    run_id = asked(harness, {"approvers": [f"p{n}" for n in range(300)]})
    [entry] = explained(harness, run_id)["waiting"]
    assert len(entry["approvers"]) == 50 and "p4 and 295 more" in entry["moved_by"]


def test_a_deadline_that_a_patch_moved_holds_from_the_next_time_on(harness: Harness) -> None:
    run_id = asked(harness, timeout_ms=60_000)
    patch(harness, run_id, replace("/nodes/ask/timeout_ms", 1000))
    assert explained(harness, run_id)["waiting"][0]["deadline"] == "2027-01-15T08:01:00.000Z"


def test_a_missed_deadline_is_a_problem(harness: Harness) -> None:
    run_id = asked(harness, timeout_ms=1000)
    harness.clock.now += 61_001
    assert codes(explained(harness, run_id)) == ["overdue"]


def test_an_event_node_shows_its_name_and_what_waits_under_others(harness: Harness) -> None:
    run_id = harness.start(EVENT, {"id": 3})
    for name in ("other", "piad-3", "other", "a|b"):
        send_event(harness.services, run_id, name, 1, "shop")
    harness.drain()
    answer = explained(harness, run_id)
    [entry] = answer["waiting"]
    assert (entry["waits_for"], entry["event"]) == ("event", "paid-3")
    assert entry["buffered"] == {"a|b": 1, "other": 2, "piad-3": 1}
    assert codes(answer) == ["other_event"] and "'piad-3'" in answer["problems"][0]["message"]


def test_names_that_are_far_apart_are_no_slip(harness: Harness) -> None:
    run_id = harness.start(EVENT, {"id": 3})
    send_event(harness.services, run_id, "shipment", 1, "shop")
    harness.drain()
    assert codes(explained(harness, run_id)) == []


def test_a_failed_event_node_that_is_about_to_be_skipped_is_explained_and_skipped(harness: Harness) -> None:
    """It waits with nothing to wait for: a look at it used to break the step."""
    event = {**EVENT["nodes"][0], "timeout_ms": 1000}
    run_id = harness.start({**EVENT, "nodes": [event, EVENT["nodes"][1]]}, {"id": 3})
    harness.drain()
    harness.clock.now += 2000
    detect_timeouts(harness.services)
    harness.drain()
    assert harness.meta(run_id)["status"] == "FAILED"
    skip_node(harness.services, run_id, "paid", {"eur": 1}, "ann")
    assert explained(harness, run_id)["waiting"][0]["waits_for"] == "coordinator"
    harness.drain()
    assert harness.output(run_id) == {"ship": {"eur": 1}}


def test_a_failed_person_s_node_is_skipped_and_asks_nobody(harness: Harness) -> None:
    run_id = asked(harness)
    decide(harness.services, Decision(run_id, "ask", "ann", False))
    harness.drain()
    assert harness.meta(run_id)["status"] == "FAILED"
    skip_node(harness.services, run_id, "ask", {"by": "x"}, "ann")
    harness.drain()
    assert harness.output(run_id) == {"ship": "x"}
