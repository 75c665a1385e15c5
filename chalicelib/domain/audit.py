"""Checks a run's journal item by item: an unbroken chain, gapless numbers, every token settled once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.fold import State, apply, fold
from chalicelib.domain.journal import Item
from chalicelib.domain.state import ENDED

Json = Any
#: Findings that are kept; one broken place may cause many.
MOST = 50
#: Meta fields of one store's bookkeeping, which the journal does not have.
BOOKKEEPING = frozenset({"mark", "lease", "lease_until", "look"})
#: Hashes that are compared with the store's: all but its unwritten tail and its notes of what was sent.
COMPARED = ("meta", "tok", "dis", "done", "st", "val", "last", "jn", "ed", "vars", "box")


@dataclass(slots=True)
class Audit:
    """Folds items in order and keeps what is wrong with them."""

    state: State = field(default_factory=lambda: fold(()))
    findings: list[dict[str, Json]] = field(default_factory=list)
    commits: int = 0
    events: int = 0
    _last: Item | None = None

    def take(self, item: Item) -> None:
        """Check the next item against all before it, then fold it."""
        self._chain(item)
        self._settlements(item)
        apply(self.state, item)
        self._outstanding(item)
        self.commits += 1
        self.events += item.events
        self._last = item

    def compare(self, stored: State) -> None:
        """Compare the folded state with a store's copy as of the same commit."""
        for name in COMPARED:
            mine, theirs = self.state[name], stored[name]
            for key in sorted(set(mine) | set(theirs)):
                skipped = name == "meta" and key in BOOKKEEPING
                if not skipped and mine.get(key) != theirs.get(key):
                    found = {"journal": _short(mine.get(key)), "store": _short(theirs.get(key))}
                    self.find("state_differs", f"{name}/{key}", **found)

    def compare_snapshot(self, kept: State) -> None:
        """Compare the state as folded so far with a snapshot of this commit: every field of every hash."""
        for name in sorted({*self.state, *kept}):
            mine, theirs = self.state.get(name, {}), kept.get(name, {})
            for key in sorted(set(mine) | set(theirs)):
                if mine.get(key) != theirs.get(key):
                    found = {"journal": _short(mine.get(key)), "snapshot": _short(theirs.get(key))}
                    self.find("snapshot_differs", f"{name}/{key}", **found)

    def _chain(self, item: Item) -> None:
        no, seq, before = self._expected(item)
        if item.no != no:
            self.find("commit_missing", str(no), journal=item.no)
        if item.seq != seq:
            self.find("seq_gap", str(seq), journal=item.seq)
        if (item.prev_seq, item.prev_id) != before:
            self.find("chain_broken", str(item.no), journal=[item.prev_seq, item.prev_id], expected=list(before))
        taken_up = item.body.get("meta", {}).get("status") == "RUNNING"
        if self.state["meta"].get("status") in ENDED and not (taken_up or _says_only(item, "signal_ignored")):
            self.find("after_the_end", str(item.no))

    def _expected(self, item: Item) -> tuple[int, int, tuple[int, str]]:
        """(commit number, seq, (seq, id) of the item before). A fork counts commits on from the run it came from."""
        last = self._last
        if last is None:
            return item.no if "snapshot" in item.body else 1, 1, (0, "")
        return last.no + 1, last.seq + last.events, (last.seq, last.id)

    def _settlements(self, item: Item) -> None:
        closed = [item.body["settle"][0]] if "settle" in item.body else []
        for token in [*closed, *item.cancelled, *item.lost]:
            if token in self.state["done"]:
                self.find("settled_twice", token, commit=item.no)
            elif token not in self.state["tok"] and token not in _made(item):
                self.find("settled_unknown", token, commit=item.no)

    def _outstanding(self, item: Item) -> None:
        made = sorted(_made(item) - {*item.cancelled, *item.lost})
        twice = [token for token in made if token in self.state["done"]]
        for token in twice:
            self.find("created_after_its_end", token, commit=item.no)
        status = self.state["meta"].get("status")
        if status in ENDED and self.state["tok"]:
            self.find("ended_with_tokens", str(item.no), tokens=len(self.state["tok"]))
        if status not in ENDED and not self.state["tok"]:
            self.find("nothing_outstanding", str(item.no))

    def find(self, code: str, where: str, **more: Json) -> None:
        """Keep one finding."""
        if len(self.findings) < MOST:
            self.findings.append({"code": code, "where": where, **more})


def _says_only(item: Item, type_: str) -> bool:
    """Whether a commit holds events of this type and changes no token, edge or node."""
    changes = item.body.keys() & {"settle", "emits", "arr", "skips", "put", "drop", "cancel", "all"}
    return not changes and {event["t"] for event in json.loads(item.body.get("ev") or "[]")} == {type_}


def _made(item: Item) -> set[str]:
    return {emit[0] for emit in item.opened()}


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= 200 else text[:200] + "…"
