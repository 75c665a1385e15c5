"""Decisions as values: a plan, an outcome and the values it names give a Draft, always the same."""

from __future__ import annotations

import json

import pytest

from chalicelib.domain.commit import Draft, body
from chalicelib.domain.decide import settle
from chalicelib.domain.ids import Token
from chalicelib.domain.ir import Plan
from chalicelib.domain.lifecycle import fan_draft
from chalicelib.domain.outcome import Moment, Outcome
from tests.domain.documents import chain, compiled, edge, loop, node, workflow


def moment(*, harmless: bool = False, chance: float = 0.5, **values: object) -> Moment:
    return Moment(1_800_000_000_000, chance, 0, values, harmless)


def decided(plan: Plan, token: Token | str, outcome: object = None, **values: object) -> Draft:
    token = Token(token) if isinstance(token, str) else token
    given = outcome if isinstance(outcome, Outcome) else Outcome(output=outcome, job="job")
    return settle(plan, token, given, moment(**values))


def failed(kind: str = "Boom", **more: object) -> Outcome:
    return Outcome(error={"type": kind, "message": "no", "retryable": True, **more}, job="job")


def started(draft: Draft) -> list[str]:
    return [emit.token.text for emit in draft.emits]


def skipped(draft: Draft) -> list[str]:
    return [token.node for token in draft.skips]


def said(draft: Draft) -> list[str]:
    return [event.type for event in draft.events]


def event(draft: Draft, kind: str) -> dict:
    (found,) = [event.data for event in draft.events if event.type == kind]
    return found


def test_a_completed_node_is_recorded_and_its_edges_are_taken() -> None:
    plan = compiled(workflow("abc", [edge("a", "b"), edge("a", "c")]))
    draft = decided(plan, "a", {"n": 1})
    assert (draft.settle, draft.status, draft.error) == (Token("a"), "COMPLETED", None)
    assert draft.values == [(Token("a"), {"s": "COMPLETED", "i": 1, "a": 1, "o": {"n": 1}})]
    assert started(draft) == ["b@#0.1", "c@#0.1"]
    assert [(e.type, e.token, e.job) for e in draft.events] == [("node_completed", Token("a"), "job")]


CONDITIONS = [
    ("output.n > 1", {"n": 2}, ["b"], []),
    ("output.n > 1", {"n": 1}, [], ["b"]),
    ({"type": "cel", "expression": "output.n > 1"}, {"n": 2}, ["b"], []),
    ({"type": "jsonpath", "query": "$.output.n", "operator": "==", "value": 2}, {"n": 2}, ["b"], []),
    ({"type": "schema", "schema": {"required": ["n"]}}, {"n": 0}, ["b"], []),
    ({"type": "schema", "schema": {"required": ["n"]}, "invert": True}, {"n": 0}, [], ["b"]),
]


@pytest.mark.parametrize(("condition", "output", "run", "skip"), CONDITIONS)
def test_an_edge_is_taken_if_its_condition_holds(condition, output, run, skip) -> None:
    plan = compiled(workflow("ab", [edge("a", "b", condition=condition)]))
    draft = decided(plan, "a", output)
    assert [emit.token.node for emit in draft.emits] == run
    assert skipped(draft) == skip


def test_a_condition_that_fails_is_said_and_does_not_match() -> None:
    plan = compiled(workflow("abc", [edge("a", "b", condition="output.missing > 1"), edge("a", "c")]))
    draft = decided(plan, "a", {})
    assert started(draft) == ["c@#0.1"]
    assert skipped(draft) == ["b"]
    assert event(draft, "condition_failed")["where"] == "edge a:b:success"
    assert "missing" in event(draft, "condition_failed")["message"]


def branching(**more: object) -> Plan:
    rules = [
        {"condition": "output.n >= 10", "next_nodes": ["high"]},
        {"condition": "output.n >= 5", "next_nodes": ["mid", "log"]},
    ]
    nodes = [node("r", branch={"rules": rules, **more}), "high", "mid", "log", "low", "usual"]
    edges = [edge("r", "usual")] + ([] if more.get("default") else [edge("r", "low")])
    return compiled(workflow(nodes, edges))


