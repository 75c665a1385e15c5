"""Every answer that a script's header promises, and that a refusal changes nothing at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from chalicelib.adapters.redis.scripts import load
from chalicelib.domain.commit import Draft, Event, compact
from chalicelib.domain.ids import Token
from tests.lua.boards import SCRIPTS, START_TOKEN, T0, Board, begin, dump, emits, end_token, header_words, said

REFUSALS = {"SETTLED", "STALE", "BEHIND", "UNKNOWN", "ENDED", "MISSING", "EXISTS"}


def settle(name: str) -> Draft:
    return said(Draft(settle=Token(name)))


def finish(board: Board) -> None:
    board.commit(settle("a"))
    board.commit(said(Draft(settle=end_token(board), final=True, meta={"status": "COMPLETED"})))


def _commit(draft: Callable[[], Draft], before: Callable[[Board], object] | None = None, **more) -> Callable:
    """A commit that also knows of a journaled item: were it accepted, it would trim the tail and take the lease."""

    def produce(client: redis.Redis, board: Board) -> tuple[str, dict, dict]:
        begin(board, "a")
        if before:
            before(board)
        first = dump(client)
        call = board.call(draft(), owner="another", now=T0 + 60_000, acks=(board.ack(2),), **more)
        word = board.store.commit([call])[0].word
        return word, first, dump(client)

    return produce


def _raw(script: str, run: str, **arguments: object) -> Callable:
    def produce(client: redis.Redis, board: Board) -> tuple[str, dict, dict]:
        begin(board, "a")
        first = dump(client)
        loaded = load(script)
        answer = client.eval(loaded.source, *loaded.words(run, arguments))
        return answer[0], first, dump(client)

    return produce


READ = '{"as_of":9,"nodes":[],"vars":[],"edges":[],"meta":[],"tokens":[],"joins":[]}'
PRODUCERS = {
    "commit OK": _commit(lambda: settle("a")),
    "commit SETTLED": _commit(lambda: settle("a"), lambda board: board.commit(settle("a"))),
    "commit STALE": _commit(lambda: settle("a"), gen="older"),
    "commit BEHIND": _commit(lambda: settle("b"), created=3),
    "commit UNKNOWN": _commit(lambda: settle("b"), created=2),
    "commit ENDED": _commit(lambda: Draft(events=[Event("run_paused")]), finish),
    "commit MISSING": _commit(lambda: settle("a"), run_id="r2"),
    "acknowledge OK": _raw("acknowledge", "r1", ack='[2,"c2"]', sent='["a@#0.1"]'),
    "acknowledge MISSING": _raw("acknowledge", "r2", ack='[2,"c2"]', sent='["a@#0.1"]'),
    "hold OK": _raw("hold", "r1", tokens='["a@#0.1","gone@#0.1"]', at=T0 + 5),
    "install OK": _raw("install", "r2", state='{"meta":["no","1","cid","x","gen","x"],"tok":["a","b"]}', replaces=""),
    "install EXISTS": _raw("install", "r1", state='{"meta":["no","1","cid","x"]}', replaces=""),
    "look OK": _raw("look", "r1", look="1|2"),
    "look MISSING": _raw("look", "r2", look="1|2"),
    "read OK": _raw("read", "r1", call=READ),
    "read MISSING": _raw("read", "r2", call=READ),
    "unwritten OK": _raw("unwritten", "r1", owner="another", now=T0 + 60_000),
    "unwritten MISSING": _raw("unwritten", "r2", owner="another", now=T0 + 60_000),
}
CHANGES = {"commit OK", "acknowledge OK", "hold OK", "install OK", "look OK", "unwritten OK"}


@pytest.mark.parametrize("case", [f"{script} {word}" for script in SCRIPTS for word in header_words(script)])
def test_each_answer_of_each_header_is_given_and_a_refusal_changes_no_key(
    case: str, client: redis.Redis, board: Board
) -> None:
    word, before, after = PRODUCERS[case](client, board)
    assert word == case.split()[1]
    assert (before != after) == (case in CHANGES)


def test_a_look_is_noted_where_the_run_is_and_makes_no_run_where_it_is_not(store, board) -> None:
    begin(board, "a")
    before = store.snapshot("r1")
    store.note_look("r1", 77, 99)
    after = store.snapshot("r1")
    assert after["meta"].pop("look") == "77|99" and after == before
    store.note_look("r2", 77, 99)
    assert store.snapshot("r2") is None


def test_no_producer_is_left_over_and_every_word_is_known_as_a_refusal_or_not() -> None:
    promised = {f"{script} {word}" for script in SCRIPTS for word in header_words(script)}
    assert set(PRODUCERS) == promised
    assert {case.split()[1] for case in promised - CHANGES - {"read OK"}} == REFUSALS


def test_a_run_that_has_ended_refuses_a_token_it_never_had(board: Board, client: redis.Redis) -> None:
    begin(board, "a")
    finish(board)
    before = dump(client)
    answer = board.commit(settle("never"), created=2)
    assert (answer.word, answer.status) == ("ENDED", "COMPLETED")
    assert dump(client) == before


def test_a_settled_token_is_answered_with_its_settlement(board: Board) -> None:
    begin(board, "a", "b")
    board.commit(settle("a"), now=T0 + 5)
    answer = board.commit(settle("a"), now=T0 + 9)
    assert answer.record == f"3|c3|{T0 + 5}|COMPLETED|"
    board.store.acknowledge([("r1", *board.ack(3), ())])
    assert board.commit(settle("a")).record == answer.record


def test_a_stale_commit_learns_what_the_run_is_now(board: Board) -> None:
    begin(board, "a")
    patch = Draft(meta={"gen": "c3", "graph": "g2", "rev": "1", "status": "PAUSED"}, events=[Event("patch_applied")])
    assert board.commit(patch).status == "RUNNING"
    answer = board.commit(settle("a"))
    assert (answer.word, answer.gen, answer.graph, answer.rev, answer.status, answer.no) == (
        "STALE",
        "c3",
        "g2",
        1,
        "PAUSED",
        3,
    )


def test_a_paused_run_settles_and_says_so_and_holds_what_becomes_ready(board: Board) -> None:
    begin(board, "a")
    board.commit(Draft(meta={"status": "PAUSED"}, events=[Event("run_paused")]))
    answer = board.commit(Draft(settle=Token("a"), emits=emits("b"), events=[Event("node_completed", Token("a"))]))
    assert (answer.word, answer.status) == ("OK", "PAUSED")
    assert board.stored()["ready"] == {"b@#0.1": f"r{T0}"}
    board.assert_twin()


def test_the_end_of_a_pause_gives_what_it_held_its_own_time(board: Board) -> None:
    begin(board, "a", "z")
    board.commit(Draft(meta={"status": "PAUSED"}, events=[Event("run_paused")]), now=T0 + 1)
    board.commit(said(Draft(settle=Token("a"), emits=emits("b"))), now=T0 + 2)
    board.commit(said(Draft(meta={"status": "RUNNING"})), now=T0 + 9)
    stored = board.stored()
    assert {token: record.split("|")[2] for token, record in stored["tok"].items()} == {
        "z@#0.1": f"{T0}",
        "b@#0.1": f"{T0 + 9}",
    }
    assert stored["dis"]["b@#0.1"] == stored["tok"]["b@#0.1"]
    assert (stored["ready"]["b@#0.1"], "paused" in stored["meta"]) == (f"r{T0 + 9}", False)
    board.assert_twin()


def test_what_no_signal_will_deliver_again_is_marked_so(board: Board) -> None:
    begin(board, "a")
    board.commit(Draft(emits=emits("b"), events=[Event("patch_applied")]))
    assert board.stored()["ready"] == {"a@#0.1": f"s{T0}", "b@#0.1": f"r{T0}"}


def test_an_install_replaces_only_the_state_it_names(board: Board, client: redis.Redis) -> None:
    begin(board, "a")
    state = {"meta": {**board.stored()["meta"], "no": "9", "cid": "new"}, "tok": {"x@#0.1": "1"}}
    before = dump(client)
    for other in ("", "1|c1", "2|c1", "2|c2|", "3|c2"):
        assert not board.store.install("r1", state, replaces=other)
    assert dump(client) == before
    assert board.store.install("r1", state, replaces="2|c2")
    stored = board.stored()
    assert {name: fields for name, fields in stored.items() if fields} == state


def test_a_missing_run_is_not_replaced(board: Board, client: redis.Redis) -> None:
    before = dump(client)
    assert not board.store.install("r2", {"meta": {"no": "1", "cid": "x"}}, replaces="1|x")
    assert dump(client) == before


def test_the_first_commit_of_a_run_takes_its_start_token_once(board: Board) -> None:
    assert begin(board, "a", "b").word == "OK"
    answer = board.commit(said(Draft(settle=START_TOKEN, emits=emits("c"))))
    assert answer.word == "SETTLED"
    assert set(board.stored()["tok"]) == {"a@#0.1", "b@#0.1"}


def test_a_commit_planned_on_what_has_changed_since_is_stale_and_changes_nothing(
    board: Board, client: redis.Redis
) -> None:
    """A node may start, and an edge be resolved, while a patch is planned (HAZARDS 7)."""
    begin(board, "a")
    started = board.stored()["st"]["a@"]
    patch = Draft(meta={"gen": "c3"}, events=[Event("patch_applied")])
    before = dump(client)
    for expect in ((("st", "a@", ""),), (("st", "a@", started), ("ed", "j@|e", "1:2")), (("jn", "a@", started),)):
        assert board.commit(patch, expect=expect, acks=(board.ack(2),)).word == "STALE"
    assert dump(client) == before
    assert board.commit(patch, expect=(("st", "a@", started), ("ed", "j@|e", ""))).word == "OK"
    board.assert_twin()


def test_a_run_that_has_ended_is_reopened_only_as_it_was_planned_on(board: Board, client: redis.Redis) -> None:
    begin(board, "a")
    finish(board)
    again = Draft(meta={"status": "RUNNING", "gen": "c5"}, emits=emits("a2"), events=[Event("run_redriven")])
    before = dump(client)
    assert board.commit(again).word == "ENDED"
    assert board.commit(again, reopen=3).word == "STALE"
    assert dump(client) == before
    assert board.commit(again, reopen=4).word == "OK"
    assert board.stored()["meta"]["status"] == "RUNNING"
    board.assert_twin()


def test_38_a_commit_refused_with_ten_thousand_tokens_in_hand_leaves_every_key_as_it_was(
    client: redis.Redis, board: Board
) -> None:
    begin(board, "a")
    names = [f"n{i}" for i in range(10_000)]
    wide = said(
        Draft(settle=Token("a"), emits=emits(*names), vars={"v": [1]}, cancel=names, put=[("jn", "j@", "1|0|0|")])
    )
    before = dump(client)
    for refused in (
        board.call(wide, gen="older"),
        board.call(wide, expect=(("st", "a@", "another"),)),
        board.call(said(Draft(settle=Token("never"), emits=emits(*names))), created=9),
        board.call(said(Draft(settle=Token("never"), emits=emits(*names)))),
    ):
        assert board.store.commit([refused])[0].word in REFUSALS
        assert dump(client) == before
    assert board.commit(wide).word == "OK"
    board.assert_twin()


@pytest.mark.parametrize("value", [[], {}, 12345678901234567, [[]], {"a": {}}, "\x00\u2028", 1.0, -0.0])
def test_38_a_users_value_is_opaque_to_the_script(board: Board, value: object) -> None:
    begin(board, "a")
    record = {"s": "COMPLETED", "o": value}
    board.commit(said(Draft(settle=Token("a"), values=[(Token("a"), record)], vars={"v": value})))
    stored = board.stored()
    assert stored["val"][Token("a").value_key].endswith(f"|{compact(record)}")
    assert stored["vars"]["v"].endswith(f"|{compact(value)}")
    assert f'"vars":[["v",{compact(compact(value))}]]' in stored["tail"]["3c"]


def test_38_lists_longer_than_what_lua_unpacks_are_applied_whole(board: Board) -> None:
    begin(board, "a", "b")
    names = [f"n{i}" for i in range(10_000)]
    assert board.commit(said(Draft(settle=Token("a"), emits=emits(*names)))).word == "OK"
    board.store.acknowledge([("r1", *board.ack(3), [Token(name).text for name in names])])
    assert not [token for token in board.stored()["ready"] if token.startswith("n")]
    assert board.commit(said(Draft(cancel_all=True, final=True, meta={"status": "CANCELLED"}))).out == 0
    board.assert_twin()


def test_the_last_commit_says_what_the_run_has_used_by_then(board: Board) -> None:
    """Whoever decided it had read less."""
    begin(board, "a")
    board.commit(said(Draft(settle=Token("a"), add={"tokens": 5, "nano_usd": 7}, emits=emits("b"))))
    assert board.item.used == (0, 0)
    last = Draft(settle=Token("b"), final=True, meta={"status": "COMPLETED"}, add={"tokens": 2})
    board.commit(said(last))
    assert board.item.used == (7, 7)
    board.assert_twin()


def test_the_last_commit_of_a_run_that_used_nothing_says_so(board: Board) -> None:
    begin(board, "a")
    board.commit(said(Draft(settle=Token("a"), final=True, meta={"status": "COMPLETED"})))
    assert board.item.used == (0, 0)


def test_a_count_that_would_go_past_the_largest_whole_number_stays_and_spoils_no_commit(board: Board) -> None:
    """A script that failed there had half of its commit behind it."""
    begin(board, "a", "b", "c")
    for name, count in (("a", 2**63 - 2), ("b", 2), ("c", 1)):
        draft = Draft(settle=Token(name), add={"tokens": count}, values=[(Token(name), {"s": "COMPLETED"})])
        assert board.commit(said(draft)).word == "OK"
        board.assert_twin()
    assert board.state["meta"]["tokens"] == str(2**63 - 1)
    assert {key.split("@")[0] for key in board.state["val"]} == {"a", "b", "c"}
