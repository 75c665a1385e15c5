"""Every problem the compiler finds: its code and its exact place."""

import pytest

from chalicelib.domain.compiler import check, compile_workflow
from chalicelib.domain.errors import InvalidDocument
from chalicelib.domain.limits import Limits
from tests.domain.documents import chain, edge, found, loop, node, workflow

FUNCTION = {"handler": "echo"}


def one(**keys):
    return workflow([{"id": "a", "type": "pass", **keys}])


REQUEST = {"step": "http_request", "url": "https://shop.example.com/orders"}


def pipeline(*steps):
    return one(type="transform", config={"pipeline": list(steps)})


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def branch(*rules, **keys):
    return {"rules": [{"condition": "true", "next_nodes": list(names)} for names in rules], **keys}


PROBLEMS = [
    # the form of the document
    ("wrong_type", [], ""),
    ("wrong_type", {"nodes": {}}, "/nodes"),
    ("wrong_type", {"nodes": [7]}, "/nodes/0"),
    ("missing_key", {}, "/nodes"),
    ("bad_value", {"nodes": []}, "/nodes"),
    ("missing_key", {"nodes": [{"type": "pass"}]}, "/nodes/0/id"),
    ("missing_key", {"nodes": [{"id": "a"}]}, "/nodes/0/type"),
    ("not_json", workflow(["a"], metadata={"x": float("nan")}), "/metadata/x"),
    ("not_json", workflow(["a"], metadata={"x": "\ud800"}), "/metadata/x"),
    ("not_json", workflow(["a"], metadata={1: 2}), "/metadata"),
    ("not_json", workflow(["a"], metadata={"x": {1, 2}}), "/metadata/x"),
    ("too_deep", workflow(["a"], metadata={"x": deep(70)}), "/metadata/x" + "/0" * 62),
    ("unknown_key", workflow(["a"], nmae="x"), "/nmae"),
    ("unknown_key", one(**{"a/b~": 1}), "/nodes/0/a~1b~0"),
    ("unknown_key", workflow(["a", "b"], [edge("a", "b", when="x")]), "/edges/0/when"),
    ("unknown_key", one(retry={"attempts": 2}), "/nodes/0/retry/attempts"),
    ("unknown_key", one(loop=loop("a", until="x")), "/nodes/0/loop/until"),
    ("unknown_key", one(type="function", config={**FUNCTION, "args": 1}), "/nodes/0/config/args"),
    ("unknown_key", one(config={"x": 1}), "/nodes/0/config/x"),
    ("unknown_key", workflow(["a"], limits={"size": 1}), "/limits/size"),
    # names
    ("bad_id", one(id="1a"), "/nodes/0/id"),
    ("bad_id", one(id="a\n"), "/nodes/0/id"),
    ("bad_name", workflow(["a"], name="validate"), "/name"),
    ("bad_name", workflow(["a"], name="-x"), "/name"),
    ("bad_name", one(set={"no spaces": 1}), "/nodes/0/set/no spaces"),
    ("bad_name", workflow(["a"], vars={"1": 1}), "/vars/1"),
    ("duplicate_id", workflow(["a", "a"]), "/nodes/1/id"),
    # types and configs
    ("unknown_type", one(type="lambda"), "/nodes/0/type"),
    ("bad_value", one(type="workflow", config={"workflow": "two words"}), "/nodes/0/config/workflow"),
    ("template_not_allowed", one(type="workflow", config={"workflow": "w@${input}"}), "/nodes/0/config/workflow"),
    ("missing_key", one(type="function"), "/nodes/0/config"),
    ("missing_key", one(type="function", config={}), "/nodes/0/config/handler"),
    ("missing_key", one(type="branch"), "/nodes/0/branch"),
    ("missing_key", one(type="loop"), "/nodes/0/loop"),
    ("wrong_type", one(type="function", config={"handler": 1}), "/nodes/0/config/handler"),
    ("bad_value", one(type="http", config={"url": "ftp://x"}), "/nodes/0/config/url"),
    ("bad_value", one(type="http", config={"url": "http://x", "method": "GRAB"}), "/nodes/0/config/method"),
    (
        "bad_value",
        one(type="http", config={"url": "http://x", "expect_status": [99]}),
        "/nodes/0/config/expect_status/0",
    ),
    ("wrong_type", one(type="http", config={"url": "http://x", "headers": "x"}), "/nodes/0/config/headers"),
    ("missing_key", one(type="transform", config={}), "/nodes/0/config/value"),
    ("bad_value", one(type="transform", config={"value": 1, "pipeline": [REQUEST]}), "/nodes/0/config"),
    ("bad_value", one(type="transform", config={"value": 1, "data": []}), "/nodes/0/config/data"),
    ("wrong_type", one(type="transform", config={"pipeline": "${input.steps}"}), "/nodes/0/config/pipeline"),
    ("wrong_type", pipeline(REQUEST, "table_sort"), "/nodes/0/config/pipeline/1"),
    ("missing_key", pipeline({"url": "http://x"}), "/nodes/0/config/pipeline/0/step"),
    ("bad_value", pipeline({"step": "${input.step}"}), "/nodes/0/config/pipeline/0/step"),
    ("missing_key", pipeline({"step": "table_sort", "by": "n"}), "/nodes/0/config/pipeline/0/from"),
    ("unknown_key", pipeline(REQUEST, {"step": "top_k", "k": 1, "by": "n", "n": 1}), "/nodes/0/config/pipeline/1/n"),
    (
        "unknown_key",
        pipeline(REQUEST, {"step": "table_sort", "by": [{"column": "n", "order": 1}]}),
        "/nodes/0/config/pipeline/1/by/0/order",
    ),
    ("missing_key", pipeline(REQUEST, {"step": "table_sort"}), "/nodes/0/config/pipeline/1/by"),
    (
        "bad_value",
        pipeline(REQUEST, {"step": "table_filter", "where": "output.n > 1"}),
        "/nodes/0/config/pipeline/1/where",
    ),
    (
        "unknown_table",
        pipeline(REQUEST, {"step": "table_sort", "from": "b", "by": "n"}),
        "/nodes/0/config/pipeline/1/from",
    ),
    ("limit_exceeded", pipeline(*[REQUEST] * 51), "/nodes/0/config/pipeline"),
    ("missing_key", one(type="queue", config={"payload": 1}), "/nodes/0/config/queue"),
    ("bad_name", one(type="queue", config={"queue": "a/b"}), "/nodes/0/config/queue"),
    ("template_not_allowed", one(type="queue", config={"queue": "x-${input.q}"}), "/nodes/0/config/queue"),
    ("unknown_key", one(type="queue", config={"queue": "q", "params": 1}), "/nodes/0/config/params"),
    (
        "secret_not_allowed",
        one(type="queue", config={"queue": "q", "payload": "${secret.K}"}),
        "/nodes/0/config/payload",
    ),
    ("secret_not_allowed", pipeline({**REQUEST, "auth": "${secret.KEY}"}), "/nodes/0/config/pipeline/0/auth"),
    ("bad_value", one(type="wait", config={}), "/nodes/0/config"),
    ("bad_value", one(type="wait", config={"seconds": 1, "until": "2030-01-01T00:00:00Z"}), "/nodes/0/config"),
    ("bad_value", one(type="wait", config={"seconds": -1}), "/nodes/0/config/seconds"),
    ("wrong_type", one(type="wait", config={"seconds": "soon"}), "/nodes/0/config/seconds"),
    ("bad_value", one(type="wait", config={"until": "2030-02-31T00:00:00Z"}), "/nodes/0/config/until"),
    ("wrong_type", one(type="fail", config={"error": 5}), "/nodes/0/config/error"),
    ("unknown_key", one(type="fail", config={"output": 5}), "/nodes/0/config/output"),
    (
        "bad_value",
        one(type="http", config={"url": "http://x", "expect_status": "9xx"}),
        "/nodes/0/config/expect_status",
    ),
    ("bad_value", one(type="http", config={"url": "http://x", "expect_status": []}), "/nodes/0/config/expect_status"),
    (
        "wrong_type",
        one(type="http", config={"url": "http://x", "expect_status": [200, True]}),
        "/nodes/0/config/expect_status/1",
    ),
    ("bad_value", one(heartbeat_ms=5), "/nodes/0/heartbeat_ms"),
    ("bad_value", one(check_before_start=True), "/nodes/0/check_before_start"),
    ("wrong_type", one(check_before_start=1), "/nodes/0/check_before_start"),
    ("bad_value", one(type="wait", config={"seconds": 1}, heartbeat_ms=5), "/nodes/0/heartbeat_ms"),
    ("unknown_key", one(type="succeed", config={"error": "x"}), "/nodes/0/config/error"),
    ("template_not_allowed", one(type="function", config={"handler": "${input.f}"}), "/nodes/0/config/handler"),
    ("unknown_type", one(compensate={"type": "wait", "config": {"seconds": 1}}), "/nodes/0/compensate/type"),
    (
        "unknown_key",
        one(compensate={"type": "transform", "config": {"value": 1}, "set": {}}),
        "/nodes/0/compensate/set",
    ),
    ("missing_key", one(compensate={"config": {"value": 1}}), "/nodes/0/compensate/type"),
    ("bad_schema", workflow(["a"], input_schema={"type": "objekt"}), "/input_schema/type"),
    ("bad_schema_ref", workflow(["a"], input_schema={"$ref": "http://x/y"}), "/input_schema/$ref"),
    # ranges
    ("bad_value", one(timeout_ms=0), "/nodes/0/timeout_ms"),
    ("wrong_type", one(timeout_ms="5"), "/nodes/0/timeout_ms"),
    ("wrong_type", one(timeout_ms=True), "/nodes/0/timeout_ms"),
    ("bad_value", one(retry={"max_attempts": 0}), "/nodes/0/retry/max_attempts"),
    ("bad_value", one(retry={"jitter": "some"}), "/nodes/0/retry/jitter"),
    ("bad_value", one(loop=loop("a", max_iterations=0)), "/nodes/0/loop/max_iterations"),
    ("limit_exceeded", one(loop=loop("a", max_iterations=10_001)), "/nodes/0/loop/max_iterations"),
    ("limit_raised", workflow(["a"], limits={"nodes": 10_001}), "/limits/nodes"),
    ("limit_exceeded", workflow(["a", "b"], limits={"nodes": 1}), "/nodes"),
    ("limit_exceeded", workflow(["a", "b", "c"], chain("a", "b", "c"), limits={"edges": 1}), "/edges"),
    ("limit_exceeded", workflow(["a"], metadata={"x": "y" * (1 << 20)}), ""),
    ("limit_exceeded", workflow(["a"], limits={"document_bytes": 20}), ""),
    # edges
    ("unknown_target", workflow(["a"], [edge("a", "b")]), "/edges/0/to"),
    ("unknown_target", workflow(["a"], [edge("b", "a")]), "/edges/0/from"),
    ("unknown_target", one(branch=branch(["b"])), "/nodes/0/branch/rules/0/next_nodes/0"),
    ("unknown_target", one(branch=branch(default=["b"])), "/nodes/0/branch/default/0"),
    ("unknown_target", one(loop=loop("b")), "/nodes/0/loop/loop_back_to"),
    ("unknown_target", one(loop=loop("a", break_path=["b"])), "/nodes/0/loop/break_path/0"),
    ("unknown_target", one(loop=loop("a", timeout_path=["b"])), "/nodes/0/loop/timeout_path/0"),
    ("duplicate_edge", workflow(["a", "b"], [edge("a", "b"), edge("a", "b", on="success")]), "/edges/1"),
    ("self_edge", workflow(["a"], [edge("a", "a")]), "/edges/0"),
    ("self_edge", one(branch=branch(["a"])), "/nodes/0/branch/rules/0/next_nodes/0"),
    ("bad_value", workflow(["a", "b"], [edge("a", "b", on="maybe")]), "/edges/0/on"),
    (
        "condition_on_governed_edge",
        workflow([node("a", branch=branch(["b"])), "b"], [edge("a", "b", condition="true")]),
        "/edges/0/condition",
    ),
    # blocks
    ("missing_key", one(branch={}), "/nodes/0/branch/rules"),
    ("missing_key", one(branch={"type": "agent_driven"}), "/nodes/0/branch/available_next_nodes"),
    ("bad_value", one(branch=branch(available_next_nodes=[])), "/nodes/0/branch/available_next_nodes"),
    ("bad_value", one(branch=branch(mode="last")), "/nodes/0/branch/mode"),
    ("missing_key", one(loop={"loop_back_to": "a"}), "/nodes/0/loop/condition"),
    # joins
    ("bad_value", one(join="most"), "/nodes/0/join"),
    ("bad_join", one(join={}), "/nodes/0/join"),
    ("bad_join", workflow(["a", node("b", join={"any": True, "count": 1})], [edge("a", "b")]), "/nodes/1/join"),
    ("bad_join", one(join={"count": 1}), "/nodes/0/join/count"),
    ("bad_join", workflow(["a", node("b", join={"count": 2})], [edge("a", "b")]), "/nodes/1/join/count"),
    ("bad_join", workflow(["a", node("b", join={"count": 0})], [edge("a", "b")]), "/nodes/1/join/count"),
    ("wrong_type", workflow(["a", node("b", join={"count": "1"})], [edge("a", "b")]), "/nodes/1/join/count"),
    ("wrong_type", one(join=5), "/nodes/0/join"),
    # loops
    ("bad_loop_target", workflow([node("a", loop=loop("b")), "b"], [edge("a", "b")]), "/nodes/0/loop/loop_back_to"),
    (
        "loop_second_entry",
        workflow(["x", "a", "b", node("c", loop=loop("a"))], [*chain("a", "b", "c"), edge("x", "b")]),
        "/edges/2",
    ),
    (
        "loop_second_exit",
        workflow(["a", "b", node("c", loop=loop("a")), "x"], [*chain("a", "b", "c"), edge("b", "x", on="always")]),
        "/edges/2",
    ),
    (
        "loops_overlap",
        workflow(["a", "b", node("c", loop=loop("a")), node("d", loop=loop("b"))], chain("a", "b", "c", "d")),
        "/nodes/3/loop/loop_back_to",
    ),
    # expressions
    ("bad_condition", workflow(["a", "b"], [edge("a", "b", condition=5)]), "/edges/0/condition"),
    ("unknown_node", workflow(["a", "b"], [edge("a", "b", condition="ctx.x.output")]), "/edges/0/condition"),
    (
        "unknown_node",
        one(loop=loop("a", condition={"type": "cel", "expression": 'ctx["no-such"].output'})),
        "/nodes/0/loop/condition/expression",
    ),
    (
        "unknown_node",
        one(type="transform", config={"value": [{"k": "1 ${ctx.x.output}"}]}),
        "/nodes/0/config/value/0/k",
    ),
    ("unknown_node", workflow(["a"], output={"r": "${ctx.x.output}"}), "/output/r"),
    (
        "reads_later_node",
        workflow(["a", "b", "c"], [*chain("b", "c"), edge("a", "b", condition="ctx.c.output")]),
        "/edges/1/condition",
    ),
    (
        "reads_later_node",
        workflow([node("a", "transform", config={"value": "${ctx.b.output}"}), "b"], [edge("a", "b")]),
        "/nodes/0/config/value",
    ),
    ("reads_later_node", one(type="transform", config={"value": "${ctx.a.output}"}), "/nodes/0/config/value"),
]


