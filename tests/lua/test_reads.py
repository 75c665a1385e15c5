"""Reads as of a commit: what later commits wrote is not seen, in loops and over run variables alike."""

from __future__ import annotations

import json
import random

import pytest

from chalicelib.domain.commit import Draft
from chalicelib.domain.ids import Token, order_text, pointers
from chalicelib.engine.execution_input import _read as twin_read
from chalicelib.engine.store_calls import ReadCall
from tests.lua.boards import Board, arrival, begin, emits, said

#: (token, number of the commit that wrote its outcome)
History = list[tuple[Token, int]]


def settle(board: Board, token: Token, value: object = None, **more: object) -> int:
    draft = said(Draft(**more))
    draft.values = [(token, {"s": "COMPLETED", "o": value, "i": token.iteration, "a": 1})]
    assert board.commit(draft).word == "OK"
    return board.item.no


def read(board: Board, as_of: int, *fields: str) -> str | None:
    """The outcome found along these pointer fields, as `node@scope` text of its record's `o`."""
    record = board.store.read([ReadCall("r1", as_of, nodes=(("x", fields),))])[0].nodes["x"]
    return None if record is None else json.loads(record.split("|", 1)[1])["o"]


def test_a_plain_outcome_is_seen_from_its_commit_on(board: Board) -> None:
    begin(board, "a")
    no = settle(board, Token("x"), "v")
    assert [read(board, as_of, "x@") for as_of in (0, no - 1, no, no + 9)] == [None, None, "v", "v"]
    assert read(board, 99, "y@") is None


def test_each_iteration_sees_its_own_and_earlier_ones(board: Board) -> None:
    begin(board, "a")
    numbers = [settle(board, Token("x", (("l", i),)), i) for i in (1, 2, 3)]
    for i, no in enumerate(numbers, 1):
        assert read(board, no, f"x@l={i}", "x@") == i
        assert read(board, no - 1, "x@") == (i - 1 or None)
        assert read(board, 99, f"x@l={i}") == i
    assert read(board, numbers[0], "x@l=2", "x@") == 1
    assert read(board, 99, "x@l=4", "x@") == 3


def test_inner_loops_are_searched_from_the_newest_outer_iteration_back(board: Board) -> None:
    begin(board, "a")
    numbers = {}
    for outer, inner in ((1, 1), (1, 2), (2, 1), (2, 2), (10, 1)):
        numbers[outer, inner] = settle(board, Token("x", (("o", outer), ("i", inner))), f"{outer}.{inner}")
    assert read(board, 99, "x@") == "10.1"
    assert read(board, numbers[10, 1] - 1, "x@") == "2.2"
    assert read(board, numbers[2, 1] - 1, "x@o=2", "x@") == "1.2"
    assert read(board, 99, "x@o=1") == "1.2"
    assert read(board, 99, "x@o=1/i=1") == "1.1"


def test_a_late_outcome_of_an_older_iteration_does_not_replace_a_newer(board: Board) -> None:
    begin(board, "a")
    settle(board, Token("x", (("l", 2),)), "two")
    late = settle(board, Token("x", (("l", 1),)), "one")
    assert read(board, late, "x@") == "two"
    assert read(board, late, "x@l=1") == "one"


def test_an_epoch_hides_what_was_before_it_from_its_commit_on(board: Board) -> None:
    begin(board, "a")
    first = settle(board, Token("x"), "first")
    second = settle(board, Token("x", epoch=1), "second")
    third = settle(board, Token("x", epoch=3), "third")
    assert [read(board, no, "x@") for no in (first - 1, first, second - 1, second, third - 1, third)] == [
        None,
        "first",
        "first",
        "second",
        "second",
        "third",
    ]


def test_variables_have_a_history(board: Board) -> None:
    begin(board, "a")
    numbers = [settle(board, Token(f"n{i}"), vars={"v": i, "w": 0} if i % 2 else {"v": i}) for i in range(5)]
    for i, no in enumerate(numbers):
        answer = board.store.read([ReadCall("r1", no, vars=("v", "w", "none"))])[0]
        assert answer.vars["v"].split("|", 2)[2] == str(i)
        assert (answer.vars["w"] is None) == (i == 0)
        assert answer.vars["none"] is None
    assert board.store.read([ReadCall("r1", numbers[0] - 1, vars=("v",))])[0].vars == {"v": None}


def test_edges_joins_tokens_and_meta_are_given_as_they_are_now(board: Board) -> None:
    begin(board, "a")
    board.commit(said(Draft(arrivals=[arrival("j", "e", 1, 1, 2)])))
    call = ReadCall("r1", 0, (), (), ("j@|e", "j@|f"), ("gen", "nothing"), ("j@#0.1", "k"), ("j@", "k@"))
    answer = board.store.read([call])[0]
    assert answer.edges == {"j@|e": "1:3", "j@|f": None}
    assert answer.joins == {"j@": "1|0|0|fire:3", "k@": None}
    assert answer.meta == {"gen": "c1", "nothing": None}
    assert answer.tokens["j@#0.1"].startswith("3|c3|")
    assert answer.tokens["k"] is None


