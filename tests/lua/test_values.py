"""User values are opaque texts to the scripts, whatever is in them and however much there is."""

from __future__ import annotations

import json

import pytest
import redis

from chalicelib.domain.commit import Draft, Emit, Event
from chalicelib.domain.ids import Token
from chalicelib.engine.store_calls import ReadCall
from tests.lua.boards import SCRIPTS, Board, arrival, begin, emits, said

VALUES = {
    "unicode": "Grüße, 世界 🎉 \u2028",
    "a NUL": "a\0b\x01\x7f",
    "half a surrogate pair": "\ud83d and \udc00",
    "the other way round": "\udc00\ud83d",
    "an empty list": [],
    "an empty object": {},
    "empty ones inside": {"a": [], "b": {}, "c": [[], [{}]], "": ""},
    "a big integer": 12345678901234567,
    "a bigger one": -(2**63),
    "beyond int64": 2**80,
    "a fraction": 0.1,
    "a small one": 5e-324,
    "one point zero": 1.0,
    "null": None,
    "false": False,
    "JSON in text": '{"a":"\\"b\\""}',
    "lines and tabs": "a\n\r\t\\/\"'",
    "separators of ours": "1|c1|2|#@[]/=%1%%",
    "a Lua pattern": "^(%d+)|.-$",
    "64 KiB": "x" * 65_000,
    "64 KiB that are escaped": "é" * 10_000,
    "deep": json.loads("[" * 90 + "]" * 90),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_value_comes_back_byte_for_byte(value: object, board: Board) -> None:
    begin(board, "a", "b")
    record = {"s": "COMPLETED", "o": value, "i": 1, "a": 1}
    draft = Draft(settle=Token("a"), vars={"v": value}, error={"message": str(value)})
    draft.values = [(Token("a"), record)]
    draft.emits = [Emit(Token("c"), "t", {"data": value})]
    draft.meta, draft.once = {"output": json.dumps(value)}, {"result": json.dumps(value)}
    draft.events = [Event("node_completed", Token("a"), {"output": value})]
    assert board.commit(draft).word == "OK"
    board.assert_twin()
    stored = board.stored()
    assert json.loads(stored["val"]["a@#0"].split("|", 1)[1]) == record
    assert json.loads(stored["tok"]["c@#0.1"].split("|", 7)[7])["data"] == value
    answer = board.store.read([ReadCall("r1", 9, nodes=(("a", ("a@",)),), vars=("v",), meta=("output",))])[0]
    assert json.loads(answer.nodes["a"].split("|", 1)[1])["o"] == value
    assert repr(json.loads(answer.vars["v"].split("|", 2)[2])) == repr(value)
    assert json.loads(answer.meta["output"]) == value
    _, _, items = board.store.unwritten("r1", "me", 0)
    assert json.loads(items[-1][1]) == board.item.body


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_value_survives_an_install(value: object, board: Board) -> None:
    text = json.dumps(value)
    begin(board, "a")
    board.commit(said(Draft(settle=Token("a"), vars={"v": value}, emits=emits("b"), meta={"output": text})))
    assert board.store.install("r2", board.state)
    stored = board.store.snapshot("r2")
    assert {name: fields for name, fields in stored.items() if fields} == {
        name: fields for name, fields in board.state.items() if fields
    }


def test_five_thousand_tokens_and_arrivals_fit_one_commit(board: Board) -> None:
    """No list is handed to a command whole: unpack of some thousand values fails half way through a commit."""
    begin(board, "a")
    names = [f"n{i}" for i in range(5000)]
    draft = Draft(settle=Token("a"), emits=emits(*names), events=[Event("node_completed", Token("a"))])
    draft.arrivals = [arrival(f"j{i}", "e", 1, 0, 1 + i % 2) for i in range(5000)]
    draft.skips = [Token(f"s{i}", attempt=0) for i in range(2000)]
    answer = board.commit(draft)
    assert (answer.word, answer.out) == ("OK", 7500)
    assert len(board.item.fired) == 2500
    board.assert_twin()


def test_ten_thousand_tokens_are_cancelled_by_one_commit(board: Board) -> None:
    begin(board, *[f"n{i}" for i in range(5000)])
    board.commit(said(Draft(emits=emits(*[f"m{i}" for i in range(5000)]))))
    answer = board.commit(said(Draft(cancel_all=True)))
    assert (answer.word, answer.out, len(board.item.cancelled)) == ("OK", 1, 10_000)
    assert board.item.events == 10_001
    board.assert_twin()


def test_a_join_of_five_thousand_edges_fires_at_the_last(board: Board) -> None:
    begin(board, "a")
    edges = [arrival("j", f"e{i}", i % 2, 0, 5000) for i in range(5000)]
    board.commit(said(Draft(arrivals=edges[:-1])))
    assert board.item.fired == ()
    board.commit(said(Draft(arrivals=edges[-1:])))
    assert board.item.fired == (0,)
    board.assert_twin()


def test_five_thousand_losers_are_told_apart(board: Board) -> None:
    started, pending = [f"n{i}" for i in range(2500)], [f"p{i}" for i in range(2500)]
    begin(board, *started)
    firing = arrival("j", "e", 1, 1, 2, losers=(("", "", (*started, *pending)),))
    board.commit(said(Draft(arrivals=[firing])))
    assert (len(board.item.lost), len(board.item.dropped)) == (2500, 2500)
    board.assert_twin()


def test_ten_thousand_values_are_read_at_once(board: Board) -> None:
    begin(board, *[f"n{i}" for i in range(9000)])
    tokens = tuple(f"n{i}@#0.1" for i in range(9000))
    nodes = tuple((f"n{i}", (f"n{i}@",)) for i in range(9000))
    answer = board.store.read([ReadCall("r1", 9, nodes=nodes, tokens=tokens, edges=tokens, joins=tokens, vars=tokens)])[
        0
    ]
    assert all(answer.tokens.values())
    assert set(answer.nodes.values()) | set(answer.vars.values()) == {None}


def test_scripts_that_the_server_forgot_are_sent_again(board: Board, client: redis.Redis) -> None:
    def forget() -> None:
        client.script_flush()

    forget()
    assert begin(board, "a", "b").word == "OK"
    forget()
    assert board.store.read([ReadCall("r1", 9, tokens=("a@#0.1",))])[0].tokens["a@#0.1"]
    forget()
    assert board.store.unwritten("r1", "me", 0)[1]
    forget()
    board.store.acknowledge([("r1", *board.ack(2), ("a@#0.1",))])
    forget()
    assert not board.store.install("r1", {"meta": {"no": "1"}})
    assert board.stored()["meta"]["mark"] == "2"
    assert board.stored()["ready"].keys() == {"b@#0.1"}


def test_a_batch_that_meets_a_server_without_scripts_is_applied_in_its_order(board: Board, client: redis.Redis) -> None:
    """EVALSHA fails for each call of the pipeline; each is then sent whole, and none is applied twice."""
    begin(board, "a", "b")
    client.script_flush()
    calls = [board.call(said(Draft(settle=Token(name), status="COMPLETED"))) for name in ("a", "a", "b")]
    answers = board.store.commit(calls)
    assert [answer.word for answer in answers] == ["OK", "SETTLED", "OK"]
    assert board.stored()["meta"]["no"] == "4"


def test_each_script_is_small_enough_to_be_sent_whole() -> None:
    from chalicelib.adapters.redis.scripts import load

    assert all(len(load(name).source) < 16_384 for name in SCRIPTS)
