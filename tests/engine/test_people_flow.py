"""Human and event nodes in loops, after patches, forks, reruns and redrives, by timeouts, and in cancelled runs."""

from __future__ import annotations

import json

import pytest

from chalicelib.domain.errors import Conflict, Forbidden
from chalicelib.engine.approvals import Decision, decide
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.forks import ForkRequest, fork_run
from chalicelib.engine.redo import redrive_run, rerun_node
from chalicelib.engine.run_events import send_event
from chalicelib.engine.supervise import detect_timeouts
from tests.engine.harness import Harness
from tests.engine.patching import add_edge, add_node, edges, function, patch, problem, refused, replace
from tests.engine.people import begin, ended, event, human, nodes_waiting, pass_time, send, vote, waiting

TWICE = {"condition": "iteration < 2", "loop_back_to": "ask"}


def by(node: str = "ask") -> str:
    return f"${{ctx.{node}.output.by}}"


def fork(harness: Harness, run_id: str, name: str = "fork", **where: object) -> str:
    return fork_run(harness.services, ForkRequest("acme", "ann", run_id, **where), name)


def test_each_iteration_asks_anew_and_old_votes_do_not_count(harness: Harness) -> None:
    ask = human(config={"message": "round ${iteration}", "quorum": 2}, loop=TWICE)
    run_id = begin(harness, {"nodes": [{**ask, "set": {"seen": "${vars.seen + [output.by]}"}}], "vars": {"seen": []},
                             "output": "${vars.seen}"})  # fmt: skip
    vote(harness, run_id, "ann")
    vote(harness, run_id, "bob")
    assert list(waiting(harness, run_id).values()) == ["round 2"]
    assert vote(harness, run_id, "ann")["decided"] is False, "her vote of round 1 counts no more"
    assert vote(harness, run_id, "cy")["decided"] is True
    assert ended(harness, run_id) == ["bob", "cy"]


def test_nested_loops_ask_once_per_turn_of_the_inner_one(harness: Harness) -> None:
    document = {
        "nodes": [
            human(config={"message": "${iteration}"}, loop=TWICE, set={"seen": "${vars.seen + [output.by]}"}),
            {"id": "outer", "type": "loop", "loop": {"condition": "iteration < 2", "loop_back_to": "ask"}},
        ],
        "edges": edges("ask>outer"),
        "vars": {"seen": []},
        "output": "${vars.seen}",
    }
    run_id = begin(harness, document)
    scopes = []
    for number in range(4):
        [(token, _)] = waiting(harness, run_id).items()
        scopes.append(token.split("@")[1].split("#")[0])
        vote(harness, run_id, f"p{number}")
    assert scopes == ["outer=1/ask=1", "outer=1/ask=2", "outer=2/ask=1", "outer=2/ask=2"]
    assert ended(harness, run_id) == ["p0", "p1", "p2", "p3"]


def test_what_was_asked_holds_until_it_is_asked_anew(harness: Harness) -> None:
    """A patch of a waiting node's config: quorum, approvers, policy and timeout are of the question as it was asked."""
    ask = human(config={"message": "old", "quorum": 2, "approvers": ["ann", "bob"]}, loop=TWICE, timeout_ms=60_000)
    run_id = begin(harness, {"nodes": [ask]})
    vote(harness, run_id, "ann")
    config = {"message": "new", "quorum": 1, "approvers": ["cy"], "on_timeout": "approve"}
    patch(harness, run_id, replace("/nodes/ask/config", config), replace("/nodes/ask/timeout_ms", 1000))
    with pytest.raises(Forbidden):
        vote(harness, run_id, "cy")
    pass_time(harness, 2000)
    assert list(waiting(harness, run_id).values()) == ["old"]
    assert vote(harness, run_id, "bob")["decided"] is True
    assert list(waiting(harness, run_id).values()) == ["new"]
    with pytest.raises(Forbidden):
        vote(harness, run_id, "ann")
    pass_time(harness, 2000)
    assert ended(harness, run_id)["ask"]["approved"] is True


@pytest.mark.parametrize("warm", [True, False])
def test_the_policy_of_a_rejection_is_that_of_the_question(harness: Harness, warm: bool) -> None:
    run_id = begin(harness, {"nodes": [human(), {"id": "z", "type": "pass"}], "edges": edges("ask>z")})
    patch(harness, run_id, replace("/nodes/ask/config", {"message": "?", "on_reject": "continue"}))
    if not warm:
        harness.client.flushall()
    vote(harness, run_id, approved=False)
    assert '"Rejected"' in ended(harness, run_id, "FAILED")


def test_a_person_added_behind_a_finished_node_is_asked_at_once(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [function("a", 1), event()]})
    assert nodes_waiting(harness, run_id) == ["e"]
    patch(harness, run_id, add_node(human(config={"message": "${ctx.a.output}?"})), add_edge("a>ask"))
    harness.drain()
    assert sorted(waiting(harness, run_id).values()) == ["1?", "e"]
    vote(harness, run_id)
    send(harness, run_id, 5)
    assert ended(harness, run_id)["e"] == 5


