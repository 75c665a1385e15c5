"""Failures on the way to joins that have fired, and only on that way, do not matter (HAZARDS 20)."""

from __future__ import annotations

import pytest

from chalicelib.domain.harmless import MAX_JOINS, is_harmless, joins_ahead
from tests.domain.documents import chain, compiled, edge, loop, node, workflow

ANY = {"any": True}


def race(*more_edges: dict, **more_nodes: object) -> object:
    """s starts a and b; the first of them runs j, then k."""
    names = ["s", "a", "b", node("j", join=ANY), "k", *(node(name) for name in more_nodes.get("names", ()))]
    edges = [edge("s", "a"), edge("s", "b"), edge("a", "j"), edge("b", "j"), edge("j", "k"), *more_edges]
    return compiled(workflow(names, edges))


def test_a_node_whose_only_way_is_a_fired_join_is_harmless() -> None:
    plan = race()
    assert joins_ahead(plan, "b") == ("j",)
    assert is_harmless(plan, "b", ("j",))
    assert is_harmless(plan, "s", ("j",))


def test_nothing_is_harmless_while_no_join_has_fired() -> None:
    plan = race()
    assert not is_harmless(plan, "b", ())
    assert not is_harmless(plan, "b", ("another",))


def test_what_comes_after_the_join_is_not() -> None:
    plan = race()
    assert joins_ahead(plan, "k") == ()
    assert not is_harmless(plan, "j", ("j",))
    assert not is_harmless(plan, "k", ("j",))


def test_a_side_way_that_ends_elsewhere_matters() -> None:
    plan = race(edge("b", "x"), names=("x",))
    assert not is_harmless(plan, "b", ("j",))
    assert is_harmless(plan, "a", ("j",))


def test_a_longer_way_is_followed_and_joins_of_all_are_no_end() -> None:
    plan = race(edge("b", "x"), edge("b", "y"), edge("x", "z"), edge("y", "z"), edge("z", "j"), names=("x", "y", "z"))
    assert joins_ahead(plan, "b") == ("j",)
    assert is_harmless(plan, "b", ("j",))


def test_all_the_joins_on_the_ways_must_have_fired() -> None:
    edges = [edge("s", "a"), edge("s", "b"), edge("a", "j"), edge("b", "j"), edge("a", "k"), edge("b", "k")]
    plan = compiled(workflow(["s", "a", "b", node("j", join=ANY), node("k", join=ANY)], edges))
    assert set(joins_ahead(plan, "a")) == {"j", "k"}
    assert not is_harmless(plan, "a", ("j",))
    assert is_harmless(plan, "a", ("k", "j"))


@pytest.mark.parametrize("fired", [(), ("j",)])
def test_a_loop_is_walked_once(fired: tuple[str, ...]) -> None:
    nodes = ["s", "a", node("l", "loop", loop=loop("a", max_iterations=3)), "b", node("j", join=ANY)]
    plan = compiled(workflow(nodes, [*chain("s", "a", "l", "j"), edge("s", "b"), edge("b", "j")]))
    assert joins_ahead(plan, "a") == ("j",)
    assert is_harmless(plan, "a", fired) == bool(fired)


def test_too_many_joins_ahead_count_as_ones_that_matter() -> None:
    names = [f"j{i}" for i in range(MAX_JOINS + 1)]
    edges = [edge("s", "a"), edge("s", "b")]
    edges += [edge(source, name) for name in names for source in ("a", "b")]
    plan = compiled(workflow(["s", "a", "b", *(node(name, join=ANY) for name in names)], edges))
    assert joins_ahead(plan, "a") == ()