BRANCHES = [
    ({"default": ["low"]}, 12, ["usual", "high"], [0]),
    ({"default": ["low"]}, 7, ["usual", "mid", "log"], [1]),
    ({"default": ["low"]}, 1, ["usual", "low"], []),
    ({"default": ["low"], "mode": "all"}, 12, ["usual", "high", "mid", "log"], [0, 1]),
    ({"default": ["low"], "mode": "all"}, 1, ["usual", "low"], []),
    ({}, 1, ["usual", "low"], []),
]


@pytest.mark.parametrize(("more", "n", "run", "rules"), BRANCHES)
def test_branch_rules_choose_beside_the_usual_edges(more: dict, n: int, run: list[str], rules: list[int]) -> None:
    plan = branching(**more)
    draft = decided(plan, "r", {"n": n})
    assert sorted(emit.token.node for emit in draft.emits) == sorted(run)
    assert set(skipped(draft)) == {"high", "mid", "log", "low", "usual"} - set(run)
    assert event(draft, "branch_decided")["rules"] == rules


def test_a_rule_that_fails_goes_on_to_the_next() -> None:
    rules = [{"condition": "output.none.x", "next_nodes": ["a"]}, {"condition": "true", "next_nodes": ["b"]}]
    plan = compiled(workflow([node("r", branch={"rules": rules}), "a", "b"]))
    draft = decided(plan, "r", {})
    assert (started(draft), skipped(draft)) == (["b@#0.1"], ["a"])
    assert event(draft, "condition_failed")["where"] == "branch rule 0"


def agent_driven(**more: object) -> Plan:
    branch = {"type": "agent_driven", "available_next_nodes": ["a", "b"], **more}
    return compiled(workflow([node("r", branch=branch), "a", "b"]))


@pytest.mark.parametrize(("names", "run"), [(["a"], ["a"]), (["b", "a"], ["a", "b"]), ([], []), (["a", "a"], ["a"])])
def test_an_agent_driven_branch_takes_the_names_in_the_output(names: list[str], run: list[str]) -> None:
    draft = decided(agent_driven(), "r", {"next_nodes": names})
    assert sorted(emit.token.node for emit in draft.emits) == run
    assert set(skipped(draft)) == {"a", "b"} - set(run)


BAD_CHOICES = [
    {"next_nodes": ["c"]},
    {"next_nodes": ["r"]},
    {"next_nodes": "a"},
    {"next_nodes": [1]},
    {},
    [],
    "a",
    None,
]


@pytest.mark.parametrize("output", BAD_CHOICES)
def test_a_choice_outside_the_list_fails_the_node_and_takes_nothing(output: object) -> None:
    draft = decided(agent_driven(), "r", output)
    assert draft.status == "FAILED"
    assert draft.error["type"] == "TaskFailed"
    assert draft.error["retryable"] is False
    assert draft.emits == []


def looping(**more: object) -> Plan:
    spec = {"condition": "output.again", "loop_back_to": "x", "max_iterations": 3, **more}
    nodes = ["x", node("l", loop=spec), "on", "done", "late"]
    ends = [name for name, key in (("done", "break_path"), ("late", "timeout_path")) if key not in spec]
    return compiled(workflow(nodes, [*chain("x", "l", "on"), *(edge("on", name) for name in ends)]))


def test_a_loop_goes_back_while_its_condition_holds() -> None:
    draft = decided(looping(), Token("l", (("l", 1),)), {"again": True})
    assert started(draft) == ["x@l=2#0.1"]
    assert event(draft, "loop_continued") == {"next": 2}
    assert (draft.skips, draft.arrivals) == ([], [])


