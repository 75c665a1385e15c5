"""The core proof: whatever is committed, the store's hashes are those of folding the journal (DESIGN 1).

Drafts are made at random from all that a commit can carry, without regard to any graph: what holds for them holds for
the drafts that the decisions make.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from chalicelib.adapters.redis.store import RedisRunStore
from chalicelib.domain.commit import Arrival, Draft, Emit, Event, SettledItem
from chalicelib.domain.fold import fold
from chalicelib.domain.ids import Scope, Token, parse_token, scope_text
from chalicelib.domain.journal import expand, parse_item
from chalicelib.domain.map_items import NONE, Progress, progress_field
from tests.lua.boards import T0, Board

SCOPES: tuple[Scope, ...] = ((), (("l", 1),), (("l", 2),), (("l", 11),), (("l", 1), ("m", 1)), (("l", 1), ("m", 2)))
STATUSES = ("COMPLETED", "FAILED", "RETRIED", "SKIPPED")
VALUES = ("text", {"a": [], "b": {}}, "ü🎉\0", "\ud800", 12345678901234567, None)


@dataclass
class Chance:
    """Makes drafts. It knows which tokens are outstanding, as the engine does from signals."""

    rng: random.Random
    made: int = 0
    #: The shape of each join, once it was drawn: need, edges, losers.
    joins: dict[str, tuple[int, int, tuple]] = field(default_factory=dict)
    #: Maps that were begun.
    maps: list[Token] = field(default_factory=list)

    def some(self, most: int) -> range:
        return range(self.rng.choice([0, 0, *range(most + 1)]))

    def scope(self) -> Scope:
        return self.rng.choice(SCOPES)

    def emit(self) -> Emit:
        """A token that was never made before, of a node that may be a loser of some join."""
        self.made += 1
        name = self.rng.choice(["a", "b", "c", "$retry:a", "$arm:b", f"$fan:a:{self.made}", f"n{self.made}"])
        token = Token(name, self.scope(), None, 0, self.made)
        data = {"due": self.made} if self.rng.random() < 0.3 else {}
        return Emit(token, self.rng.choice("tiwr"), data)

    def arrival(self) -> Arrival:
        node, scope = self.rng.choice(["j", "k", "a", f"q{self.made}"]), self.scope()
        token = Token(node, scope, None, 0, 1)
        need, total, losers = self.joins.setdefault(token.instance, self.shape(scope))
        self.made += 1
        fire = Emit(replace(token, attempt=self.made), self.rng.choice("ti"))
        skip = Emit(replace(token, attempt=0), "i", {"skip": 1})
        edge = f"e{self.rng.randrange(total)}"
        return Arrival(token.instance, edge, self.rng.choice([0, 1, 1, 1, 2]), need, total, fire, skip, losers)

    def shape(self, scope: Scope) -> tuple[int, int, tuple]:
        total = self.rng.randint(1, 4)
        losers = self.rng.sample(["a", "b", "c", "d", "e"], self.rng.randint(1, 3)) if self.rng.random() < 0.4 else []
        text = scope_text(scope)
        return self.rng.randint(0, total), total, ((text, text, tuple(losers)),) if losers else ()

    def patch(self, draft: Draft, outstanding: list[str]) -> None:
        """What patches and redrives change besides: tokens by name, counts, resolutions and pointers as they are."""
        instances = self.rng.sample(sorted(self.joins), min(2, len(self.joins)))
        draft.put = [("jn", instance, "1|0|0|") for instance in instances]
        draft.drop = [("ed", f"{instance}|e0") for instance in instances] + [("last", "a@"), ("ed", "never")]
        draft.drop += [("meta", "cut")] if self.rng.random() < 0.1 else []
        draft.cancel = [*self.rng.sample(outstanding, min(2, len(outstanding))), "never@#0.1"]

    def map(self, draft: Draft) -> None:
        """A map begins, or items of one that began are settled, in whatever order and however often."""
        if not self.maps or self.rng.random() < 0.2:
            self.made += 1
            token = Token(f"m{self.made}", self.scope())
            items = self.rng.randint(1, 12)
            state = Progress(min(2, items), 0, 0, items, self.rng.randint(0, 2), NONE, "artifact://sha256/0")
            draft.put.append(("box", progress_field(token), state.text))
            draft.emits.append(Emit(token, "h", {"pages": "artifact://sha256/0"}))
            draft.emits += [Emit(replace(token, index=index), "t") for index in range(state.next)]
            self.maps.append(token)
            return
        token = self.rng.choice(self.maps)
        if self.rng.random() < 0.15:
            draft.cancel_within = f"{token.instance}["
        first = Emit(replace(token, index=0), "t")
        for _ in self.some(3):
            done = self.rng.random() < 0.7
            draft.settled_items.append(SettledItem(progress_field(token), done, token, first, self.rng.randrange(12)))

    def draft(self, outstanding: list[str], settled: list[str]) -> Draft:
        rng, draft = self.rng, Draft()
        names = outstanding if rng.random() < 0.9 or not settled else settled
        if names and rng.random() < 0.85:
            draft.settle = parse_token(rng.choice(names))
            draft.status = rng.choice(STATUSES)
            draft.error = {"type": "Boom", "message": rng.choice(VALUES[2:4])} if draft.status == "FAILED" else None
        draft.cancel_all = rng.random() < 0.05
        draft.cut = draft.cancel_all and rng.random() < 0.7
        draft.emits = [self.emit() for _ in self.some(3)]
        draft.arrivals = [self.arrival() for _ in self.some(4)]
        draft.skips = [Token(f"s{self.made}.{i}", self.scope(), attempt=rng.choice([0, 0, 1])) for i in self.some(2)]
        for _ in self.some(2):
            token = Token(rng.choice("abv"), self.scope(), None, rng.choice([0, 0, 1]))
            draft.values.append((token, {"s": "COMPLETED", "o": rng.choice(VALUES)}))
        draft.vars = {rng.choice("xyz"): rng.choice(VALUES) for _ in self.some(2)}
        draft.meta = (
            {"status": rng.choice(["RUNNING", "RUNNING", "PENDING", "PAUSED", "PAUSED"])} if rng.random() < 0.1 else {}
        )
        draft.add = {
            rng.choice(["tokens", "nano_usd"]): rng.choice([0, 1, 10**15 + 1, 2**62, 2**63]) for _ in self.some(2)
        }
        draft.once = {rng.choice(["error", "result"]): "text"} if rng.random() < 0.1 else {}
        if rng.random() < 0.15:
            self.patch(draft, outstanding)
        if rng.random() < 0.4:
            self.map(draft)
        draft.events = [Event("node_completed", draft.settle) if draft.settle else Event("patch_applied")]
        return draft


@pytest.mark.parametrize("seed", range(14))
def test_random_commits_give_the_same_hashes_by_script_and_by_fold(seed: int, store: RedisRunStore) -> None:
    chance = Chance(random.Random(seed))
    board = Board(store)
    words: set[str] = set()
    for step in range(90):
        stored = board.stored()
        draft = chance.draft(sorted(stored["tok"]), sorted(stored["done"]))
        if chance.rng.random() < 0.1:
            draft.meta |= {"gen": f"g{chance.made}", "graph": f"h{chance.made}", "rev": str(chance.made)}
        acks = (board.ack(board.item.no),) if chance.rng.random() < 0.3 else ()
        answer = board.commit(draft, acks=acks, now=T0 + step)
        words.add(answer.word)
        if answer.word == "OK":
            board.gen = draft.meta.get("gen", board.gen)
            assert answer.out == len(board.stored()["tok"])
            board.assert_twin()
    assert words == {"OK", "SETTLED"}
    assert_journal(board)


def assert_journal(board: Board) -> None:
    """Gapless events, as many as each item says, and the same state when all is folded anew."""
    items = [parse_item(text) for text in board.texts]
    events = [event for text in board.texts for event in expand(text, "r1", lambda job: job.token)]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [item.events for item in items] == [len(expand(text, "r1", lambda job: job.token)) for text in board.texts]
    assert fold(items) == board.state


@pytest.mark.parametrize("seed", range(4))
def test_a_run_installed_from_its_journal_goes_on_like_the_one_that_was_lost(seed: int, store: RedisRunStore) -> None:
    """The rebuilt store answers every further commit as the lost one would have."""
    chance = Chance(random.Random(1000 + seed))
    board, twin = Board(store, "lost"), None
    for step in range(14):
        if step == 20:
            twin = Board(store, "built")
            twin.texts, twin.gen = list(board.texts), board.gen
            twin.state = fold([parse_item(text) for text in board.texts])
            assert store.install("built", twin.state, replaces="1|c1")
        stored = board.stored()
        draft = chance.draft(sorted(stored["tok"]), sorted(stored["done"]))
        answer = board.commit(draft, now=T0 + step)
        if twin is not None:
            other = twin.commit(draft, now=T0 + step)
            assert (other.word, other.head, other.out) == (answer.word, answer.head, answer.out) or answer.word != "OK"
            assert other.word == answer.word
            twin.assert_twin()
            assert twin.state == board.state
