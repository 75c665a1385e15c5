"""Joins as the commit script counts them, against the rules of SPEC 3 written down once more."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from chalicelib.domain.commit import Draft, Event
from chalicelib.domain.ids import Token, parse_token
from chalicelib.domain.journal import Item
from tests.lua.boards import Board, arrival, begin, emits, said

NOT_TAKEN, TAKEN, VETO = 0, 1, 2


def verdict(need: int, total: int, resolved: list[int]) -> str:
    """What a join has come to once these edges are resolved."""
    taken, vetoed, left = resolved.count(TAKEN), resolved.count(VETO), total - len(resolved)
    if need == 0:
        if left:
            return ""
        return "fire" if taken and not vetoed else "skip"
    if vetoed:
        return "skip"
    if taken >= need:
        return "fire"
    return "skip" if taken + left < need else ""


def expected(need: int, total: int, hows: tuple[int, ...]) -> tuple[int, str] | None:
    """(index of the deciding arrival, verdict): the first verdict stands, whatever comes after."""
    for count in range(1, len(hows) + 1):
        found = verdict(need, total, list(hows[:count]))
        if found:
            return count - 1, found
    return None


CASES = [
    (need, total, hows)
    for total in range(1, 5)
    for need in range(total + 2)
    for hows in product((0, 1, 2), repeat=total)
]


def outcome(item: Item, first: int, count: int) -> tuple[int, str] | None:
    found = [(i - first, "fire") for i in item.fired if first <= i < first + count]
    found += [(i - first, "skip") for i in item.skipped if first <= i < first + count]
    assert len(found) <= 1
    return found[0] if found else None


def test_every_small_join_decides_as_the_rules_say_and_once(board: Board) -> None:
    begin(board, "a")
    arrivals = []
    for number, (need, total, hows) in enumerate(CASES):
        arrivals += [arrival(f"j{number}", f"e{i}", how, need, total) for i, how in enumerate(hows)]
    assert board.commit(said(Draft(arrivals=arrivals))).word == "OK"
    first, item = 0, board.item
    for case in CASES:
        need, total, hows = case
        assert outcome(item, first, len(hows)) == expected(need, total, hows), case
        first += len(hows)
    board.assert_twin()


@pytest.mark.parametrize("need", [0, 1, 2, 3])
def test_arrivals_in_commits_of_their_own_decide_as_in_one(board: Board, need: int) -> None:
    begin(board, "a")
    for number, hows in enumerate(permutations((TAKEN, TAKEN, NOT_TAKEN, VETO), 3)):
        got = None
        for i, how in enumerate(hows):
            board.commit(said(Draft(arrivals=[arrival(f"j{number}", f"e{i}", how, need, 3)])))
            found = outcome(board.item, 0, 1)
            assert not (got and found)
            got = (i, found[1]) if found else got
        assert got == expected(need, 3, hows), hows
    board.assert_twin()


def test_an_edge_is_resolved_once_and_the_first_resolution_holds(board: Board) -> None:
    begin(board, "a")
    for how in (TAKEN, TAKEN, NOT_TAKEN, VETO):
        board.commit(said(Draft(arrivals=[arrival("j", "e1", how, 0, 2)])))
    stored = board.stored()
    assert stored["jn"]["j@"] == "1|0|0|"
    assert stored["ed"]["j@|e1"] == "1:3"
    board.commit(said(Draft(arrivals=[arrival("j", "e2", NOT_TAKEN, 0, 2), arrival("j", "e2", TAKEN, 0, 2)])))
    assert board.item.fired == (0,)
    assert board.stored()["jn"]["j@"] == "1|1|0|fire:7"
    board.assert_twin()


def test_a_late_arrival_is_recorded_and_starts_nothing(board: Board) -> None:
    begin(board, "a")
    board.commit(said(Draft(arrivals=[arrival("j", "e1", TAKEN, 1, 3)])))
    before = board.stored()["tok"]
    board.commit(said(Draft(arrivals=[arrival("j", "e2", TAKEN, 1, 3), arrival("j", "e3", VETO, 1, 3)])))
    assert (board.item.fired, board.item.skipped) == ((), ())
    assert board.stored()["tok"] == before
    assert board.stored()["jn"]["j@"] == "2|0|1|fire:3"
    board.assert_twin()


def test_joins_of_other_scopes_and_names_that_resemble_are_apart(board: Board) -> None:
    begin(board, "a")
    tokens = [Token("j", (("l", 1),)), Token("j", (("l", 11),)), Token("j"), Token("j2")]
    board.commit(said(Draft(arrivals=[arrival(t.node, "e1", TAKEN, 0, 2, token=t) for t in tokens])))
    board.commit(said(Draft(arrivals=[arrival("j", "e2", TAKEN, 0, 2, token=tokens[0])])))
    assert {name: counts.split("|")[3] for name, counts in board.stored()["jn"].items()} == {
        "j@l=1": "fire:4",
        "j@l=11": "",
        "j@": "",
        "j2@": "",
    }
    board.assert_twin()


def losing(*names: str, around: str = "", first: str = "") -> tuple:
    return ((around, first, names),)


def test_the_firing_join_cancels_the_tokens_of_its_losers_with_their_timers(board: Board) -> None:
    begin(board, "slow", "$retry:late", "$arm:pause", "other", "slower")
    firing = arrival("j", "e1", TAKEN, 1, 4, losers=losing("slow", "late", "pause"))
    board.commit(said(Draft(arrivals=[firing])))
    assert sorted(board.item.lost) == ["$arm:pause@#0.1", "$retry:late@#0.1", "slow@#0.1"]
    beaten = {"$beaten:slow@#0.1", "$beaten:late@#0.1", "$beaten:pause@#0.1"}
    assert set(board.stored()["tok"]) == {"j@#0.1", "other@#0.1", "slower@#0.1"} | beaten
    assert board.commit(said(Draft(settle=Token("slow")))).record.split("|")[3] == "CANCELLED"
    board.assert_twin()


def test_losers_are_cancelled_within_the_joins_scope_alone(board: Board) -> None:
    begin(board, "a")
    scopes = [(("l", 1),), (("l", 1), ("m", 2)), (("l", 11),), (("l", 2),)]
    tokens = [Token("x", scope) for scope in scopes]
    starts = emits("keep") + [emit for token in tokens for emit in [type(emits("x")[0])(token, "t")]]
    board.commit(said(Draft(emits=starts)))
    firing = arrival(
        "j", "e", TAKEN, 1, 2, token=Token("j", (("l", 1),)), losers=losing("x", around="l=1", first="l=1")
    )
    board.commit(said(Draft(arrivals=[firing])))
    assert sorted(board.item.lost) == ["x@l=1#0.1", "x@l=1/m=2#0.1"]
    assert {"$beaten:x@l=1#0.1", "$beaten:x@l=1/m=2#0.1", "x@l=11#0.1", "x@l=2#0.1"} < set(board.stored()["tok"])
    board.assert_twin()


def test_a_loser_that_never_started_is_skipped_and_cannot_start_any_more(board: Board) -> None:
    begin(board, "a")
    board.commit(said(Draft(arrivals=[arrival("j", "e", TAKEN, 1, 2, losers=losing("x", "y"))])))
    assert board.item.dropped == ("x@#0.0", "y@#0.0")
    skips = {"x@#0.0", "y@#0.0"}
    for _ in range(2):  # while their skips are outstanding, and once they are settled
        before = board.item.seq + board.item.events
        board.commit(said(Draft(emits=emits("x", "z"), arrivals=[arrival("y", f"e{before}", TAKEN, 1, 9)])))
        assert (board.item.held, board.item.fired) == ((0,), ())
        assert set(board.stored()["tok"]) == {"a@#0.1", "j@#0.1", "z@#0.1"} | skips
        assert (board.item.seq, board.item.events) == (before, 2)
        board.assert_twin()
        for skip in sorted(skips):
            board.commit(said(Draft(settle=parse_token(skip), status="SKIPPED")))
        board.commit(said(Draft(settle=Token("z"))))
        skips = set()


def test_a_loser_that_has_finished_keeps_what_it_did(board: Board) -> None:
    begin(board, "a", "x")
    draft = Draft(settle=Token("x"), events=[Event("node_completed", Token("x"))])
    draft.values.append((Token("x"), {"s": "COMPLETED", "o": 1, "i": 1, "a": 1}))
    board.commit(draft)
    board.commit(said(Draft(arrivals=[arrival("j", "e", TAKEN, 1, 2, losers=losing("x"))])))
    assert (board.item.lost, board.item.dropped) == ((), ())
    assert board.stored()["done"]["x@#0.1"].split("|")[3] == "COMPLETED"
    board.assert_twin()


def test_a_loser_created_by_the_very_commit_that_fires_is_cancelled_again(board: Board) -> None:
    begin(board, "a")
    draft = Draft(settle=Token("a"), emits=emits("x"), events=[Event("node_completed", Token("a"))])
    draft.arrivals = [arrival("j", "e", TAKEN, 1, 2, losers=losing("x"))]
    board.commit(draft)
    assert board.item.lost == ("x@#0.1",)
    assert set(board.stored()["tok"]) == {"j@#0.1", "$beaten:x@#0.1"}
    assert board.item.events == 1 + 1 + 1  # completed, x and j dispatched; settling the other token says the rest
    board.assert_twin()


def test_a_commit_that_leaves_nothing_makes_the_end_and_one_that_makes_work_takes_it_back(board: Board) -> None:
    begin(board, "a")
    board.commit(said(Draft(settle=Token("a"))))
    assert list(board.stored()["tok"]) == ["$end@#3.0"]
    board.assert_twin()
    board.commit(said(Draft(emits=emits("b"))))
    assert list(board.stored()["tok"]) == ["b@#0.1"]
    board.assert_twin()
    board.commit(said(Draft(settle=Token("b"), arrivals=[arrival("j", "e", TAKEN, 0, 2)])))
    assert list(board.stored()["tok"]) == ["$end@#5.0"]
    board.assert_twin()
    board.commit(said(Draft(settle=Token("$end", (), None, 5, 0), final=True, meta={"status": "COMPLETED"})))
    assert board.stored()["tok"] == {}
    board.assert_twin()


def test_cancelling_all_ends_everything_but_what_the_same_commit_starts(board: Board) -> None:
    begin(board, "a", "b", "c")
    draft = Draft(settle=Token("a"), status="FAILED", cancel_all=True, emits=emits("mend"))
    draft.events = [Event("node_failed", Token("a"))]
    board.commit(draft)
    assert sorted(board.item.cancelled) == ["b@#0.1", "c@#0.1"]
    assert list(board.stored()["tok"]) == ["mend@#0.1"]
    assert board.item.events == 1 + 2 + 1
    board.assert_twin()


def test_a_field_set_once_keeps_its_first_value(board: Board) -> None:
    begin(board, "a", "b")
    board.commit(said(Draft(settle=Token("a"), once={"error": "first"})))
    board.commit(said(Draft(settle=Token("b"), once={"error": "second", "result": "r"})))
    assert {name: board.stored()["meta"][name] for name in ("error", "result")} == {"error": "first", "result": "r"}
    board.assert_twin()
