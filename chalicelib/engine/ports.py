"""What the engine asks of the world, as Protocols; adapters implement them, tests double them.

Every call may raise `Unavailable` (the thing did not answer: the effect may have happened or not); the engine is built
so that repeating the call is always harmless.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chalicelib.engine.store_calls import CommitAnswer, CommitCall, ReadAnswer, ReadCall

Json = Any


class Clock(Protocol):
    """The only source of time."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...


class Ids(Protocol):
    """The only source of randomness."""

    def new(self) -> str:
        """A fresh id of 12 characters `[a-z0-9]`: commit ids, run ids, nonces."""
        ...

    def uniform(self) -> float:
        """A number in [0, 1), for jitter."""
        ...


class Artifacts(Protocol):
    """Content-addressed values (S3 `cas/<sha256>`)."""

    def put(self, body: bytes, content_type: str = "application/json") -> str:
        """Store `body` and return its id `artifact://sha256/<hex>`; storing it again is harmless."""
        ...

    def get(self, ref: str) -> bytes:
        """The bytes of an `artifact://sha256/<hex>` id. Raises NotFound."""
        ...

    def exists(self, ref: str) -> bool:
        """Whether the store holds this id."""
        ...

    def upload_url(self, sha256: str, size: int) -> str:
        """A presigned PUT for exactly these bytes, valid 15 minutes."""
        ...

    def download_url(self, sha256: str) -> str:
        """A presigned GET, valid 15 minutes. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One queue message to send. `queue` is a logical name: completion-signals, tasks-function, tasks-http, …."""

    queue: str
    body: str
    #: 0..900 seconds.
    delay_s: int = 0


class Queues(Protocol):
    """SQS by logical queue name (the adapter adds `graft-<stage>-`)."""

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Send all, in SendMessageBatch calls of at most 10 messages and 1 MiB (one per queue where they fit),
        repeating the entries that a partial failure names. Raises Unavailable when some could not be sent."""
        ...

    def depth(self, queue: str) -> int:
        """Approximate number of messages waiting, delayed and in flight."""
        ...


class Schedules(Protocol):
    """One-time wake-ups beyond SQS's 15 minutes (EventBridge Scheduler)."""

    def once(self, name: str, at_ms: int, message: Outgoing) -> None:
        """Send `message` at `at_ms`; the same name again replaces or keeps it; deletes itself afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class JournalItem:
    """One commit as the journal holds it (HAZARDS 1, 2): never regrouped, never rewritten with other bytes."""

    run_id: str
    #: Commit number, 1 for the run's creation.
    no: int
    #: The commit's id (nonce).
    id: str
    #: First event's seq, and how many events it holds (at least 1).
    seq: int
    events: int
    #: First seq and id of the item before it; (0, "") for the first.
    prev_seq: int
    prev_id: str
    #: The item's JSON text: body and outcome (see domain.journal).
    text: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A Directory record that says how a run stands (its entry in the runs list). No other run writes this key."""

    run_id: str
    key: tuple[str, str]
    record: Mapping[str, Json]


class Journal(Protocol):
    """The truth: an append-only chain of items per run (DynamoDB)."""

    def append(self, items: Sequence[JournalItem], records: Sequence[RunRecord] = ()) -> list[JournalItem]:
        """Write items of any runs; per run they are contiguous and in order. Each is accepted only if new or already
        written by the same commit id, and the first of each run only if its predecessor is there with `prev_id`.
        One TransactWriteItems where they fit (100 actions, 4 MB); a refusal is told apart per run.
        Returns the items refused (with all later ones of their run); [] when all are in the journal.
        `records` are written in the same transaction as the last of `items` of their run: not at all where that item
        is refused, and not over a record that a later commit of the run has written (a slow repeat changes nothing)."""
        ...

    def read(self, run_id: str, after_seq: int = 0, limit: int = 500) -> list[JournalItem]:
        """Consistent read in order: the items holding events with seq > after_seq, at most `limit` items."""
        ...