LOOPS = [
    ({}, 1, False, ["on"], "break"),
    ({}, 3, False, ["on"], "break"),
    ({"break_path": ["done"]}, 2, False, ["done"], "break"),
    ({"timeout_path": ["late"]}, 3, True, ["late"], "timeout"),
    ({"timeout_path": ["late"]}, 3, False, ["on"], "break"),
    ({"break_path": ["done"], "timeout_path": ["late"]}, 3, True, ["late"], "timeout"),
    ({"break_path": ["done"], "timeout_path": ["late"]}, 1, False, ["done"], "break"),
]


@pytest.mark.parametrize(("more", "iteration", "again", "run", "reason"), LOOPS)
def test_a_loop_ends_by_its_condition_or_at_its_limit(more, iteration, again, run, reason) -> None:
    draft = decided(looping(**more), Token("l", (("l", iteration),)), {"again": again})
    assert started(draft) == [f"{name}@#0.1" for name in run]
    assert event(draft, "loop_ended") == {"reason": reason, "iterations": iteration}
    assert draft.status == "COMPLETED"


def test_a_loop_still_wanted_at_its_limit_fails_and_is_not_retried() -> None:
    plan = looping()
    draft = decided(plan, Token("l", (("l", 3),)), {"again": True})
    assert (draft.status, draft.error["type"]) == ("FAILED", "LoopLimit")
    assert "node_completed" not in said(draft)
    assert [record["s"] for token, record in draft.values if token.node == "l"] == ["FAILED"]


def test_a_loop_whose_condition_fails_breaks_and_says_so() -> None:
    draft = decided(looping(), Token("l", (("l", 1),)), {})
    assert started(draft) == ["on@#0.1"]
    assert event(draft, "condition_failed")["where"] == "loop"


def test_variables_are_set_with_the_completion_and_seen_by_its_conditions() -> None:
    nodes = [node("a", set={"n": "${vars.n + output}", "text": "is ${output}"}), "b", "c"]
    edges = [edge("a", "b", condition="vars.n == 5"), edge("a", "c", condition="vars.n == 2")]
    plan = compiled(workflow(nodes, edges, vars={"n": 2}))
    draft = decided(plan, "a", 3, vars={"n": 2})
    assert draft.vars == {"n": 5, "text": "is 3"}
    assert (started(draft), skipped(draft)) == (["b@#0.1"], ["c"])


def test_a_variable_that_cannot_be_set_fails_the_node_and_sets_none() -> None:
    nodes = [node("a", set={"n": "${output}", "m": "${output.x.y}"}), "b"]
    draft = decided(compiled(workflow(nodes, [edge("a", "b")])), "a", 1)
    assert (draft.status, draft.error["type"], draft.vars) == ("FAILED", "TemplateError", {})
    assert "/set/m" in draft.error["message"]
    assert draft.emits == []


def test_a_large_output_is_recorded_by_its_reference() -> None:
    plan = compiled(workflow("ab", [edge("a", "b", condition="output == 'big'")]))
    outcome = Outcome(output="big", ref="artifact://sha256/0", metadata={"tokens_used": 3})
    draft = decided(plan, "a", outcome)
    assert started(draft) == ["b@#0.1"]
    assert draft.values[0][1] == {"s": "COMPLETED", "i": 1, "a": 1, "r": "artifact://sha256/0"}
    assert event(draft, "node_completed") == {"output_ref": "artifact://sha256/0", "metadata": {"tokens_used": 3}}


def test_its_own_ctx_is_what_this_settlement_makes_it() -> None:
    edges = [edge("a", "b", condition="ctx.a.status == 'COMPLETED' && ctx.a.output == 7 && ctx.a.attempt == 2")]
    draft = decided(compiled(workflow("ab", edges)), Token("a", attempt=2), 7, ctx={"a": {"status": "PENDING"}})
    assert started(draft) == ["b@#0.1"]


RETRY = {"max_attempts": 3, "backoff_ms": 100}


def test_a_failed_attempt_is_retried_after_its_backoff() -> None:
    plan = compiled(workflow([node("a", retry=RETRY), "b"], [edge("a", "b")]))
    draft = decided(plan, Token("a", (), None, 0, 2), failed())
    assert (draft.status, said(draft)) == ("RETRIED", ["node_retrying"])
    (emit,) = draft.emits
    assert (emit.token.text, emit.kind, emit.data) == ("$retry:a@#0.3", "r", {"due": 1_800_000_000_200})
    assert (draft.values, draft.once, draft.skips) == ([], {}, [])


