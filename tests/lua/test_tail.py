"""The unwritten tail: what the journal does not have yet, who writes it, and what an acknowledgement forgets."""

from __future__ import annotations

from itertools import pairwise

import pytest
import redis

from chalicelib.domain.commit import Draft
from chalicelib.domain.ids import Token
from chalicelib.domain.journal import compose
from tests.lua.boards import T0, Board, begin, dump, emits, said

LEASE_MS = 2000


def grow(board: Board, count: int, **more: object) -> None:
    for _ in range(count):
        board.commit(said(Draft()), **more)


def tail_numbers(board: Board) -> list[int]:
    return sorted(int(field) for field in board.stored()["tail"] if field.isdigit())


def test_the_tail_holds_each_item_byte_for_byte_until_it_is_acknowledged(board: Board) -> None:
    begin(board, "a", "b")
    grow(board, 2)
    mark, lease, items = board.store.unwritten("r1", "me", T0)
    assert (mark, lease) == (1, True)
    assert [compose(head, body) for head, body in items] == board.texts[1:]
    board.store.acknowledge([("r1", *board.ack(3), ())])
    assert tail_numbers(board) == [4]
    assert board.stored()["meta"]["mark"] == "3"
    assert set(board.stored()["tail"]) == {"4", "4c"}


BAD_ACKS = {
    "another commit's id": (3, "c2"),
    "no id": (3, ""),
    "part of the id": (3, "c"),
    "a pattern": (3, "c."),
    "above the last": (9, "c4"),
    "journaled before": (1, "c1"),
    "zero": (0, ""),
    "below": (-1, "c1"),
}


@pytest.mark.parametrize("ack", BAD_ACKS.values(), ids=BAD_ACKS)
def test_an_acknowledgement_that_names_no_commit_of_the_tail_trims_nothing(
    ack: tuple[int, str], board: Board, client: redis.Redis
) -> None:
    """After a failover the store may hold another commit under the same number (HAZARDS 1)."""
    begin(board, "a")
    grow(board, 2)
    before = dump(client)
    board.store.acknowledge([("r1", *ack, ())])
    assert dump(client) == before
    board.commit(said(Draft()), acks=(ack,))
    assert tail_numbers(board) == [2, 3, 4, 5]


def test_an_ack_that_comes_with_a_commit_trims_before_it(board: Board) -> None:
    begin(board, "a")
    grow(board, 1)
    answer = board.commit(said(Draft(settle=Token("a"))), acks=(board.ack(2), board.ack(3)))
    assert (answer.mark, tail_numbers(board)) == (3, [4])


def test_older_acks_that_come_late_change_nothing(board: Board, client: redis.Redis) -> None:
    begin(board, "a")
    grow(board, 2)
    board.store.acknowledge([("r1", *board.ack(4), ())])
    before = dump(client)
    board.store.acknowledge([("r1", *board.ack(2), ()), ("r1", *board.ack(3), ())])
    assert dump(client) == before


def test_sent_tokens_are_ready_no_more_and_others_stay(board: Board) -> None:
    begin(board, "a", "b")
    board.store.acknowledge([("r1", 0, "", ("a@#0.1", "never@#0.1"))])
    assert set(board.stored()["ready"]) == {"b@#0.1"}
    assert set(board.stored()["tok"]) == {"a@#0.1", "b@#0.1"}
    board.store.acknowledge([("r1", 0, "", ("b@#0.1",))])
    assert board.stored()["ready"] == {}


def test_many_sent_tokens_are_noted_at_once(board: Board) -> None:
    names = [f"n{i}" for i in range(9000)]
    begin(board, *names)
    board.store.acknowledge([("r1", *board.ack(2), [f"{name}@#0.1" for name in names])])
    assert board.stored()["ready"] == {}


def leases(board: Board, *steps: tuple[str, int]) -> list[bool]:
    return [board.commit(said(Draft(emits=emits(f"n{now}"))), owner=owner, now=T0 + now).lease for owner, now in steps]