@pytest.mark.parametrize(("code", "document", "path"), PROBLEMS, ids=[f"{p[0]}-{n}" for n, p in enumerate(PROBLEMS)])
def test_each_problem_is_reported_once_at_its_exact_place(code, document, path):
    assert found(document) == [(code, path)]


def test_cel_that_does_not_parse_is_a_problem_at_the_expression():
    document = workflow(["a", "b"], [edge("a", "b", condition={"type": "cel", "expression": "1 +"})])
    [(code, path)] = found(document)
    assert path == "/edges/0/condition/expression" and "cel" in code


def test_a_cycle_is_named_with_its_nodes_and_what_cannot_be_reached():
    document = workflow(["a", "b", "c"], [edge("b", "c"), edge("c", "b")])
    _, problems, _ = check(document, limits=Limits())
    assert [(p.code, p.path) for p in problems] == [
        ("cycle", "/edges/1"),
        ("unreachable_node", "/nodes/1"),
        ("unreachable_node", "/nodes/2"),
    ]
    assert "b → c → b" in problems[0].message


def test_a_cycle_through_every_node_leaves_no_entry():
    assert found(workflow(["a", "b"], [edge("a", "b"), edge("b", "a")])) == [
        ("cycle", "/edges/1"),
        ("no_entry", "/nodes"),
    ]