def test_an_event_node_added_later_takes_what_came_before_it(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [human()]})
    send(harness, run_id, 1)
    send(harness, run_id, 2)
    patch(harness, run_id, add_node(event()))
    harness.drain()
    vote(harness, run_id)
    assert ended(harness, run_id)["e"] == 1


def test_a_node_that_waits_may_not_be_removed_nor_become_another(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [human(), event()]})
    assert problem(refused(harness, run_id, {"op": "remove", "path": "/nodes/ask"}))[0] == "node_started"
    refused(harness, run_id, replace("/nodes/e", human("e")))


def test_a_fork_asks_anew_and_takes_events_over(harness: Harness) -> None:
    """Votes stay with the run in which people gave them. Early events are a part of the state, and are taken over."""
    document = {"nodes": [human(config={"quorum": 2}), event("late", "late"), function("z", by())],
                "edges": edges("ask>z ask>late")}  # fmt: skip
    run_id = begin(harness, document)
    vote(harness, run_id, "ann", once="k")
    send(harness, run_id, "early", "late")
    copy = fork(harness, run_id)
    harness.drain()
    assert [text.split("#")[0] for text in waiting(harness, copy)] == ["ask@"]
    assert not [field for field in harness.store.snapshot(copy)["box"] if field.startswith(("vote|", "said|"))]
    assert vote(harness, copy, "ann", once="k")["decided"] is False
    assert vote(harness, copy, "bob")["decided"] is True
    assert ended(harness, copy) == {"late": "early", "z": "bob"}
    assert vote(harness, run_id, "cy")["decided"] is True
    assert ended(harness, run_id) == {"late": "early", "z": "cy"}


def test_a_fork_of_a_run_that_has_ended_asks_again(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [human(), function("z", by())], "edges": edges("ask>z")})
    vote(harness, run_id)
    copy = fork(harness, run_id, from_node="ask")
    harness.drain()
    assert nodes_waiting(harness, copy) == ["ask"]
    vote(harness, copy, "bob")
    assert (ended(harness, copy), ended(harness, run_id)) == ({"z": "bob"}, {"z": "ann"})


def test_events_go_on_counting_in_a_fork(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [event(), human()]})
    send(harness, run_id, "one")
    copy = fork(harness, run_id)
    harness.drain()
    assert send(harness, copy, "two") == 2
    vote(harness, copy)
    assert ended(harness, copy)["e"] == "one"


def test_a_rerun_of_a_decided_node_asks_anew(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [human(), function("z", by())], "edges": edges("ask>z")})
    vote(harness, run_id)
    rerun_node(harness.services, run_id, "ask", "op")
    harness.drain()
    vote(harness, run_id, "bob")
    assert ended(harness, run_id) == {"z": "bob"}


def test_a_rerun_of_a_waiting_node_forgets_its_votes(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [human(config={"quorum": 2})]})
    [old] = waiting(harness, run_id)
    first = vote(harness, run_id)["job_id"]
    rerun_node(harness.services, run_id, "ask", "op")
    harness.drain()
    assert list(waiting(harness, run_id)) != [old]
    with pytest.raises(Conflict):
        vote(harness, run_id, "bob", job=first)
    assert [vote(harness, run_id, name)["decided"] for name in ("ann", "bob")] == [False, True]
    assert harness.meta(run_id)["status"] == "COMPLETED"


def test_a_rerun_event_node_waits_for_the_next_event(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [event()]})
    send(harness, run_id, 1)
    rerun_node(harness.services, run_id, "e", "op")
    harness.drain()
    assert nodes_waiting(harness, run_id) == ["e"]
    send(harness, run_id, 2)
    assert ended(harness, run_id) == {"e": 2}


def test_a_redrive_asks_anew_what_was_rejected_or_waited(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [human(), event(), human("other", {"quorum": 2})]})
    vote(harness, run_id, "ann", node="other")
    vote(harness, run_id, approved=False)
    assert harness.meta(run_id)["status"] == "FAILED"
    with pytest.raises(Conflict):
        decide(harness.services, Decision(run_id, "other", "bob", True))
    with pytest.raises(Conflict):
        send_event(harness.services, run_id, "e", 1, "shop")
    redrive_run(harness.services, run_id, "op")
    harness.drain()
    assert nodes_waiting(harness, run_id) == ["ask", "e", "other"]
    for node in ("ask", "other", "other"):
        vote(harness, run_id, f"{node}{harness.clock.now}", node=node)
        harness.clock.now += 1
    send(harness, run_id, 1)
    assert harness.meta(run_id)["status"] == "COMPLETED"


def test_a_cancelled_run_waits_for_nobody(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [human(timeout_ms=1000), event()]})
    assert nodes_waiting(harness, run_id) == ["ask", "e"]
    cancel_run(harness.services, run_id, "op")
    harness.drain()
    assert waiting(harness, run_id) == {}
    for action in (lambda: decide(harness.services, Decision(run_id, "ask", "ann", True)),
                   lambda: send_event(harness.services, run_id, "e", 1, "shop")):  # fmt: skip
        with pytest.raises(Conflict):
            action()
    pass_time(harness, 5000)
    ended(harness, run_id, "CANCELLED")


