"""What a valid document compiles to."""

import hashlib
import json
from dataclasses import asdict

import pytest

from chalicelib.domain import limits as limits_module
from chalicelib.domain.compiler import COMPILER_VERSION, check
from chalicelib.domain.conditions import evaluator
from chalicelib.domain.editor_schema import document_schema
from chalicelib.domain.ir import Join, Retry
from chalicelib.domain.limits import Limits
from tests.domain.documents import ORDER_TRIAGE, chain, compiled, edge, loop, node, warned, workflow


def branch(*rules, **keys):
    return {"rules": [{"condition": "true", "next_nodes": list(names)} for names in rules], **keys}


def test_the_order_triage_example_compiles_to_its_plan():
    plan = compiled(ORDER_TRIAGE)
    assert plan.document == ORDER_TRIAGE
    assert list(plan.nodes) == ["fetch", "score", "route", "review", "ship"]
    assert plan.entries == ("fetch",)
    assert plan.terminals == ("ship",)
    assert plan.warnings == ()
    assert list(plan.edges) == [
        "fetch:score:success",
        "score:route:success",
        "review:ship:success",
        "route:ship:success",
        "route:review:success",
    ]
    assert [plan.edges[key].kind for key in plan.edges] == ["plain", "plain", "plain", "branch", "branch"]
    score, route, ship = plan.nodes["score"], plan.nodes["route"], plan.nodes["ship"]
    assert plan.nodes["fetch"].loops == score.loops == ("score",) and route.loops == ()
    assert score.loop.back_to == "fetch" and score.loop.max_iterations == 5
    assert not score.loop.has_break and not score.loop.has_timeout
    assert score.decide_names == ("output",)
    assert route.decide_names == ("ctx",) and route.decide_nodes == ("score",)
    assert route.branch.rules[0].edges == ("route:ship:success",)
    assert route.branch.default == ("route:review:success",)
    assert ship.in_edges == ("review:ship:success", "route:ship:success") and ship.counted
    assert plan.nodes["fetch"].retry == Retry(max_attempts=3) and plan.nodes["fetch"].timeout_ms == 5000
    assert score.config.nodes == ("fetch",) and not score.counted


def test_the_hash_covers_document_evaluator_and_compiler_and_not_the_order_of_keys():
    plan = compiled({"nodes": [{"id": "a", "type": "pass"}]})
    text = json.dumps(
        {"compiler": COMPILER_VERSION, "document": plan.document, "evaluator": evaluator()},
        sort_keys=True,
        separators=(",", ":"),
    )
    assert plan.hash == hashlib.sha256(text.encode()).hexdigest()
    assert compiled({"nodes": [{"type": "pass", "id": "a"}]}).hash == plan.hash
    assert compiled({"nodes": [{"type": "pass", "id": "b"}]}).hash != plan.hash


@pytest.mark.parametrize(("alias", "name"), [("conditional", "branch"), ("parallel", "pass")])
def test_aliases_of_types_become_the_names_of_the_contract(alias, name):
    plan = compiled(workflow([node("a", alias, branch=branch())]))
    assert plan.nodes["a"].type == name == plan.document["nodes"][0]["type"]


@pytest.mark.parametrize("key", ["type", "mode"])
def test_an_agent_driven_branch_lists_the_edges_its_output_may_name(key):
    block = {key: "agent_driven", "available_next_nodes": ["b", "c", "b"], "default": ["c"]}
    plan = compiled(workflow([node("a", branch=block), "b", "c"]))
    found = plan.nodes["a"].branch
    assert found.mode == "agent_driven" and found.rules == ()
    assert found.available == {"b": "a:b:success", "c": "a:c:success"}
    assert found.default == ("a:c:success",)
    assert plan.document["nodes"][0]["branch"]["type"] == "agent_driven"


def test_an_edge_in_both_a_block_and_edges_is_one_edge_that_keeps_its_place():
    plan = compiled(workflow([node("a", branch=branch(["b"])), "b", "c"], [edge("a", "b"), edge("a", "c")]))
    assert list(plan.edges) == ["a:b:success", "a:c:success"]
    assert [plan.edges[key].kind for key in plan.edges] == ["branch", "plain"]
    assert plan.nodes["a"].branch.rules[0].edges == ("a:b:success",)


