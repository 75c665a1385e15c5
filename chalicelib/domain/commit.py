"""A commit: every change one settlement makes to a run, as a value; `body` is the exact text that is journaled.

The store applies it in one atomic call and adds what only it can know (the outcome): which joins fired or were skipped,
which tokens it cancelled, whether nothing is left. Body and outcome together are the journal item; folding them gives
the same state again (domain.fold). User values travel as opaque strings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.ids import Token, pointers

Json = Any
#: Made once: `json.dumps` makes an encoder for each call, and a hop writes eight texts.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def compact(value: Json) -> str:
    """JSON text without spaces, ASCII only: byte-stable for equal values in equal order."""
    return _ENCODER.encode(value)


@dataclass(frozen=True, slots=True)
class Emit:
    """A token to create. `kind` as in state.KIND_STATUS; `data` is what settling or dispatching it needs."""

    token: Token
    kind: str
    data: dict[str, Json] = field(default_factory=dict)

    @property
    def announces(self) -> int:
        """1 if its creation is an event: work that leaves the coordinator or waits."""
        return 1 if self.kind in ("t", "w", "h") else 0

    def wire(self) -> list[Json]:
        """[token, instance, kind, data, announces] as the store reads it."""
        data = compact(self.data) if self.data else ""
        return [self.token.text, self.token.instance, self.kind, data, self.announces]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One edge resolved at a counted node: how = 0 not taken, 1 taken, 2 veto (the node must be skipped)."""

    #: The counted node in its scope.
    instance: str
    edge: str
    how: int
    #: As in ir.Join: 0 waits for all `total` edges, n fires on the nth taken one.
    need: int
    total: int
    fire: Emit
    #: Inline token that performs the skip when the node cannot run any more.
    skip: Emit
    #: Nodes whose tokens firing also cancels, since they can only lead here (HAZARDS 22), grouped by
    #: (scope around their tokens, scope they would start in).
    losers: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    def wire(self) -> list[Json]:
        """[instance, edge, how, need, total, fire, skip, losers?] as the store reads it."""
        row = [self.instance, self.edge, self.how, self.need, self.total, self.fire.wire(), self.skip.wire()]
        return [*row, self.losers] if self.losers else row


@dataclass(frozen=True, slots=True)
class SettledItem:
    """One item of a map that is done or has failed: the store counts it, and lets the next one begin."""

    #: Where the map's progress is kept.
    field: str
    done: bool
    #: The map's token: no item begins once it is settled.
    map: Token
    #: How the first item began; the others differ in their index.
    first: Emit
    index: int

    def wire(self) -> list[Json]:
        """[field, 1 or 0, map token, emit of item 0, index] as the store reads it."""
        return [self.field, int(self.done), self.map.text, self.first.wire(), self.index]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, as it will be shown; `token` gives node, iteration, attempt and loops."""

    type: str
    token: Token | None = None
    data: dict[str, Json] = field(default_factory=dict)
    job: str | None = None

    def wire(self) -> dict[str, Json]:
        """Short keys: t type, k token, d data, j job id."""
        out: dict[str, Json] = {"t": self.type}
        if self.token is not None:
            out["k"] = self.token.text
        if self.data:
            out["d"] = self.data
        if self.job is not None:
            out["j"] = self.job
        return out


@dataclass(frozen=True, slots=True)
class Kept:
    """A variable's value that is stored apart, as an artifact."""

    ref: str

    @property
    def text(self) -> str:
        """As it stands in the place of JSON text, which never begins so."""
        return f"@{self.ref}"


@dataclass(slots=True)
class Draft:
    """A commit being decided. The engine gives it its id, time and generation when it commits."""

    settle: Token | None = None
    #: COMPLETED FAILED CANCELLED or RETRIED (the attempt failed and another follows), and the error if any.
    status: str = "COMPLETED"
    error: dict[str, Json] | None = None
    cancel_all: bool = False
    #: With cancel_all: what this commit starts goes on, so the edges of what it cancels are resolved as not taken, and
    #: from here on a join runs only where it is reached anew (HAZARDS 23).
    cut: bool = False
    emits: list[Emit] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    #: Nodes that do not run: skipped ones (attempt 0), and cancelled ones that never began.
    skips: list[Token] = field(default_factory=list)
    #: (token, record) of outcomes that expressions may read: {"s" status, "o" output | "r" ref, "e" error}.
    values: list[tuple[Token, dict[str, Json]]] = field(default_factory=list)
    vars: dict[str, Json] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    #: Meta fields that only the first writer sets (the run's error, its result).
    once: dict[str, str] = field(default_factory=dict)
    #: Meta fields that count, and by how much they rise (at least 0).
    add: dict[str, int] = field(default_factory=dict)
    #: A patch's changes of join counts and edge resolutions, before any arrival: (hash, field, value), (hash, field).
    put: list[tuple[str, str, str]] = field(default_factory=list)
    drop: list[tuple[str, str]] = field(default_factory=list)
    #: Token texts to cancel if they are outstanding.
    cancel: list[str] = field(default_factory=list)
    #: Beginning of the instances whose tokens are cancelled if they are outstanding: the items of a map.
    cancel_within: str = ""
    #: Items of maps that settled.
    settled_items: list[SettledItem] = field(default_factory=list)
    #: A fork's first commit: hashes taken over from the old run, or {"ref": artifact} where they are.
    snapshot: dict[str, Json] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    #: True when this commit ends the run: no $end token is made.
    final: bool = False


def body(draft: Draft, *, commit_id: str, at: int, gen: str, graph: str, rev: int, actor: str) -> str:
    """The text to journal. `at` in milliseconds; `gen` is the generation the draft was decided on."""
    out: dict[str, Json] = {"id": commit_id, "at": at, "gen": gen, "graph": graph, "rev": rev, "actor": actor}
    if draft.settle is not None:
        out["settle"] = [draft.settle.text, draft.status, compact(draft.error) if draft.error else ""]
    values = [[token.value_key, compact(record)] for token, record in draft.values]
    optional: dict[str, Json] = {
        "all": int(draft.cancel_all),
        "cut": int(draft.cut),
        "emits": [emit.wire() for emit in draft.emits],
        "arr": [arrival.wire() for arrival in draft.arrivals],
        "skips": [[token.text, token.instance] for token in draft.skips],
        "val": values,
        "last": [pointer for token, _ in draft.values if token.index is None for pointer in pointers(token)],
        "vars": [[name, v.text if isinstance(v, Kept) else compact(v)] for name, v in draft.vars.items()],
        "meta": draft.meta,
        "once": draft.once,
        "add": {name: str(count) for name, count in draft.add.items() if count},
        "put": draft.put,
        "drop": draft.drop,
        "cancel": draft.cancel,
        "within": draft.cancel_within,
        "prog": [item.wire() for item in draft.settled_items],
        "snapshot": draft.snapshot,
        "ev": compact([event.wire() for event in draft.events]) if draft.events else "",
        "final": int(draft.final),
    }
    out.update({key: value for key, value in optional.items() if value})
    out["n"] = len(draft.events) + sum(emit.announces for emit in draft.emits)
    return compact(out)
