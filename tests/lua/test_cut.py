"""A commit that cuts the run (HAZARDS 23): what it leaves, and which joins may run from then on."""

from __future__ import annotations

import pytest

from chalicelib.adapters.redis.store import RedisRunStore
from chalicelib.domain.commit import Draft, Emit, Event
from chalicelib.domain.fold import fold
from chalicelib.domain.ids import Token, parse_token
from chalicelib.domain.journal import parse_item
from tests.lua.boards import Board, arrival, begin, emits, said

NOT_TAKEN, TAKEN = 0, 1


def cut(board: Board, node: str, **more: object) -> None:
    """This node fails: all is cancelled but what the commit itself starts."""
    draft = Draft(settle=Token(node), status="FAILED", cancel_all=True, cut=True, **more)  # type: ignore[arg-type]
    draft.events = [Event("node_failed", Token(node))]
    assert board.commit(draft).word == "OK"
    board.assert_twin()


def resolve(board: Board, edge: str, how: int, total: int = 2, need: int = 0, **more: object) -> None:
    board.commit(said(Draft(arrivals=[arrival("j", edge, how, need, total)], **more)))  # type: ignore[arg-type]
    board.assert_twin()


def test_nodes_and_their_timers_are_cancelled_and_their_edges_are_to_be_resolved(board: Board) -> None:
    begin(board, "a", "b", "$retry:c", "$arm:d")
    cut(board, "a", emits=emits("mend"))
    assert sorted(board.item.lost) == ["$arm:d@#0.1", "$retry:c@#0.1", "b@#0.1"]
    assert board.item.cancelled == ()
    beaten = {"$beaten:b@#0.1", "$beaten:c@#0.1", "$beaten:d@#0.1"}
    assert set(board.stored()["tok"]) == {"mend@#0.1"} | beaten
    assert board.stored()["meta"]["cut"] == str(board.item.no)
    assert board.item.events == 1 + 1  # failed, and mend begins; settling the others says that they are cancelled


def test_what_only_resolves_edges_goes_on_and_what_starts_work_of_the_cancelled_does_not(board: Board) -> None:
    begin(board, "a", "$beaten:x", "$fan:s:0", "$fan:$start:0", "$fan:$patch1:s:0", "$fan:items:0")
    skip, item = Token("y", attempt=0), Token("m", index=3)
    arming, part = Token("$arm:m", index=4), Token("$fan:m", index=100)
    board.commit(said(Draft(emits=[Emit(skip, "i", {"skip": 1}), Emit(item, "t"), Emit(arming, "i"), Emit(part, "i")])))
    cut(board, "a", emits=emits("mend"))
    assert sorted(board.item.cancelled) == ["$arm:m@[4]#0.1", "$fan:m@[100]#0.1", "m@[3]#0.1"]
    assert board.item.lost == ()
    going_on = {"$beaten:x", "$fan:s:0", "$fan:$start:0", "$fan:$patch1:s:0", "$fan:items:0", "mend"}
    assert set(board.stored()["tok"]) == {f"{name}@#0.1" for name in going_on} | {"y@#0.0"}


def test_a_join_that_was_reached_before_alone_is_skipped(board: Board) -> None:
    begin(board, "a", "b")
    resolve(board, "done", TAKEN)
    cut(board, "a", emits=emits("mend"))
    resolve(board, "b", NOT_TAKEN, settle=parse_token("$beaten:b@#0.1"))
    assert board.item.skipped == (0,) and board.item.fired == ()
    assert board.stored()["jn"]["j@"] == f"1|1|0|skip:{board.item.no}"


@pytest.mark.parametrize("need", [0, 1, 2])
def test_a_join_that_is_reached_anew_runs(board: Board, need: int) -> None:
    begin(board, "a", "b", "c")
    if need != 1:
        resolve(board, "done", TAKEN, 3, need)
    cut(board, "a", emits=emits("mend"))
    resolve(board, "mend", TAKEN, 3, need)
    if need == 0:
        assert board.item.fired == ()
        resolve(board, "b", NOT_TAKEN, 3, need, settle=parse_token("$beaten:b@#0.1"))
    assert board.item.fired == (0,)