def test_a_success_and_a_failure_edge_to_one_node_are_two_edges_to_its_join():
    plan = compiled(workflow(["a", "b"], [edge("a", "b"), edge("a", "b", on="failure")]))
    assert plan.nodes["b"].in_edges == ("a:b:success", "a:b:failure")
    assert plan.nodes["b"].counted


def test_targets_of_blocks_are_no_entries_and_targets_of_loop_back_are():
    plan = compiled(workflow([node("a", branch=branch(["b"])), "b", node("c", loop=loop("c", break_path=[]))]))
    assert plan.entries == ("a", "c")


@pytest.mark.parametrize(
    ("join", "expected"),
    [
        (None, Join()),
        ("all", Join()),
        ("any", Join(need=1)),
        ({"any": True}, Join(need=1)),
        ({"count": 2}, Join(need=2)),
        ({"count": 2, "cancel_losers": False}, Join(need=2)),
        ({"any": True, "cancel_losers": True}, Join(1, True, ("b", "c", "c2"))),
        ({"count": 2, "cancel_losers": True}, Join(2, True, ("b", "c", "c2"))),
    ],
)
def test_a_join_says_how_many_taken_edges_it_needs_and_who_loses(join, expected):
    edges = [
        *chain("a", "b", "j"),
        *chain("a", "c", "c2", "j"),
        *chain("a", "d", "j"),
        edge("d", "other", on="failure"),
    ]
    plan = compiled(workflow(["a", "b", "c", "c2", "d", "other", node("j", join=join)], [*edges, edge("a", "other")]))
    assert plan.nodes["j"].join == expected


def test_terminals_are_nodes_that_a_completion_leads_nowhere_from():
    plan = compiled(workflow(["a", "b", "h"], [edge("a", "b"), edge("b", "h", on="failure")]))
    assert plan.terminals == ("b", "h")


def test_what_a_node_needs_loaded_is_the_union_of_its_conditions_and_sets():
    document = workflow(
        [
            "x",
            node("a", loop=loop("a", condition="iteration < 3"), set={"s": "${vars.n + 1}"}, branch=branch(["b"])),
            "b",
            "c",
        ],
        [edge("x", "a"), edge("a", "c", condition="ctx.x.status == 'COMPLETED' && input.go")],
    )
    assert compiled(document).nodes["a"].decide_names == ("ctx", "input", "iteration", "vars")
    assert compiled(document).nodes["a"].decide_nodes == ("x",)


def test_head_of_the_document_reaches_the_plan():
    plan = compiled(
        workflow(["a"], on_failure="finish_branches", timeout_ms=5, vars={"n": [1]}, output={"r": "${ctx.a.output}"})
    )
    assert (plan.on_failure, plan.timeout_ms, plan.vars) == ("finish_branches", 5, {"n": [1]})
    assert plan.output.nodes == ("a",)


def test_secrets_stand_in_function_and_http_config_only():
    secret = {"headers": {"Authorization": "${secret.KEY}"}, "url": "https://example.org", "auth": "${secret.KEY}"}
    assert compiled(workflow([node("a", "http", config=secret)])).nodes["a"].config.nodes == ()
    _, problems, _ = check(workflow([node("a", "transform", config={"value": "${secret.KEY}"})]), limits=Limits())
    assert [problem.path for problem in problems] == ["/nodes/0/config/value"]


@pytest.mark.parametrize(
    "config",
    [
        {"url": "${input.url}", "method": "${input.method}", "expect_status": "2xx", "headers": "${input.headers}"},
        {
            "url": "http://x.org/${input.path}",
            "query": {"a": "${input.a}"},
            "expect_status": [200, "404", "3XX", "${input.x}"],
            "body": None,
        },
    ],
)
def test_any_config_value_may_be_a_template(config):
    assert compiled(workflow([node("a", "http", config=config)])).nodes["a"].config.value == config


@pytest.mark.parametrize(
    "config", [{"seconds": 0.5}, {"seconds": "${input.s}"}, {"until": "2030-01-31T12:00:00+02:00"}]
)
def test_a_wait_takes_seconds_or_a_time(config):
    assert compiled(workflow([node("a", "wait", config=config)])).nodes["a"].config.value == config


