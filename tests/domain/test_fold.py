"""Folding items gives a run's state. That it is the store's state is held by tests/lua; here is what it says."""

from __future__ import annotations

from chalicelib.domain.commit import Arrival, Draft, Emit, Event, body, compact
from chalicelib.domain.fold import HASHES, apply, creation_head, fold
from chalicelib.domain.ids import Token
from chalicelib.domain.journal import Item, compose, parse_item

AT = 1_800_000_000_000


class Chain:
    """Items one after the other, numbered as the store numbers them."""

    def __init__(self) -> None:
        draft = Draft(emits=[Emit(Token("$start"), "i")], events=[Event("run_created")])
        draft.meta = {"status": "PENDING", "gen": "c1", "graph": "g", "rev": "0"}
        text = body(draft, commit_id="c1", at=AT, gen="c1", graph="g", rev=0, actor="ann")
        self.items = [parse_item(compose(creation_head("c1", 1), text))]

    def add(self, draft: Draft, events: int = 1, **outcome: object) -> Item:
        last = self.items[-1]
        no, seq = last.no + 1, last.seq + last.events
        text = body(draft, commit_id=f"c{no}", at=AT + no, gen="c1", graph="g", rev=0, actor="graft")
        head = (
            f'"no":{no},"id":"c{no}","seq":{seq},"n":{events},"prev":[{last.seq},"{last.id}"],"out":{compact(outcome)}'
        )
        self.items.append(parse_item(compose(head, text)))
        return self.items[-1]

    def state(self) -> dict[str, dict[str, str]]:
        return fold(self.items)


def arrival(edge: str, how: int = 1, total: int = 2) -> Arrival:
    return Arrival("j@", edge, how, 0, total, Emit(Token("j"), "t"), Emit(Token("j", attempt=0), "i", {"skip": 1}))


def test_nothing_folds_to_nothing() -> None:
    assert fold(()) == {name: {} for name in HASHES}


def test_a_new_run_has_its_start_token_and_its_meta() -> None:
    state = Chain().state()
    assert state["tok"] == {"$start@#0.1": f"1|c1|{AT}|i|g|c1|0|"}
    assert state["st"] == {"$start@": "$start@#0.1"}
    meta = {"status": "PENDING", "gen": "c1", "graph": "g", "rev": "0", "no": "1", "cid": "c1", "seq": "1", "lseq": "1"}
    assert state["meta"] == {**meta, "mark": "1", "out": "1", "end": ""}


def test_a_settled_token_moves_from_outstanding_to_done() -> None:
    chain = Chain()
    chain.add(Draft(settle=Token("$start"), emits=[Emit(Token("a"), "t", {"x": 1})]))
    chain.add(Draft(settle=Token("a"), status="FAILED", error={"type": "Boom"}), e="$end@#3.0")
    state = chain.state()
    assert state["done"]["a@#0.1"] == f'3|c3|{AT + 3}|FAILED|{{"type":"Boom"}}'
    assert state["dis"]["a@#0.1"] == f"2|c2|{AT + 2}|t|g|c1|0|"
    assert list(state["tok"]) == ["$end@#3.0"]
    assert state["meta"]["end"] == "$end@#3.0"


def test_an_end_is_taken_back_by_work_and_by_nothing_else() -> None:
    chain = Chain()
    chain.add(Draft(settle=Token("$start")), e="$end@#2.0")
    chain.add(Draft(vars={"v": 1}))
    assert list(chain.state()["tok"]) == ["$end@#2.0"]
    assert chain.state()["meta"]["end"] == "$end@#2.0"
    chain.add(Draft(emits=[Emit(Token("a"), "t")]))
    assert list(chain.state()["tok"]) == ["a@#0.1"]
    assert chain.state()["meta"]["end"] == ""


def test_joins_keep_one_resolution_per_edge_and_how_they_ended() -> None:
    chain = Chain()
    chain.add(Draft(arrivals=[arrival("e1"), arrival("e1", 0)]))
    chain.add(Draft(arrivals=[arrival("e2", 0), arrival("e1", 2)]), f=[1])
    state = chain.state()
    assert state["ed"] == {"j@|e1": "1:2", "j@|e2": "0:3"}
    assert state["jn"] == {"j@": "1|1|0|fire:3"}
    assert "j@#0.1" in state["tok"]