def test_reads_of_several_runs_come_back_in_order(board: Board) -> None:
    others = [Board(board.store, f"q{i}") for i in range(5)]
    for number, other in enumerate(others):
        begin(other, *[f"n{i}" for i in range(number)])
        settle(other, Token("x"), number)
    calls = [ReadCall(other.run_id, 9, nodes=(("x", ("x@",)),)) for other in reversed(others)]
    calls.insert(2, ReadCall("missing", 9, nodes=(("x", ("x@",)),)))
    answers = board.store.read(calls)
    assert [answer.found for answer in answers] == [True, True, False, True, True, True]
    values = [json.loads(answer.nodes["x"].split("|", 1)[1])["o"] for answer in answers if answer.found]
    assert values == [4, 3, 2, 1, 0]


def newest(history: History, field: str, as_of: int) -> str | None:
    """The definition: of all outcomes below the field as of the commit, the greatest in epoch and iterations."""
    below = [token for token, no in history if no <= as_of and field in [name for name, _, _ in pointers(token)]]
    return max(below, key=order_text).value_key if below else None


def random_history(rng: random.Random, board: Board) -> History:
    """Nodes in no, one and two loops whose iterations settle in any order; nodes outside loops also in epochs."""
    tokens = [Token("flat", epoch=epoch) for epoch in range(3)]
    tokens += [Token("one", (("o", i),)) for i in range(1, 13)]
    tokens += [Token("two", (("o", i), ("i", k))) for i in range(1, 4) for k in range(1, rng.randint(2, 12))]
    rng.shuffle(tokens)
    flat = [token for token in tokens if token.node == "flat"]
    tokens = [token for token in tokens if token.node != "flat"]
    for token in sorted(flat, key=order_text):
        tokens.insert(rng.randint(0, len(tokens)), token)
    seen: dict[str, int] = {}
    kept = [t for t in tokens if t.node != "flat" or seen.setdefault(t.node, -1) < t.epoch]
    found: History = []
    for token in kept[: rng.randint(1, len(kept))]:
        found.append((token, settle(board, token, token.value_key, vars={rng.choice("uvw"): len(found)})))
    return found


FIELDS = ["flat@", "one@", "two@", "none@"]
FIELDS += [f"one@o={i}" for i in range(1, 14)] + [f"two@o={i}" for i in range(1, 5)]
FIELDS += [f"two@o={i}/i={k}" for i in (1, 2) for k in range(1, 6)]


@pytest.mark.parametrize("seed", range(12))
def test_reads_over_random_histories_give_what_the_definition_says(seed: int, board: Board) -> None:
    rng = random.Random(seed)
    begin(board, "a")
    history = random_history(rng, board)
    last = board.item.no
    state = board.stored()
    moments = sorted({0, 2, last, *rng.sample(range(2, last + 1), min(12, last - 1))})
    calls = [ReadCall("r1", no, tuple((field, (field,)) for field in FIELDS), ("u", "v", "w")) for no in moments]
    for as_of, call, answer in zip(moments, calls, board.store.read(calls), strict=True):
        for field in FIELDS:
            record = answer.nodes[field]
            got = None if record is None else json.loads(record.split("|", 1)[1])["o"]
            assert got == newest(history, field, as_of), (field, as_of)
        again = twin_read(state, call)
        assert (again.nodes, again.vars) == (answer.nodes, answer.vars)


def test_an_outcome_that_is_named_by_its_key_is_read_even_where_no_pointer_leads_to_it(board: Board) -> None:
    begin(board, "a")
    old = settle(board, Token("x", (("l", 1),)), "old", drop=[("last", "x@l=1")])
    settle(board, Token("x", (("l", 1),), epoch=1), "new")
    board.commit(said(Draft(drop=[("last", "x@l=1"), ("last", "x@")])))
    assert read(board, 99, "x@l=1", "x@") is None
    assert [read(board, no, "x@l=1#0") for no in (old - 1, old, 99)] == [None, "old", "old"]
    assert (read(board, 99, "x@l=1#1"), read(board, 99, "x@l=1#2")) == ("new", None)
    call = ReadCall("r1", 99, nodes=(("x", ("x@l=1#0",)), ("y", ("x@#0",))))
    assert twin_read(board.stored(), call).nodes == board.store.read([call])[0].nodes


def test_the_fields_of_a_reader_are_tried_from_the_inside_out(board: Board) -> None:
    begin(board, "a")
    settle(board, Token("x", (("l", 1),)), "inner")
    settle(board, Token("y"), "outer")
    call = ReadCall("r1", 99, nodes=(("x", ("x@l=2", "x@")), ("y", ("y@l=1", "y@")), ("z", ())))
    found = board.store.read([call])[0].nodes
    assert json.loads(found["x"].split("|", 1)[1])["o"] == "inner"
    assert json.loads(found["y"].split("|", 1)[1])["o"] == "outer"
    assert found["z"] is None


def test_skipped_and_failed_outcomes_are_read_like_others(board: Board) -> None:
    begin(board, "a", "b")
    draft = Draft(settle=Token("a"), status="FAILED", error={"type": "Boom"}, emits=emits("c"))
    draft.values = [(Token("a"), {"s": "FAILED", "e": {"type": "Boom"}, "i": 1, "a": 1})]
    draft.values += [(Token("d", attempt=0), {"s": "SKIPPED", "i": 1, "a": 0})]
    board.commit(said(draft))
    found = board.store.read([ReadCall("r1", 3, nodes=(("a", ("a@",)), ("d", ("d@",))))])[0].nodes
    assert [json.loads(found[name].split("|", 1)[1])["s"] for name in "ad"] == ["FAILED", "SKIPPED"]
    board.assert_twin()
