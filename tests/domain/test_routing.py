"""From a settled node along its edges, as values: what starts, what is skipped, what must be counted."""

from __future__ import annotations

import pytest

from chalicelib.domain.commit import Draft
from chalicelib.domain.ids import Scope, Token
from chalicelib.domain.ir import Plan
from chalicelib.domain.routing import FAN, MAX_SKIPS, Router, loop_back_scope
from tests.domain.documents import chain, compiled, edge, loop, node, workflow


def routed(plan: Plan, edges: dict[str, int], scope: Scope = (), ended: str | None = None, epoch: int = 0) -> Draft:
    draft = Draft()
    Router(plan, draft, epoch).resolve(edges, scope, ended_loop=ended)
    return draft


def started(draft: Draft) -> list[str]:
    return [f"{emit.kind} {emit.token.text}" for emit in draft.emits]


def skipped(draft: Draft) -> list[str]:
    return [token.text for token in draft.skips]


def arrived(draft: Draft) -> list[tuple]:
    return [(a.instance, a.edge, a.how, a.need, a.total) for a in draft.arrivals]


def test_a_taken_edge_starts_its_target_in_the_way_of_its_type() -> None:
    nodes = [
        "a",
        node("f", "function", config={"handler": "echo"}),
        node("h", "http", config={"url": "https://example.com"}),
        node("w", "wait", config={"seconds": 1}),
        node("t", "transform", config={"value": 1}),
        "p",
    ]
    plan = compiled(workflow(nodes, [edge("a", name) for name in "fhwtp"]))
    draft = routed(plan, dict.fromkeys(plan.nodes["a"].out_edges, 1), epoch=3)
    assert started(draft) == ["t f@#3.1", "t h@#3.1", "i $arm:w@#3.1", "i t@#3.1", "i p@#3.1"]
    assert (draft.skips, draft.arrivals) == ([], [])


def test_an_edge_not_taken_skips_all_that_hangs_on_it_alone() -> None:
    plan = compiled(workflow("abcd", chain("a", "b", "c", "d")))
    draft = routed(plan, {"a:b:success": 0})
    assert skipped(draft) == ["b@#0.0", "c@#0.0", "d@#0.0"]
    assert [event.type for event in draft.events] == ["node_skipped"] * 3
    assert [record["s"] for _, record in draft.values] == ["SKIPPED"] * 3
    assert draft.emits == []


def test_a_skip_stops_at_a_join_which_the_store_counts() -> None:
    plan = compiled(workflow("sabcj", [*chain("s", "a", "b", "j"), edge("s", "c"), edge("c", "j")]))
    draft = routed(plan, {"s:a:success": 0, "s:c:success": 1})
    assert skipped(draft) == ["a@#0.0", "b@#0.0"]
    assert arrived(draft) == [("j@", "b:j:success", 0, 0, 2)]
    (arrival,) = draft.arrivals
    assert (arrival.fire.token, arrival.fire.kind) == (Token("j"), "i")
    assert (arrival.skip.token, arrival.skip.data) == (Token("j", attempt=0), {"skip": 1})


@pytest.mark.parametrize(("join", "need"), [("all", 0), ("any", 1), ({"any": True}, 1), ({"count": 2}, 2)])
def test_an_arrival_says_how_many_its_join_needs(join: object, need: int) -> None:
    nodes = ["s", "a", "b", "c", node("j", join=join)]
    edges = [edge("s", name) for name in "abc"] + [edge(name, "j") for name in "abc"]
    draft = routed(compiled(workflow(nodes, edges)), {"a:j:success": 1})
    assert arrived(draft) == [("j@", "a:j:success", 1, need, 3)]


def test_the_losers_of_a_join_go_with_each_arrival() -> None:
    nodes = ["s", "a", "b", node("j", join={"any": True, "cancel_losers": True})]
    plan = compiled(workflow(nodes, [edge("s", "a"), edge("s", "b"), edge("a", "j"), edge("b", "j")]))
    (arrival,) = routed(plan, {"a:j:success": 1}).arrivals
    assert arrival.losers == (("", "", ("s", "a", "b")),)


LOOPED = workflow(
    ["s", "x", "y", node("l", "loop", loop=loop("x", max_iterations=5)), "after"],
    chain("s", "x", "y", "l", "after"),
)


def test_entering_a_loop_begins_its_first_iteration_and_leaving_it_drops_the_count() -> None:
    plan = compiled(LOOPED)
    assert started(routed(plan, {"s:x:success": 1})) == ["i x@l=1#0.1"]
    assert started(routed(plan, {"x:y:success": 1}, (("l", 4),))) == ["i y@l=4#0.1"]
    assert started(routed(plan, {"l:after:success": 1}, (("l", 4),), ended="l")) == ["i after@#0.1"]


def nested() -> Plan:
    nodes = [
        "x",
        "y",
        node("i", "loop", loop=loop("y", max_iterations=3)),
        node("o", "loop", loop=loop("x", max_iterations=3)),
        "z",
    ]
    return compiled(workflow(nodes, chain("x", "y", "i", "o", "z")))


def test_loops_nest_and_the_inner_count_begins_anew() -> None:
    plan = nested()
    assert plan.nodes["y"].loops == ("o", "i")
    assert started(routed(plan, {"x:y:success": 1}, (("o", 2),))) == ["i y@o=2/i=1#0.1"]
    assert started(routed(plan, {"i:o:success": 1}, (("o", 2), ("i", 3)), ended="i")) == ["i o@o=2#0.1"]


