"""A run in a real store, driven commit by commit, with the folded state beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import redis

from chalicelib.adapters.redis.keys import run_key
from chalicelib.adapters.redis.scripts import load
from chalicelib.adapters.redis.store import RedisRunStore
from chalicelib.domain.commit import Arrival, Draft, Emit, Event, body
from chalicelib.domain.fold import apply, creation_head, fold
from chalicelib.domain.ids import END, START, Token
from chalicelib.domain.journal import Item, compose, parse_item
from chalicelib.engine.store_calls import CommitAnswer, CommitCall

LUA = Path(__file__).parents[2] / "chalicelib" / "adapters" / "redis" / "lua"
SCRIPTS = sorted(path.stem for path in LUA.glob("*.lua"))
T0 = 1_800_000_000_000
START_TOKEN = Token(START)


def header_words(script: str) -> list[str]:
    """The answer words that a script's header promises."""
    _, _, rest = (LUA / f"{script}.lua").read_text().partition("-- Answers\n")
    header = [line for line in rest.split("\n") if line.startswith("--")]
    return [word[1] for line in header if (word := re.match(r"--   ([A-Z]+)\b", line))]


class Board:
    """One installed run. `commit` folds what the store accepted, so that both can be compared at any time."""

    def __init__(self, store: RedisRunStore, run_id: str = "r1", **meta: str) -> None:
        self.store, self.run_id, self.gen = store, run_id, "c1"
        draft = Draft(emits=[Emit(START_TOKEN, "i")], events=[Event("run_created")])
        draft.meta = {"status": "RUNNING", "gen": "c1", "graph": "g", "rev": "0", "epoch": "0", **meta}
        text = body(draft, commit_id="c1", at=T0, gen="c1", graph="g", rev=0, actor="tester")
        self.texts = [compose(creation_head("c1", 1), text)]
        self.state = fold([self.item])
        assert store.install(run_id, self.state)

    @property
    def item(self) -> Item:
        """The newest item."""
        return parse_item(self.texts[-1])

    def call(self, draft: Draft, *, gen: str | None = None, owner: str = "me", now: int = T0, **more) -> CommitCall:
        """The call of a draft; ids count up with the commits accepted."""
        name = f"c{len(self.texts) + 1}"
        text = body(draft, commit_id=name, at=now, gen=gen or self.gen, graph="g", rev=0, actor="tester")
        return CommitCall(more.pop("run_id", self.run_id), text, owner, now, **more)

    def commit(self, draft: Draft, **more) -> CommitAnswer:
        """Commit; what is accepted is folded too."""
        call = self.call(draft, **more)
        answer = self.store.commit([call])[0]
        if answer.word == "OK":
            self.accept(call, answer)
        return answer

    def accept(self, call: CommitCall, answer: CommitAnswer) -> None:
        """Fold an accepted commit."""
        self.texts.append(compose(answer.head, call.body))
        apply(self.state, self.item)

    def ack(self, no: int) -> tuple[int, str]:
        """(no, id) of the commit of that number."""
        return no, parse_item(self.texts[no - 1]).id

    def stored(self) -> dict[str, dict[str, str]]:
        """All hashes of the run."""
        state = self.store.snapshot(self.run_id)
        assert state is not None
        return state

    def assert_twin(self) -> None:
        """The store's hashes are those of the fold; only the tail, the lease, and how a token waits are its own."""
        stored, folded = self.stored(), {name: dict(fields) for name, fields in self.state.items()}
        for state in (stored, folded):
            state.pop("tail")
            state["ready"] = {token: since.lstrip("rs") for token, since in state["ready"].items()}
            for name in ("mark", "lease", "lease_until"):
                state["meta"].pop(name, None)
        assert stored == folded


def emits(*names: str, kind: str = "t") -> list[Emit]:
    """Tokens of these nodes' first attempts outside loops."""
    return [Emit(Token(name), kind) for name in names]


def said(draft: Draft) -> Draft:
    """The draft with an event, as every commit has one."""
    draft.events.append(Event("node_completed", draft.settle) if draft.settle else Event("patch_applied"))
    return draft


def begin(board: Board, *names: str) -> CommitAnswer:
    """Settle `$start`: these nodes are at work."""
    return board.commit(said(Draft(settle=START_TOKEN, emits=emits(*names))))


def arrival(node: str, edge: str, how: int, need: int, total: int, **more) -> Arrival:
    """An edge resolved at a counted node outside loops."""
    token = more.pop("token", Token(node))
    skip = Token(node, token.scope, None, token.epoch, 0)
    return Arrival(token.instance, edge, how, need, total, Emit(token, "t"), Emit(skip, "i", {"skip": 1}), **more)


def end_token(board: Board) -> Token:
    """The `$end` that the newest commit made."""
    assert board.item.end.startswith(END)
    from chalicelib.domain.ids import parse_token

    return parse_token(board.item.end)


def dump(client: redis.Redis) -> dict[str, object]:
    """Every key with its content and lifetime."""
    found: dict[str, object] = {}
    for key in sorted(client.scan_iter("*")):
        kind = client.type(key)
        value = client.hgetall(key) if kind == "hash" else client.dump(key) if kind == "zset" else client.get(key)
        found[key] = (kind, value, client.pttl(key))
    return found


_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
#: What the scripts call: these have one key, the first argument; of those all arguments are keys.
_ONE_KEY = frozenset({"HGET", "HINCRBY", "HMGET", "HSET", "HSETNX", "HDEL", "HEXISTS", "HKEYS", "HGETALL"})
_ALL_KEYS = frozenset({"EXISTS", "DEL"})


def undeclared(lines: list[str]) -> list[str]:
    """Commands inside scripts, in MONITOR's words, that touch a key which their script call did not declare."""
    declared: set[str] = set()
    bad: list[str] = []
    for line in lines:
        words = _words(line)
        first = next(words, "").upper()
        if first in ("EVALSHA", "EVAL"):
            next(words)
            declared = {next(words) for _ in range(int(next(words)))}
        elif " lua]" in line.partition('"')[0]:
            rest = [next(words, None)] if first in _ONE_KEY else [*words]
            if first not in _ONE_KEY | _ALL_KEYS or not {key for key in rest if key} <= declared:
                bad.append(line[:300])
    return bad


def _words(line: str) -> Iterator[str]:
    return (found[1].replace('\\"', '"') for found in _QUOTED.finditer(line))


def script_keys(name: str, run_id: str) -> set[str]:
    """The full names of the keys that a script declares."""
    return {run_key(run_id, key) for key in load(name).keys}