class Directory(Protocol):
    """Tenant-partitioned records that are not one run's journal: runs list, catalog, idempotency keys (DynamoDB)."""

    def put_new(self, key: tuple[str, str], record: Mapping[str, Json]) -> Mapping[str, Json] | None:
        """Conditional create. Returns None when created, else the record already there (consistent)."""
        ...

    def put(self, key: tuple[str, str], record: Mapping[str, Json]) -> None:
        """Write, whatever is there."""
        ...

    def replace(self, key: tuple[str, str], record: Mapping[str, Json], expect: Mapping[str, Json]) -> bool:
        """Write if the stored record's members equal `expect`; False when they do not."""
        ...

    def get(self, key: tuple[str, str]) -> Mapping[str, Json] | None:
        """Consistent read of one record."""
        ...

    def query(
        self, partition: str, *, prefix: str = "", start: str | None = None, descending: bool = False, limit: int = 100
    ) -> list[tuple[str, Mapping[str, Json]]]:
        """(sort key, record) in order, consistent; `start` is exclusive."""
        ...

    def delete(self, key: tuple[str, str], expect: Mapping[str, Json] | None = None) -> None:
        """Remove, with `expect` only a record whose members equal it; harmless when absent."""
        ...


#: The hashes of one run in the store (see docs/internals.md): name -> field -> text.
RunState = dict[str, dict[str, str]]
#: Their names, in the order of the scripts' KEYS.
RUN_HASHES = ("meta", "tok", "dis", "done", "st", "val", "last", "jn", "ed", "vars", "box", "tail", "ready")


class RunStore(Protocol):
    """Counters and state of live runs (Redis). Lists of calls are one round trip (per shard in a cluster)."""

    def commit(self, calls: Sequence[CommitCall]) -> list[CommitAnswer]:
        """Apply each call atomically, in order."""
        ...

    def read(self, calls: Sequence[ReadCall]) -> list[ReadAnswer]:
        """Consistent reads of single runs."""
        ...

    def install(self, run_id: str, state: RunState, replaces: str = "") -> bool:
        """Create the run's keys from a folded state, or replace the state that is at `no|commit id`, or remove it where
        the new one is empty; False and no change where the store holds another one."""
        ...

    def acknowledge(self, acks: Sequence[tuple[str, int, str, Sequence[str]]]) -> None:
        """(run, no, commit id, sent tokens): the journal holds commits up to no; these tokens' messages were sent."""
        ...

    def hold(self, run_id: str, tokens: Sequence[str], now_ms: int) -> None:
        """Mark those of these tokens that are not known to be sent: resuming the run sends them, or else the sweep."""
        ...

    def unwritten(self, run_id: str, owner: str, now_ms: int) -> tuple[int, bool, list[tuple[str, str]]]:
        """(mark, lease granted, [(head, body)] above the mark): the journal items that may not be written yet."""
        ...

    def snapshot(self, run_id: str, hashes: Sequence[str] = RUN_HASHES) -> RunState | None:
        """An atomic copy of these hashes; None where the run is not in the store."""
        ...

    def fields(self, run_id: str, hash_: str, names: Sequence[str]) -> list[str | None]:
        """These fields of one hash, in order; None where there is nothing."""
        ...

    def note_look(self, run_id: str, at_ms: int, next_ms: int) -> None:
        """Note when the sweep looked through the run's tasks, and when it has to look next, if the run is here."""
        ...

    def retire(self, run_id: str, position: str) -> None:
        """Delete the keys of a run whose state is at `no|commit id`; one that has moved on stays."""
        ...

    def put_due(self, due: Mapping[str, int], *, only_known: bool = False, only_new: bool = False) -> None:
        """Set when members of the deadline index are due (ms): `only_known` adds none, `only_new` moves none."""
        ...

    def due(self, now_ms: int, limit: int) -> list[str]:
        """Members of the deadline index that are due, at most `limit` of each of its parts."""
        ...

    def drop_due(self, members: Sequence[str]) -> None:
        """Forget members that were dealt with."""
        ...

    def get_plan(self, hash: str) -> str | None:
        """A cached plan's text."""
        ...

    def put_plan(self, hash: str, text: str) -> None:
        """Cache a plan's text for an hour; it may vanish at any time."""
        ...

    def ping(self) -> bool:
        """Whether the store answers."""
        ...