@pytest.mark.parametrize(("chance", "after"), [(0.0, 0), (0.25, 25), (0.999, 99)])
def test_jitter_comes_from_the_chance_that_is_given(chance: float, after: int) -> None:
    plan = compiled(workflow([node("a", retry={**RETRY, "jitter": "full"})]))
    draft = settle(plan, Token("a"), failed(), moment(chance=chance))
    assert draft.emits[0].data["due"] == 1_800_000_000_000 + after


def test_a_timeout_is_said_before_what_it_comes_to() -> None:
    plan = compiled(workflow([node("a", retry=RETRY)]))
    assert said(decided(plan, "a", failed("Timeout"))) == ["node_timed_out", "node_retrying"]
    assert said(decided(plan, Token("a", attempt=3), failed("HeartbeatLost"))) == ["node_timed_out", "node_failed"]


def test_an_unhandled_failure_fails_the_run_fast() -> None:
    draft = decided(compiled(workflow("ab", [edge("a", "b")])), "a", failed())
    assert draft.cancel_all
    assert json.loads(draft.once["error"])["node_id"] == "a"
    assert (draft.emits, draft.skips, draft.arrivals) == ([], [], [])


def test_a_failure_that_clean_up_work_outlives_resolves_all_edges_of_its_node() -> None:
    edges = [edge("a", "tidy", on="always"), edge("a", "ok"), edge("a", "meet"), edge("tidy", "meet")]
    plan = compiled(workflow(["a", "tidy", "ok", "meet"], edges))
    draft = decided(plan, "a", failed())
    assert (draft.cancel_all, draft.cut) == (True, True)
    assert (started(draft), skipped(draft)) == (["tidy@#0.1"], ["ok"])
    assert [(arrival.instance, arrival.how) for arrival in draft.arrivals] == [("meet@", 0)]


def test_only_a_taken_always_edge_lets_work_outlive_a_failure() -> None:
    edges = [edge("a", "tidy", on="always", condition="error.type == 'Other'"), edge("a", "ok")]
    plan = compiled(workflow(["a", "tidy", "ok"], edges))
    draft = decided(plan, "a", failed())
    assert (draft.cancel_all, draft.cut, started(draft), draft.skips) == (True, False, [], [])
    assert decided(plan, "a", failed("Other")).cut
    others = compiled(workflow(["a", "tidy", "ok"], edges, on_failure="finish_branches"))
    assert not decided(others, "a", failed("Other")).cut


def test_a_part_of_a_fan_out_that_the_failure_met_starts_nothing() -> None:
    edges = [edge("s", name) for name in ("x", "y", "j")] + [edge("x", "z"), edge("z", "j")]
    plan = compiled(workflow(["s", "x", "y", "z", "j"], edges))
    keys = {key: int(plan.edges[key].target != "y") for key in plan.nodes["s"].out_edges}
    part = {"edges": keys, "ended": None}
    for data, stopped in ((part, True), ({**part, "stopped": 1}, False)):
        draft = fan_draft(plan, Token("$fan:s:0"), data, moment(), stopped=stopped)
        assert draft.emits == []
        found = [(token.text, record["s"]) for token, record in draft.values]
        assert found == [("x@#0.1", "CANCELLED"), ("y@#0.0", "SKIPPED"), ("z@#0.0", "SKIPPED")]
        assert said(draft) == ["node_cancelled", "node_skipped", "node_skipped"]
        assert [(a.edge.split(":")[0], a.how) for a in draft.arrivals] == [("s", 1), ("z", 0)]
    entries = fan_draft(plan, Token("$fan:$start:0"), {"nodes": ["s"]}, moment(), stopped=True)
    assert (entries.emits, [token.text for token in entries.skips][:1]) == ([], ["s@#0.1"])


