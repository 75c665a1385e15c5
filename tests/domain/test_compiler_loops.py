"""Loop bodies, their nesting, and the edges that leave them."""

import pytest

from chalicelib.domain.compiler import check
from chalicelib.domain.limits import Limits
from tests.domain.documents import chain, compiled, edge, found, loop, node, workflow


def nested(extra_nodes=(), extra_edges=()):
    """o … (i … x … I) … O: loop I from i inside loop O from o."""
    nodes = ["o", "i", "x", node("I", loop=loop("i")), node("O", loop=loop("o")), *extra_nodes]
    return workflow(nodes, [*chain("o", "i", "x", "I", "O"), *extra_edges])


def test_loops_nest_from_the_outside_in():
    plan = compiled(nested(["after"], [edge("O", "after")]))
    assert {name: found.loops for name, found in plan.nodes.items()} == {
        "o": ("O",),
        "i": ("O", "I"),
        "x": ("O", "I"),
        "I": ("O", "I"),
        "O": ("O",),
        "after": (),
    }
    assert plan.leaving == {} and not any(found.counted for found in plan.nodes.values())


def test_loops_with_the_same_start_nest():
    plan = compiled(workflow(["a", node("b", loop=loop("a")), node("c", loop=loop("a"))], chain("a", "b", "c")))
    assert [found.loops for found in plan.nodes.values()] == [("c", "b"), ("c", "b"), ("c",)]


def test_a_node_may_loop_on_itself():
    plan = compiled(workflow([node("a", loop=loop("a", break_path=["b"], timeout_path=["t"])), "b", "t"]))
    assert plan.nodes["a"].loops == ("a",) and plan.nodes["a"].in_edges == ()
    block = plan.nodes["a"].loop
    assert (block.break_edges, block.timeout_edges) == (("a:b:success",), ("a:t:success",))
    assert block.has_break and block.has_timeout and block.max_iterations == 100
    assert plan.edges["a:b:success"].kind == "break" and plan.edges["a:t:success"].kind == "timeout"


def test_a_failure_edge_out_of_a_loop_vetoes_its_loop_node_and_waits_for_its_end():
    document = workflow(
        ["a", "b", node("L", loop=loop("a")), "h", "after"],
        [*chain("a", "b", "L", "after"), edge("b", "h", on="failure")],
    )
    plan = compiled(document)
    assert plan.leaving == {"L": ("b:h:failure",)}
    veto = plan.edges["b:L:veto"]
    assert (veto.source, veto.target, veto.on, veto.kind) == ("b", "L", "failure", "veto")
    assert plan.nodes["L"].in_edges == ("b:L:success", "b:L:veto") and plan.nodes["L"].counted
    assert plan.nodes["b"].out_edges == ("b:L:success", "b:h:failure", "b:L:veto")
    assert plan.nodes["h"].counted and plan.nodes["h"].loops == ()
    assert plan.entries == ("a",) and plan.terminals == ("h", "after")


def test_a_failure_edge_out_of_two_loops_vetoes_both_and_waits_for_the_outer():
    plan = compiled(nested(["h"], [edge("x", "h", on="failure")]))
    assert plan.leaving == {"O": ("x:h:failure",), "I": ("x:O:veto",)}
    assert {"x:I:veto", "x:O:veto"} <= set(plan.edges)


def test_a_failure_edge_that_stays_in_the_outer_loop_ends_the_inner_only():
    plan = compiled(nested(["h"], [edge("x", "h", on="failure"), edge("h", "O")]))
    assert plan.leaving == {"I": ("x:h:failure",)}
    assert "x:O:veto" not in plan.edges and plan.nodes["h"].loops == ("O",)


def test_failure_edges_of_the_loop_node_itself_do_not_wait_for_its_loop():
    plan = compiled(workflow(["a", node("L", loop=loop("a")), "h"], [edge("a", "L"), edge("L", "h", on="failure")]))
    assert plan.leaving == {} and list(plan.edges) == ["a:L:success", "L:h:failure"]
    assert not plan.nodes["h"].counted


def test_two_failure_edges_of_one_node_share_a_veto():
    edges = [*chain("a", "b", "L"), edge("b", "g", on="failure"), edge("b", "h", on="failure")]
    plan = compiled(workflow(["a", "b", node("L", loop=loop("a")), "g", "h"], edges))
    assert plan.leaving == {"L": ("b:g:failure", "b:h:failure")}
    assert plan.nodes["L"].in_edges.count("b:L:veto") == 1


def test_a_break_path_of_an_inner_loop_out_of_the_outer_is_a_second_exit():
    document = nested(["out"])
    document["nodes"][3]["loop"]["break_path"] = ["out", "O"]
    assert found(document) == [("loop_second_exit", "/nodes/3/loop/break_path/0")]


def test_a_branch_out_of_a_loop_body_is_a_second_exit():
    rules = {"rules": [{"condition": "true", "next_nodes": ["out"]}], "default": ["L"]}
    document = workflow(["a", node("b", branch=rules), node("L", loop=loop("a")), "out"], [edge("a", "b")])
    assert found(document) == [("loop_second_exit", "/nodes/1/branch/rules/0/next_nodes/0")]


def test_an_entry_node_that_leads_into_a_body_is_a_second_entry():
    document = workflow(["a", "e", "b", node("L", loop=loop("a"))], [*chain("a", "b", "L"), edge("e", "L")])
    assert found(document) == [("loop_second_entry", "/edges/2")]


def test_problems_of_several_loops_come_together():
    document = workflow(
        ["a", "e", node("L", loop=loop("a")), "m", node("M", loop=loop("a2")), "a2"],
        [edge("a", "L"), edge("e", "L"), edge("L", "m"), edge("m", "M"), edge("M", "a2")],
    )
    assert found(document) == [("loop_second_entry", "/edges/1"), ("bad_loop_target", "/nodes/4/loop/loop_back_to")]


@pytest.mark.parametrize("shape", ["nested", "crossed", "fan"])
def test_thousands_of_loops_over_the_same_nodes_are_refused_without_long_work(shape):
    names = [f"n{i}" for i in range(4000)]
    back = {"nested": lambda i: 3999 - i, "crossed": lambda i: max(0, i - 1999), "fan": lambda i: 0}[shape]
    nodes = [node(n, loop=loop(names[back(i)])) if i >= 2000 else n for i, n in enumerate(names)]
    _, problems, _ = check(workflow(nodes, chain(*names)), limits=Limits())
    assert "limit_exceeded" in {problem.code for problem in problems}


@pytest.mark.parametrize("shape", ["chain", "wide", "loops", "layers"])
def test_ten_thousand_nodes_compile_without_recursion(shape):
    names = [f"n{i}" for i in range(10_000)]
    nodes, edges = [*names], chain(*names)
    if shape == "wide":
        edges = [*(edge("n0", name) for name in names[1:-1]), *(edge(name, "n9999") for name in names[1:-1])]
    elif shape == "loops":
        nodes = [node(name, loop=loop(names[i - 9])) if i % 10 == 9 else name for i, name in enumerate(names)]
    elif shape == "layers":
        edges = [
            edge(f"n{100 * a + b}", f"n{100 * a + c}") for a in range(99) for b in range(0, 100, 50) for c in (150, 180)
        ]
    plan = compiled(workflow(nodes, edges), document_bytes=4 << 20)
    assert len(plan.nodes) == 10_000