def test_each_of_two_cycles_is_reported_and_a_back_edge_written_as_an_edge_is_one():
    edges = [*chain("e", "a", "b"), edge("b", "a"), *chain("e", "c", "d"), edge("d", "c")]
    assert found(workflow(["e", "a", "b", "c", "d"], edges)) == [("cycle", "/edges/2"), ("cycle", "/edges/5")]


def test_a_cycle_through_a_branch_block_is_found_at_the_block():
    document = workflow(["a", "b", node("c", branch=branch(["b"]))], chain("a", "b", "c"))
    assert found(document) == [("cycle", "/nodes/2/branch/rules/0/next_nodes/0")]


def test_an_unknown_handler_is_a_problem_only_where_handlers_are_known():
    document = one(type="function", config={"handler": "nope"})
    assert found(document) == []
    assert found(document, handlers=lambda name: name == "echo") == [("unknown_handler", "/nodes/0/config/handler")]


def test_all_problems_of_a_document_come_in_one_answer():
    document = workflow(
        ["a", "a", node("b", "lambda"), node("c", join={"count": 9}), node("d", timeout_ms=0), "e", "f"],
        [edge("a", "ghost"), edge("b", "c", condition="ctx.x.output"), edge("e", "f"), edge("f", "e")],
        extra=1,
    )
    assert set(found(document)) == {
        ("unknown_key", "/extra"),
        ("duplicate_id", "/nodes/1/id"),
        ("unknown_type", "/nodes/2/type"),
        ("bad_join", "/nodes/3/join/count"),
        ("bad_value", "/nodes/4/timeout_ms"),
        ("unknown_target", "/edges/0/to"),
        ("unknown_node", "/edges/1/condition"),
        ("cycle", "/edges/3"),
        ("unreachable_node", "/nodes/5"),
        ("unreachable_node", "/nodes/6"),
    }


def test_no_more_than_200_problems_are_listed_and_one_says_that_there_are_more():
    _, problems, _ = check(workflow([node(f"n{i}", "lambda") for i in range(250)]), limits=Limits())
    assert len(problems) == 201
    assert problems[-1].code == "too_many_problems"


def test_compiling_raises_with_every_problem():
    with pytest.raises(InvalidDocument) as refused:
        compile_workflow({"nodes": [{"id": "a", "type": "x"}], "y": 1}, limits=Limits())
    assert {problem.code for problem in refused.value.problems} == {"unknown_type", "unknown_key"}


def test_an_unknown_key_names_the_key_meant():
    _, problems, _ = check(one(timeout=5), limits=Limits())
    assert '"timeout"' in problems[0].message and '"timeout_ms"' in problems[0].message


def test_the_callers_document_is_left_as_it_is():
    document = {"nodes": [{"id": "a", "type": "parallel"}]}
    plan = compile_workflow(document, limits=Limits())
    assert document["nodes"][0]["type"] == "parallel"
    assert plan.document["nodes"][0]["type"] == "pass"