def test_with_finish_branches_the_others_go_on_and_its_own_way_is_skipped() -> None:
    plan = compiled(workflow("ab", [edge("a", "b")], on_failure="finish_branches"))
    draft = decided(plan, "a", failed())
    assert not draft.cancel_all
    assert "error" in draft.once
    assert skipped(draft) == ["b"]


HANDLED = [
    ([("ok", "success"), ("mend", "failure")], ["mend"], True),
    ([("ok", "success"), ("log", "always")], ["log"], False),
    ([("mend", "failure"), ("log", "always")], ["mend", "log"], True),
    ([("ok", "success")], [], False),
]


@pytest.mark.parametrize(("targets", "run", "handled"), HANDLED)
def test_only_a_failure_edge_handles_a_failure(targets: list, run: list[str], handled: bool) -> None:
    plan = compiled(workflow(["a", *(name for name, _ in targets)], [edge("a", name, on=on) for name, on in targets]))
    draft = decided(plan, "a", failed())
    assert started(draft) == [f"{name}@#0.1" for name in run]
    assert (draft.once == {}, draft.cancel_all) == (handled, not handled)


def test_a_failure_edge_whose_condition_does_not_hold_handles_nothing() -> None:
    edges = [edge("a", "b", on="failure", condition="error.type == 'Other'")]
    edges += [edge("a", "c", on="failure", condition="error.type == 'Boom' && output == null")]
    plan = compiled(workflow("abc", edges))
    assert started(decided(plan, "a", failed("Other"))) == ["b@#0.1"]
    assert started(decided(plan, "a", failed("Boom"))) == ["c@#0.1"]
    draft = decided(plan, "a", failed("Third"))
    assert draft.cancel_all
    assert "error" in draft.once


def test_always_edges_are_taken_on_completion_too_and_failure_edges_are_not() -> None:
    plan = compiled(workflow("abc", [edge("a", "b", on="always"), edge("a", "c", on="failure")]))
    draft = decided(plan, "a", 1)
    assert (started(draft), skipped(draft)) == (["b@#0.1"], ["c"])


def test_a_failure_that_cannot_matter_any_more_is_recorded_and_no_more() -> None:
    plan = compiled(workflow("ab", [edge("a", "b")]))
    draft = settle(plan, Token("a"), failed(), moment(harmless=True))
    assert (draft.status, draft.cancel_all, draft.once) == ("FAILED", False, {})
    assert said(draft)[0] == "node_failed"


def test_a_failure_that_leaves_a_loop_skips_the_loop_node() -> None:
    nodes = ["x", node("l", "loop", loop=loop("x", max_iterations=3)), "mend", "after"]
    plan = compiled(workflow(nodes, [*chain("x", "l", "after"), edge("x", "mend", on="failure")]))
    draft = decided(plan, Token("x", (("l", 2),)), failed())
    counted = {(arrival.instance, arrival.how) for arrival in draft.arrivals}
    assert {("l@l=2", 2), ("mend@", 1)} <= counted
    assert draft.once == {}
    completed = decided(plan, Token("x", (("l", 2),)), 1)
    assert {(a.instance, a.how) for a in completed.arrivals if a.instance.startswith("mend")} == set()


def test_a_failing_loop_nodes_failure_edge_is_taken_outside_of_it() -> None:
    nodes = [node("x"), node("l", loop=loop("x", max_iterations=1)), "mend"]
    plan = compiled(workflow(nodes, [*chain("x", "l"), edge("l", "mend", on="failure")]))
    draft = decided(plan, Token("l", (("l", 1),)), 1)
    assert draft.error["type"] == "LoopLimit"
    assert [(a.instance, a.how) for a in draft.arrivals] == [("mend@", 1)] or started(draft) == ["mend@#0.1"]
    assert draft.once == {}


def test_the_same_arguments_give_the_same_bytes() -> None:
    plan = branching(default=["low"])

    def text() -> str:
        draft = decided(plan, "r", {"n": 7})
        return body(draft, commit_id="c", at=1, gen="g", graph="h", rev=0, actor="graft")

    assert text() == text()