def test_a_join_that_can_only_be_skipped_gets_the_token_that_does_it() -> None:
    chain = Chain()
    chain.add(Draft(arrivals=[arrival("e1", 2, 1)]), s=[1])
    assert chain.state()["jn"] == {"j@": "0|0|1|skip:2"}
    assert chain.state()["tok"]["j@#0.0"].endswith('{"skip":1}')


def test_after_a_cut_edges_that_are_taken_are_noted_of_their_joins() -> None:
    chain = Chain()
    chain.add(Draft(emits=[Emit(Token("a"), "t"), Emit(Token("$fan:s:0"), "i")]))
    chain.add(Draft(arrivals=[arrival("e1", total=9)]))
    assert chain.state()["box"] == {}
    chain.add(Draft(settle=Token("a"), cancel_all=True, cut=True, emits=[Emit(Token("b"), "t")]), l=["x@#0.1"])
    assert (chain.state()["meta"]["cut"], chain.state()["box"]) == ("4", {})
    chain.add(Draft(settle=Token("$fan:s:0"), arrivals=[arrival("e2", total=9)]))
    chain.add(Draft(drop=[("ed", "j@|e1")], arrivals=[arrival("e1", total=9), arrival("e3", 0, 9)]))
    chain.add(Draft(arrivals=[arrival("e3", total=9)]))  # resolved before, as not taken
    assert chain.state()["box"] == {}
    chain.add(Draft(settle=Token("b"), arrivals=[arrival("e4", total=9)]))
    assert chain.state()["box"] == {"fresh|j@": "8"}
    chain.add(Draft(drop=[("meta", "cut")]))
    chain.add(Draft(arrivals=[arrival("e5", total=9)]))
    assert chain.state()["box"] == {"fresh|j@": "8"}


def test_a_journal_that_settles_what_it_does_not_have_is_folded_all_the_same_after_a_cut() -> None:
    chain = Chain()
    chain.add(Draft(settle=Token("$start"), cancel_all=True, cut=True, emits=[Emit(Token("b"), "t")]))
    chain.add(Draft(settle=Token("nobody")))
    assert chain.state()["done"]["nobody@#0.1"].split("|")[3] == "COMPLETED"


def test_a_node_that_was_cancelled_before_it_began_is_folded_as_such() -> None:
    chain = Chain()
    chain.add(Draft(skips=[Token("x"), Token("y", attempt=0)]))
    assert [record.split("|")[3] for record in chain.state()["done"].values()] == ["CANCELLED", "SKIPPED"]


def test_values_variables_and_pointers_keep_what_was_before() -> None:
    chain = Chain()
    for iteration in (2, 1):
        token = Token("x", (("l", iteration),))
        chain.add(Draft(values=[(token, {"o": iteration})], vars={"v": iteration}))
    state = chain.state()
    assert state["val"] == {"x@l=2#0": '2|{"o":2}', "x@l=1#0": '3|{"o":1}'}
    assert state["last"]["x@"].endswith("|x@l=2#0")
    assert state["last"]["x@l=1"].endswith("|x@l=1#0")
    assert state["vars"] == {"v": "3|2|1", "v#2": "2||2", "v#3": "3|2|1"}


def test_the_first_error_of_a_run_stays() -> None:
    chain = Chain()
    chain.add(Draft(once={"error": "first"}))
    chain.add(Draft(once={"error": "second"}, meta={"status": "PAUSED"}))
    meta = chain.state()["meta"]
    assert (meta["error"], meta["status"]) == ("first", "PAUSED")


def test_a_commit_under_a_new_generation_starts_its_tokens_there() -> None:
    chain = Chain()
    chain.add(Draft(meta={"gen": "c2", "graph": "g2", "rev": "1"}, emits=[Emit(Token("a"), "t")]))
    assert chain.state()["tok"]["a@#0.1"] == f"2|c2|{AT + 2}|t|g2|c2|1|"


def test_cancelled_held_and_lost_tokens_are_as_the_store_found_them() -> None:
    chain = Chain()
    chain.add(Draft(emits=[Emit(Token(name), "t") for name in "abc"]))
    chain.add(Draft(emits=[Emit(Token("x"), "t"), Emit(Token("y"), "t")]), c=["a@#0.1"], l=["b@#0.1"], h=[2])
    state = chain.state()
    assert set(state["tok"]) == {"$start@#0.1", "c@#0.1", "x@#0.1", "$beaten:b@#0.1"}
    assert {state["done"][token].split("|")[3] for token in ("a@#0.1", "b@#0.1")} == {"CANCELLED"}