class TestWarnings:
    """A read that may find nothing is a warning; what surely ran is not."""

    def read(self, name):
        return node("r", "transform", config={"value": f"${{ctx.{name}.output}}"})

    def test_the_arms_of_a_plain_fan_out_have_run_at_their_join(self):
        edges = [*chain("a", "b", "b2", "r"), *chain("a", "c", "r")]
        for name in ("a", "b", "b2", "c"):
            assert warned(workflow(["a", "b", "b2", "c", self.read(name)], edges)) == []

    def test_an_arm_of_an_any_join_may_not_have_run(self):
        reader = {**self.read("b"), "join": "any"}
        edges = [*chain("a", "b", "r"), *chain("a", "c", "r")]
        assert warned(workflow(["a", "b", "c", reader], edges)) == [("may_be_pending", "/nodes/3/config/value")]

    def test_an_arm_behind_a_branch_or_condition_may_not_have_run(self):
        exclusive = workflow(
            [node("a", branch=branch(["b"], default=["c"])), "b", "c", self.read("b")],
            [edge("b", "r"), edge("c", "r")],
        )
        assert warned(exclusive) == [("may_be_pending", "/nodes/3/config/value")]
        edges = [edge("a", "b", condition="input.x"), *chain("b", "r"), *chain("a", "c", "r")]
        assert warned(workflow(["a", "b", "c", self.read("b")], edges)) == [("may_be_pending", "/nodes/3/config/value")]

    def test_a_node_after_a_failure_handler_may_read_it_only_with_care(self):
        edges = [edge("a", "b"), edge("a", "h", on="failure"), edge("b", "r"), edge("h", "r")]
        assert warned(workflow(["a", "b", "h", self.read("h")], edges)) == [("may_be_pending", "/nodes/3/config/value")]
        assert warned(workflow(["a", "b", "h", self.read("a")], edges)) == []

    def test_parallel_nodes_and_later_ones_of_a_common_loop_may_be_read(self):
        assert warned(workflow(["a", self.read("a")])) == [("may_be_pending", "/nodes/1/config/value")]
        looped = workflow([self.read("b"), node("b", loop=loop("r"))], [edge("r", "b")])
        assert warned(looped) == [("may_be_pending", "/nodes/0/config/value")]

    def test_a_nodes_own_conditions_may_read_it(self):
        assert warned(workflow(["a", "b"], [edge("a", "b", condition="ctx.a.output == 1")])) == []

    def test_edges_that_can_never_be_taken_are_named(self):
        document = workflow(
            [node("a", loop=loop("a", break_path=["b"])), "b", "c", node("s", "succeed"), "d"],
            [edge("a", "c"), edge("a", "b"), edge("b", "s"), edge("s", "d"), edge("s", "c", on="failure")],
        )
        assert warned(document) == [("edge_never_taken", "/edges/0"), ("edge_never_taken", "/edges/3")]


def test_a_document_lowers_limits_for_its_own_runs():
    document = workflow(["a"], limits={"hops": 5})
    assert limits_module.lowered(Limits(), document) == Limits(hops=5)
    assert limits_module.lowered(Limits(hops=3), document) == Limits(hops=3)


def test_a_document_may_name_every_limit():
    document = workflow(["a"], limits=asdict(Limits()))
    assert limits_module.lowered(Limits(), compiled(document).document) == Limits()


def test_the_default_of_max_iterations_stays_within_a_lowered_limit():
    document = workflow([node("a", loop=loop("a"))], limits={"loop_iterations": 7})
    assert compiled(document).nodes["a"].loop.max_iterations == 7


def test_the_schema_for_editors_accepts_the_example_and_knows_configs_by_type():
    from jsonschema import Draft202012Validator

    schema = document_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid(ORDER_TRIAGE)
    assert not validator.is_valid(workflow([node("a", "function", config={})]))
    assert not validator.is_valid(workflow([node("a", "magic")]))
    assert not validator.is_valid(workflow(["a"], extra=1))


def test_a_timeout_of_what_runs_at_once_is_a_warning():
    late = [node("a", timeout_ms=5), node("w", "wait", config={"seconds": 1}, timeout_ms=5)]
    assert warned(workflow(late)) == [("no_effect", "/nodes/0/timeout_ms")]
