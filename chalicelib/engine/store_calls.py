"""What the run store is asked, and what it answers, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommitCall:
    """One commit to apply: the journaled body, and what concerns this call only."""

    run_id: str
    body: str
    #: Names the step for the flush lease.
    owner: str
    now_ms: int
    #: (no, commit id) known to be in the journal: the store may forget its copies up to there.
    acks: tuple[tuple[int, str], ...] = ()
    #: Commit number that created the token to settle; above the store's last: the store fell behind.
    created: int = 0
    #: (hash, field, value or "" for none) that must still be so; else STALE and no change (HAZARDS 7).
    expect: tuple[tuple[str, str, str], ...] = ()
    #: Last commit's number that the whole call was decided on: an ended run may be taken up again. 0: it may not.
    reopen: int = 0


@dataclass(frozen=True, slots=True)
class CommitAnswer:
    """What the store said. `word` is OK SETTLED STALE BEHIND UNKNOWN ENDED or MISSING."""

    word: str
    #: OK: the item's JSON members before the body.
    head: str = ""
    #: OK: tokens outstanding now; the journaled mark; whether the caller writes the tail.
    out: int = 0
    mark: int = 0
    lease: bool = False
    #: SETTLED: the settlement's record.
    record: str = ""
    #: STALE: the present generation, graph hash, revision, status. OK: the status before. ENDED: the status.
    gen: str = ""
    graph: str = ""
    rev: int = 0
    status: str = ""
    no: int = 0


@dataclass(frozen=True, slots=True)
class ReadCall:
    """Values to read as of a commit (HAZARDS 11): outcomes of later commits are not seen."""

    run_id: str
    as_of: int
    #: Per wanted node: pointer fields from the innermost scope outwards (commit.pointers, reversed), or a value key.
    nodes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    #: Names of run variables.
    vars: tuple[str, ...] = ()
    #: Edge resolution fields `instance|edge`.
    edges: tuple[str, ...] = ()
    meta: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    #: Join instances whose counts and state are asked for.
    joins: tuple[str, ...] = ()
    #: Fields of the run's `box`.
    box: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """Texts found, None where there is nothing (or nothing yet as of the commit)."""

    found: bool
    nodes: dict[str, str | None]
    vars: dict[str, str | None]
    edges: dict[str, str | None]
    meta: dict[str, str | None]
    tokens: dict[str, str | None]
    joins: dict[str, str | None]
    box: dict[str, str | None]