def test_everything_that_is_outstanding_waits_to_be_sent_after_a_rebuild() -> None:
    chain = Chain()
    chain.add(Draft(settle=Token("$start"), emits=[Emit(Token(name), "t") for name in "ab"]))
    chain.add(Draft(settle=Token("a")))
    assert chain.state()["ready"] == {"b@#0.1": f"r{AT + 2}"}


def test_folding_in_parts_gives_what_folding_at_once_gives() -> None:
    chain = Chain()
    chain.add(Draft(settle=Token("$start"), emits=[Emit(Token("a"), "t")]))
    chain.add(Draft(settle=Token("a"), arrivals=[arrival("e1")], vars={"v": []}))
    chain.add(Draft(arrivals=[arrival("e2")]), f=[1])
    for cut in range(len(chain.items) + 1):
        state = fold(chain.items[:cut])
        for item in chain.items[cut:]:
            apply(state, item)
        assert state == chain.state()


def test_folding_does_not_change_the_items() -> None:
    chain = Chain()
    chain.add(Draft(settle=Token("$start"), emits=[Emit(Token("a"), "t")], meta={"status": "RUNNING"}))
    first, second = chain.state(), chain.state()
    first["meta"]["status"] = "changed"
    assert second == chain.state()


def pausing(status: str, **more: object) -> Draft:
    return Draft(meta={"status": status}, **more)


def times(state: dict[str, dict[str, str]], hash_: str = "tok") -> dict[str, int]:
    """By node, when its token began to count, in milliseconds after the chain began."""
    return {text.split("@")[0]: int(record.split("|")[2]) - AT for text, record in state[hash_].items()}


def test_what_began_in_a_pause_counts_from_its_end_and_all_else_from_its_own_commit() -> None:
    chain = Chain()
    chain.add(Draft(settle=Token("$start"), emits=[Emit(Token("before"), "t")]))
    chain.add(pausing("PAUSED"))
    chain.add(Draft(emits=[Emit(Token("held"), "t", {"x": 1}), Emit(Token("gone"), "t")]))
    assert chain.state()["meta"]["paused"] == f"3|{AT + 3}"
    chain.add(Draft(settle=Token("gone")))
    chain.add(pausing("RUNNING"))
    state = chain.state()
    assert "paused" not in state["meta"]
    assert times(state) == {"before": 2, "held": 6}
    assert times(state, "dis") == {"$start": 0, "before": 2, "held": 6, "gone": 4}
    assert state["tok"]["held@#0.1"] == f'4|c4|{AT + 6}|t|g|c1|0|{{"x":1}}'
    assert state["dis"]["held@#0.1"] == f"4|c4|{AT + 6}|t|g|c1|0|"
    assert state["ready"] == {"before@#0.1": f"r{AT + 2}", "held@#0.1": f"r{AT + 6}"}


def test_a_second_pause_leaves_what_the_first_one_held_as_its_end_let_it_go() -> None:
    chain = Chain()
    chain.add(pausing("PAUSED"))
    chain.add(Draft(emits=[Emit(Token("one"), "t")]))
    chain.add(pausing("RUNNING"))
    chain.add(pausing("PAUSED"))
    chain.add(Draft(emits=[Emit(Token("two"), "t")]))
    chain.add(pausing("PAUSED"))  # again: it has been paused since the fifth commit
    chain.add(pausing("PENDING"))  # that of a run which waits for its place: it goes on waiting
    assert times(chain.state()) == {"$start": 0, "one": 4, "two": 8}


def test_whatever_ends_a_pause_lets_go_what_it_held() -> None:
    chain = Chain()
    chain.add(pausing("PAUSED", emits=[Emit(Token("a"), "t")]))
    chain.add(Draft(emits=[Emit(Token("b"), "t")]))
    chain.add(pausing("RUNNING", emits=[Emit(Token("again"), "t")], cancel=["b@#0.1"]), c=["b@#0.1"])
    assert times(chain.state()) == {"$start": 0, "a": 4, "again": 4}
    chain.add(pausing("PAUSED"))
    chain.add(pausing("CANCELLED", cancel_all=True, final=True), c=["$start@#0.1", "a@#0.1", "again@#0.1"])
    chain.add(pausing("RUNNING", emits=[Emit(Token("c"), "t")]))
    assert (times(chain.state()), "paused" in chain.state()["meta"]) == ({"c": 7}, False)