def test_going_back_raises_the_loops_own_count() -> None:
    plan = nested()
    assert loop_back_scope(plan, Token("i", (("o", 2), ("i", 1)))) == (("o", 2), ("i", 2))
    assert loop_back_scope(plan, Token("o", (("o", 2),))) == (("o", 3),)
    back_into_inner = compiled(
        workflow(
            [node("i", "loop", loop=loop("i", max_iterations=2)), node("o", "loop", loop=loop("i", max_iterations=2))],
            chain("i", "o"),
        )
    )
    assert loop_back_scope(back_into_inner, Token("o", (("o", 1),))) == (("o", 2), ("i", 1))


def leaving() -> Plan:
    """A body node whose failure is mended outside the loop."""
    nodes = ["x", node("l", "loop", loop=loop("x", max_iterations=3)), "mend", "after"]
    return compiled(workflow(nodes, [*chain("x", "l", "after"), edge("x", "mend", on="failure")]))


def test_a_failure_edge_out_of_a_body_stays_open_until_the_loop_has_ended() -> None:
    plan = leaving()
    draft = routed(plan, {"x:l:success": 1, "x:mend:failure": 0}, (("l", 1),))
    assert "x:mend:failure" not in [edge for _, edge, *_ in arrived(draft)]
    ended = Draft()
    Router(plan, ended, 0).end_loop("l", (("l", 2),))
    assert [(i, e, how) for i, e, how, *_ in arrived(ended)] == [("mend@", "x:mend:failure", 0)]


def test_a_taken_failure_edge_out_of_a_body_vetoes_the_loop_node() -> None:
    plan = leaving()
    (veto,) = [key for key, found in plan.edges.items() if found.kind == "veto"]
    draft = routed(plan, {"x:l:success": 0, "x:mend:failure": 1, veto: 1}, (("l", 2),))
    counted = {(instance, how) for instance, _, how, *_ in arrived(draft)}
    assert ("l@l=2", 2) in counted
    assert ("mend@", 1) in counted


def test_a_skipped_loop_node_ends_its_loop() -> None:
    plan = leaving()
    draft = Draft(settle=Token("l", (("l", 1),), attempt=0))
    Router(plan, draft, 0).follow_skip(Token("l", (("l", 1),), attempt=0))
    assert skipped(draft) == ["after@#0.0"]
    assert [(i, e, how) for i, e, how, *_ in arrived(draft)] == [("mend@", "x:mend:failure", 0)]
    assert [event.token.node for event in draft.events] == ["l", "after"]


def wide(count: int) -> Plan:
    names = [f"n{i}" for i in range(count)]
    return compiled(workflow(["a", *names], [edge("a", name) for name in names]))


@pytest.mark.parametrize("taken", [FAN - 1, FAN])
def test_up_to_a_hundred_edges_are_taken_in_one_commit(taken: int) -> None:
    plan = wide(250)
    keys = plan.nodes["a"].out_edges
    draft = routed(plan, {key: int(i < taken) for i, key in enumerate(keys)})
    assert len(draft.emits) == taken + (250 - taken - MAX_SKIPS if 250 - taken > MAX_SKIPS else 0)
    assert not any(emit.token.node.startswith("$fan") for emit in draft.emits)


def test_more_edges_go_on_through_tokens_of_a_hundred_each() -> None:
    plan = wide(250)
    edges = {key: int(i % 2 == 0 or i < 100) for i, key in enumerate(plan.nodes["a"].out_edges)}
    draft = routed(plan, edges, (("l", 1),), ended="l", epoch=2)
    assert started(draft) == [f"i $fan:a:{start}@l=1#2.1" for start in (0, 100, 200)]
    assert draft.skips == []
    parts = [emit.data for emit in draft.emits]
    assert {key: how for part in parts for key, how in part["edges"].items()} == edges
    assert [len(part["edges"]) for part in parts] == [100, 100, 50]
    assert {part["ended"] for part in parts} == {"l"}


def test_a_part_of_a_wide_fan_is_resolved_at_once() -> None:
    plan = wide(250)
    draft = Draft()
    Router(plan, draft, 0).resolve_part(dict.fromkeys(plan.nodes["a"].out_edges[:150], 1), ())
    assert len(draft.emits) == 150


def test_a_long_chain_of_skips_goes_on_in_another_commit() -> None:
    names = [f"n{i}" for i in range(500)]
    plan = compiled(workflow(["a", *names], chain("a", *names)))
    draft = routed(plan, {"a:n0:success": 0})
    assert skipped(draft) == [f"n{i}@#0.0" for i in range(MAX_SKIPS)]
    assert started(draft) == [f"i n{MAX_SKIPS}@#0.0"]
    assert draft.emits[0].data == {"skip": 1}
    following = Draft()
    Router(plan, following, 0).follow_skip(draft.emits[0].token)
    assert skipped(following)[0] == f"n{MAX_SKIPS + 1}@#0.0"
    assert len(following.skips) == MAX_SKIPS
    assert following.events[0].token.node == f"n{MAX_SKIPS}"


def test_many_skips_beside_one_another_are_put_off_one_by_one() -> None:
    plan = wide(250)
    draft = routed(plan, dict.fromkeys(plan.nodes["a"].out_edges, 0))
    assert (len(draft.skips), len(draft.emits)) == (MAX_SKIPS, 50)
    assert all(emit.token.attempt == 0 for emit in draft.emits)


def test_edges_of_both_kinds_from_one_source_are_two_to_a_join() -> None:
    plan = compiled(workflow("ab", [edge("a", "b"), edge("a", "b", on="failure")]))
    draft = routed(plan, {"a:b:success": 1, "a:b:failure": 0})
    assert arrived(draft) == [("b@", "a:b:success", 1, 0, 2), ("b@", "a:b:failure", 0, 0, 2)]
