"""The run store on Redis: each method is one pipelined round trip of script calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from chalicelib.adapters.redis.deadlines import RedisDeadlines
from chalicelib.adapters.redis.keys import PLAN_TTL_S, plan_key, run_key
from chalicelib.adapters.redis.scripts import load
from chalicelib.domain.commit import compact
from chalicelib.domain.errors import Unavailable
from chalicelib.engine.ports import RUN_HASHES, RunState
from chalicelib.engine.store_calls import CommitAnswer, CommitCall, ReadAnswer, ReadCall

#: Fields asked for in one call.
FIELDS = 1000
#: (script name, run id, arguments)
Call = tuple[str, str, dict[str, str | int]]
#: What the client raises; a cluster without a reachable node is no RedisError to it.
CLIENT_ERRORS = (RedisError, RedisClusterException)


class RedisRunStore:
    """engine.ports.RunStore over a redis-py client (plain or cluster), decoding answers to text."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._deadlines = RedisDeadlines(client)

    def commit(self, calls: Sequence[CommitCall]) -> list[CommitAnswer]:
        """Apply each commit atomically, in order, in one round trip."""
        rows = self._run([("commit", call.run_id, _commit_arguments(call)) for call in calls])
        return [_commit_answer(row) for row in rows]

    def read(self, calls: Sequence[ReadCall]) -> list[ReadAnswer]:
        """Values as of a commit, one round trip for all."""
        rows = self._run([("read", call.run_id, {"call": _read_argument(call)}) for call in calls])
        return [_read_answer(call, row) for call, row in zip(calls, rows, strict=True)]

    def install(self, run_id: str, state: RunState, replaces: str = "") -> bool:
        """Create the run's keys; False where they are there already."""
        flat = {name: [text for pair in fields.items() for text in pair] for name, fields in state.items() if fields}
        word: str = self._run([("install", run_id, {"state": compact(flat), "replaces": replaces})])[0][0]
        return word == "OK"

    def acknowledge(self, acks: Sequence[tuple[str, int, str, Sequence[str]]]) -> None:
        """Note what is journaled and sent, one round trip for all."""
        calls: list[Call] = [
            ("acknowledge", run, {"ack": compact([no, commit_id]), "sent": compact(list(sent))})
            for run, no, commit_id, sent in acks
        ]
        self._run(calls)

    def hold(self, run_id: str, tokens: Sequence[str], now_ms: int) -> None:
        """Mark unsent tokens as held: resuming the run sends them, or else the sweep."""
        self._run([("hold", run_id, {"tokens": compact(list(tokens)), "at": now_ms})])

    def unwritten(self, run_id: str, owner: str, now_ms: int) -> tuple[int, bool, list[tuple[str, str]]]:
        """(mark, lease, items above the mark)."""
        row = self._run([("unwritten", run_id, {"owner": owner, "now": now_ms})])[0]
        if row[0] == "MISSING":
            return 0, False, []
        texts = row[3]
        return row[1], bool(row[2]), list(zip(texts[::2], texts[1::2], strict=True))

    def snapshot(self, run_id: str, hashes: Sequence[str] = RUN_HASHES) -> RunState | None:
        """An atomic copy of these hashes."""
        wanted = list(dict.fromkeys(("meta", *hashes)))
        with _translated():
            pipe = self._client.pipeline(transaction=True)
            for name in wanted:
                pipe.hgetall(run_key(run_id, name))
            rows = pipe.execute()
        return dict(zip(wanted, rows, strict=True)) if rows[0] else None

    def fields(self, run_id: str, hash_: str, names: Sequence[str]) -> list[str | None]:
        """These fields of one hash, one round trip for a thousand."""
        found: list[str | None] = []
        with _translated():
            for start in range(0, len(names), FIELDS):
                part = list(names[start : start + FIELDS])
                found += cast("list[str | None]", self._client.hmget(run_key(run_id, hash_), part))
        return found

    def note_look(self, run_id: str, at_ms: int, next_ms: int) -> None:
        """Note when the run's tasks were looked through, and when they are to be next."""
        self._run([("look", run_id, {"look": f"{at_ms}|{next_ms}"})])

    def retire(self, run_id: str, position: str) -> None:
        """Delete the keys of a run whose state is at `no|commit id`: an empty state takes its place."""
        self._run([("install", run_id, {"state": "{}", "replaces": position})])

    def put_due(self, due: Mapping[str, int], *, only_known: bool = False, only_new: bool = False) -> None:
        """Set when members of the deadline index are due."""
        with _translated():
            self._deadlines.put(due, only_known=only_known, only_new=only_new)

    def due(self, now_ms: int, limit: int) -> list[str]:
        """Members of the deadline index that are due."""
        with _translated():
            return self._deadlines.due(now_ms, limit)

    def drop_due(self, members: Sequence[str]) -> None:
        """Forget members that were dealt with."""
        with _translated():
            self._deadlines.drop(members)

    def get_plan(self, hash: str) -> str | None:
        """A cached plan's text."""
        with _translated():
            return cast("str | None", self._client.get(plan_key(hash)))

    def put_plan(self, hash: str, text: str) -> None:
        """Cache a plan's text for an hour."""
        with _translated():
            self._client.set(plan_key(hash), text, ex=PLAN_TTL_S)

    def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            return bool(self._client.ping())
        except CLIENT_ERRORS:
            return False

    def _run(self, calls: Sequence[Call]) -> list[Any]:
        """Send script calls in one pipeline; a script the server lost is sent whole, call by call, in order."""
        if not calls:
            return []
        with _translated():
            pipe = self._client.pipeline(transaction=False)
            for name, run_id, arguments in calls:
                script = load(name)
                pipe.execute_command(  # type: ignore[no-untyped-call]
                    "EVALSHA", script.sha, *script.words(run_id, arguments)
                )
            rows = pipe.execute(raise_on_error=False)
            for i, row in enumerate(rows):
                if isinstance(row, NoScriptError):
                    rows[i] = self._eval(*calls[i])
                elif isinstance(row, Exception):
                    raise row
        return rows

    def _eval(self, name: str, run_id: str, arguments: dict[str, str | int]) -> object:
        script = load(name)
        words = script.words(run_id, arguments)
        return self._client.execute_command("EVAL", script.source, *words)  # type: ignore[no-untyped-call]