def test_a_loser_of_a_join_waits_no_more(harness: Harness) -> None:
    document = {
        "nodes": [human(), event(), {"id": "j", "type": "pass", "join": {"any": True, "cancel_losers": True}}],
        "edges": edges("ask>j e>j"),
    }
    run_id = begin(harness, document)
    send(harness, run_id, 5)
    assert ended(harness, run_id) == {"j": 5}
    with pytest.raises(Conflict):
        vote(harness, run_id)


def test_a_question_that_nobody_answers_in_time_goes_to_the_next_person(harness: Harness) -> None:
    document = {
        "nodes": [
            human(timeout_ms=1000),
            human("boss", timeout_ms=1000),
            function("z", by("boss")),
            function("y", "?"),
        ],
        "edges": edges("ask>boss:failure boss>z boss>y:failure"),
    }
    run_id = begin(harness, document)
    pass_time(harness, 999)
    assert nodes_waiting(harness, run_id) == ["ask"]
    pass_time(harness, 2)
    assert nodes_waiting(harness, run_id) == ["boss"]
    with pytest.raises(Conflict):
        vote(harness, run_id)
    vote(harness, run_id, "boss", node="boss")
    assert ended(harness, run_id) == {"z": "boss"}


def test_an_escalation_that_nobody_answers_is_handled_too(harness: Harness) -> None:
    document = {
        "nodes": [human(timeout_ms=1000), human("boss", timeout_ms=1000), function("y", "late")],
        "edges": edges("ask>boss:failure boss>y:failure"),
    }
    run_id = begin(harness, document)
    pass_time(harness, 1001)
    pass_time(harness, 1001)
    assert ended(harness, run_id) == {"y": "late"}


def test_a_rejection_takes_the_failure_edge_with_its_reason(harness: Harness) -> None:
    document = {"nodes": [human(), function("z", "${ctx.ask.error.message}")], "edges": edges("ask>z:failure")}
    run_id = begin(harness, document)
    vote(harness, run_id, approved=False, comment="too dear")
    assert ended(harness, run_id) == {"z": "ann rejected it: too dear"}


def test_a_retry_after_a_timeout_asks_anew(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [human(config={"quorum": 2}, timeout_ms=1000, retry={"max_attempts": 2})]})
    vote(harness, run_id)
    pass_time(harness, 1001)
    [token] = waiting(harness, run_id)
    assert token.endswith(".2")
    assert [vote(harness, run_id, name)["decided"] for name in ("ann", "bob")] == [False, True]
    assert [one["by"] for one in ended(harness, run_id)["ask"]["decisions"]] == ["ann", "bob"]


def test_votes_that_were_there_when_time_was_up_are_in_the_outcome(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [human(config={"quorum": 2, "on_timeout": "approve"}, timeout_ms=1000)]})
    vote(harness, run_id, comment="yes")
    pass_time(harness, 1001)
    output = ended(harness, run_id)["ask"]
    assert (output["approved"], output["by"], len(output["decisions"])) == (True, "ann", 1)


def test_a_last_vote_and_a_timeout_at_once_settle_once(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [human(timeout_ms=1000)]})
    decide(harness.services, Decision(run_id, "ask", "ann", True))
    pass_time(harness, 1001)
    types = [one["type"] for one in harness.events(run_id)]
    assert types.count("node_completed") + types.count("node_failed") == 1


def test_a_pause_holds_the_question_back_and_keeps_events(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a"), human(), event()], "edges": edges("a>ask a>e")})
    harness.settle_batch()
    pause_run(harness.services, run_id, "op")
    harness.drain()
    assert waiting(harness, run_id) == {}
    assert send_event(harness.services, run_id, "e", 1, "shop")["number"] == 1
    resume_run(harness.services, run_id, "op")
    harness.drain()
    vote(harness, run_id)
    assert ended(harness, run_id)["e"] == 1


def test_a_message_that_cannot_be_made_fails_the_node_and_asks_nobody(harness: Harness) -> None:
    bad = [
        {"message": "${input.nothing.x}"},
        {"approvers": "${input.none}"},
        {"approvers": ["${input.a}", "b"], "quorum": 2},
        {"form": {"type": "${input.a}"}},
        {"message": "${input.big}"},
    ]
    given = {"a": "b", "none": [], "big": "x" * 70_000}
    for config in bad:
        error = json.loads(ended(harness, begin(harness, {"nodes": [human(config=config)]}, given), "FAILED"))
        assert error["type"] == "TemplateError" and len(error["message"]) < 2000, config
    error = json.loads(ended(harness, begin(harness, {"nodes": [event(name="${input.big}")]}, given), "FAILED"))
    assert error["type"] == "TemplateError"


def test_the_detector_is_not_confused_by_a_decided_question(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [human(timeout_ms=1000), event()]})
    vote(harness, run_id)
    harness.clock.now += 5000
    assert detect_timeouts(harness.services) == 1
    harness.drain()
    send(harness, run_id, 1)
    assert ended(harness, run_id)["ask"]["approved"] is True