def test_an_edge_of_the_failed_node_reaches_a_join_in_the_very_commit(board: Board) -> None:
    begin(board, "a", "b")
    resolve(board, "b", NOT_TAKEN)
    cut(board, "a", arrivals=[arrival("j", "a", TAKEN, 0, 2)])
    assert board.item.fired == (0,)


def test_a_second_cut_takes_back_what_the_first_let_through(board: Board) -> None:
    begin(board, "a", "b")
    cut(board, "a", emits=emits("mend", "fix"))
    resolve(board, "mend", TAKEN, 3)
    cut(board, "fix", emits=emits("more"))
    resolve(board, "b", NOT_TAKEN, 3, settle=parse_token("$beaten:b@#0.1"))
    resolve(board, "more", NOT_TAKEN, 3, settle=Token("more"))
    assert board.item.skipped == (0,)


def test_what_began_before_the_cut_takes_its_edges_as_if_it_had_ended_then(board: Board) -> None:
    begin(board, "a", "b", "$fan:s:0")
    cut(board, "a", emits=emits("mend"))
    resolve(board, "s", TAKEN, settle=parse_token("$fan:s:0@#0.1"))
    resolve(board, "b", NOT_TAKEN, settle=parse_token("$beaten:b@#0.1"))
    assert board.item.skipped == (0,)


def test_an_edge_that_is_resolved_again_is_no_new_one(board: Board) -> None:
    """A patch counts a join anew by letting one of its edges arrive a second time."""
    begin(board, "a", "b")
    resolve(board, "done", TAKEN)
    cut(board, "a", emits=emits("mend"))
    resolve(board, "done", TAKEN, 1, drop=[("ed", "j@|done")], put=[("jn", "j@", "0|0|0|")])
    assert board.item.skipped == (0,)


def test_a_run_that_is_taken_up_again_is_whole(board: Board) -> None:
    begin(board, "a", "b")
    resolve(board, "done", TAKEN)
    cut(board, "a", emits=emits("mend"))
    board.commit(said(Draft(drop=[("meta", "cut")])))
    resolve(board, "b", NOT_TAKEN)
    assert board.item.fired == (0,)


def test_a_node_that_is_cancelled_before_it_began_is_settled_as_such(board: Board) -> None:
    begin(board, "a")
    board.commit(said(Draft(skips=[Token("x"), Token("y", attempt=0)])))
    done = board.stored()["done"]
    assert (done["x@#0.1"].split("|")[3], done["y@#0.0"].split("|")[3]) == ("CANCELLED", "SKIPPED")
    board.assert_twin()


def test_without_a_cut_nothing_is_noted_of_joins(board: Board) -> None:
    begin(board, "a", "b")
    resolve(board, "e1", TAKEN)
    draft = Draft(settle=Token("a"), status="FAILED", cancel_all=True, events=[Event("node_failed", Token("a"))])
    board.commit(draft)
    assert (board.item.cancelled, board.item.lost) == (("b@#0.1",), ())
    assert board.stored()["box"] == {} and "cut" not in board.stored()["meta"]
    board.assert_twin()


def test_a_store_built_anew_amid_a_cut_goes_on_like_the_one_that_was_lost(board: Board, store: RedisRunStore) -> None:
    begin(board, "a", "b")
    resolve(board, "done", TAKEN)
    cut(board, "a", emits=emits("mend"))
    board.commit(said(Draft(arrivals=[arrival("k", "mend", TAKEN, 0, 2)])))
    state = fold([parse_item(text) for text in board.texts])
    stored = board.stored()["meta"]
    assert store.install("r1", state, replaces=f"{stored['no']}|{stored['cid']}")
    both = [arrival("j", "b", NOT_TAKEN, 0, 2), arrival("k", "b", NOT_TAKEN, 0, 2)]
    board.commit(said(Draft(settle=parse_token("$beaten:b@#0.1"), arrivals=both)))
    assert (board.item.skipped, board.item.fired) == ((0,), (1,))
    board.assert_twin()