class _translated:
    """Redis errors become Unavailable: the effect may have happened or not."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CLIENT_ERRORS):
            raise Unavailable(f"Redis did not answer: {error}") from error


def _commit_arguments(call: CommitCall) -> dict[str, str | int]:
    control: dict[str, Any] = {"owner": call.owner, "now": call.now_ms, "acks": call.acks, "created": call.created}
    if call.reopen:
        control["reopen"] = call.reopen
    if call.expect:
        control["expect"] = call.expect
    return {"body": call.body, "control": compact(control)}


def _commit_answer(row: list[Any]) -> CommitAnswer:
    word = row[0]
    if word == "OK":
        return CommitAnswer(word, head=row[1], out=row[2], mark=row[3], lease=bool(row[4]), status=row[5])
    if word == "SETTLED":
        return CommitAnswer(word, record=row[1])
    if word == "STALE":
        return CommitAnswer(word, gen=row[1], graph=row[2], rev=int(row[3]), status=row[4], no=row[5])
    if word == "ENDED":
        return CommitAnswer(word, status=row[1])
    return CommitAnswer(word, no=row[1] if len(row) > 1 else 0)


def _read_argument(call: ReadCall) -> str:
    nodes = [list(fields) for _, fields in call.nodes]
    lists = {"vars": call.vars, "edges": call.edges, "meta": call.meta, "tokens": call.tokens, "joins": call.joins}
    lists["box"] = call.box
    return compact({"as_of": call.as_of, "nodes": nodes, **lists})


def _read_answer(call: ReadCall, row: list[Any]) -> ReadAnswer:
    if row[0] == "MISSING":
        return ReadAnswer(False, {}, {}, {}, {}, {}, {}, {})
    names = ([node for node, _ in call.nodes], call.vars, call.edges, call.meta, call.tokens, call.joins, call.box)
    return ReadAnswer(True, *(dict(zip(keys, texts, strict=True)) for keys, texts in zip(names, row[1:], strict=True)))


def connect(url: str, *, cluster: bool) -> redis.Redis:
    """A client with short timeouts: the engine repeats what may be repeated. A cluster's is made by asking it for its
    slots, and follows them when they move. Raises Unavailable."""
    options: dict[str, Any] = {"decode_responses": True, "socket_timeout": 5.0, "socket_connect_timeout": 2.0}
    if cluster:
        with _translated():
            client: redis.Redis = redis.RedisCluster.from_url(url, **options)  # type: ignore[assignment]
        return client
    return redis.Redis.from_url(url, **options)