TABLE = {
    "one owner keeps it": ([("me", 0), ("me", 1), ("me", 5000)], [True, True, True]),
    "another waits while items are unwritten": ([("me", 0), ("you", 1), ("me", 2)], [True, False, True]),
    "a third waits too": ([("me", 0), ("you", 1), ("they", 2)], [True, False, False]),
    "it runs out after two seconds": (
        [("me", 0), ("you", LEASE_MS - 1), ("you", LEASE_MS), ("me", LEASE_MS + 1)],
        [True, False, True, False],
    ),
    "each commit of its owner renews it": (
        [("me", 0), ("me", 1500), ("you", 2500), ("you", 3500)],
        [True, True, False, True],
    ),
    "waiting does not take it from its owner": ([("me", 0), ("you", 1999), ("me", 2500)], [True, False, True]),
}


@pytest.mark.parametrize(("steps", "granted"), TABLE.values(), ids=TABLE)
def test_the_lease_to_write(steps: list[tuple[str, int]], granted: list[bool], board: Board) -> None:
    begin(board, "a")
    board.store.acknowledge([("r1", *board.ack(2), ())])
    assert leases(board, *steps) == granted


def test_once_all_is_written_anyone_gets_it(board: Board) -> None:
    begin(board, "a")
    board.store.acknowledge([("r1", *board.ack(2), ())])
    assert leases(board, ("me", 0)) == [True]
    board.store.acknowledge([("r1", *board.ack(3), ())])
    assert leases(board, ("you", 1)) == [True]


def test_a_lease_on_a_part_ends_when_that_part_is_acknowledged(board: Board) -> None:
    begin(board, "a")
    assert leases(board, ("me", 0), ("you", 1)) == [True, False]
    board.store.acknowledge([("r1", *board.ack(3), ())])
    mark, lease, items = board.store.unwritten("r1", "you", T0 + 2)
    assert (mark, lease, len(items)) == (3, True, 1)


def test_asking_for_the_tail_takes_the_lease_or_shows_nothing(board: Board) -> None:
    begin(board, "a")
    assert board.store.unwritten("r1", "you", T0 + 1) == (1, False, [])
    mark, lease, items = board.store.unwritten("r1", "you", T0 + LEASE_MS)
    assert (mark, lease, len(items)) == (1, True, 1)
    assert board.store.unwritten("r1", "me", T0 + LEASE_MS + 1) == (1, False, [])
    assert board.store.unwritten("r1", "you", T0 + LEASE_MS + 1)[1]


def test_a_long_tail_comes_whole_and_in_order(board: Board) -> None:
    begin(board, "a")
    calls = []
    for number in range(3, 1203):
        draft = said(Draft())
        call = board.call(draft)
        calls.append(type(call)(call.run_id, call.body.replace('"id":"c3"', f'"id":"c{number}"'), "me", T0))
    answers = board.store.commit(calls)
    assert {answer.word for answer in answers} == {"OK"}
    _, lease, items = board.store.unwritten("r1", "me", T0)
    assert lease
    assert [head.split(",")[0] for head, _ in items] == [f'"no":{n}' for n in range(2, 1203)]


def test_items_name_the_item_before_them_and_number_events_without_gaps(board: Board) -> None:
    begin(board, "a", "b")
    board.commit(said(Draft(settle=Token("a"), emits=emits("c", "d"))))
    board.commit(said(Draft(settle=Token("b"), cancel_all=True)))
    from chalicelib.domain.journal import parse_item

    items = [parse_item(text) for text in board.texts]
    for before, item in pairwise(items):
        assert (item.no, item.prev_seq, item.prev_id) == (before.no + 1, before.seq, before.id)
        assert item.seq == before.seq + before.events
    assert board.stored()["meta"]["seq"] == str(items[-1].seq + items[-1].events - 1)
