"""What must hold of maps after every commit: windows are kept, items end with their map, outputs are in order."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.domain.ids import UNDO, Token, bare, parse_token
from chalicelib.domain.journal import Item
from tests.simulation.reference_graph import Scope
from tests.simulation.violations import require

Json = Any
#: Items that one commit may begin, however many the map has.
MOST_AT_ONCE = 100


class MapWatch:
    """The maps of one run, as its journal tells. A map is named by its token without the attempt."""

    def __init__(self) -> None:
        #: What each map said as it began: how many items, at work at a time, failures borne.
        self.begun: dict[str, dict[str, Json]] = {}
        self._waiting: set[str] = set()
        #: Map -> tokens of its items that are outstanding.
        self._open: defaultdict[str, set[str]] = defaultdict(set)
        #: Item -> its output, None where it failed.
        self._outputs: dict[str, Json] = {}
        self._failed: Counter[str] = Counter()

    def is_at_work(self, node: str) -> bool:
        """Whether a map of this node waits for its items."""
        return any(parse_token(f"{key}.1").node == node for key in self._waiting)

    def follow(self, item: Item, place: str) -> None:
        """One more commit."""
        body = item.body
        outcomes = {key: json.loads(record) for key, record in body.get("val", []) if not key.startswith("$")}
        self._outputs |= {key: outcome.get("o") for key, outcome in outcomes.items() if "[" in key}
        settled, status = (body.get("settle") or ("", ""))[:2]
        if status == "FAILED" and _is_item(settled):
            self._failed[_map_of(settled)] += 1
        self._judge_next(item, place)
        touched = self._begin(item, place)
        for text in filter(None, (settled, *item.cancelled, *item.lost)):
            token, key = parse_token(text), _map_of(text)
            if token.index is None and token.node == bare(token.node) and key in self._waiting:
                self._waiting.discard(key)
                touched.add(key)
                if text == settled and status == "COMPLETED" and "skipped_by" not in body.get("ev", ""):
                    self._judge_output(key, outcomes[key], place)
            self._open[key].discard(text)
        for key in touched:
            self._judge(key, place)

    def _begin(self, item: Item, place: str) -> set[str]:
        """Note what begins; the maps that this concerns."""
        touched, items = set(), 0
        for text, _, kind, data, _ in item.opened():
            key = _map_of(text)
            if kind == "h" and '"pages"' in data:
                self.begun[key] = json.loads(data)
                self._waiting.add(key)
            elif _is_item(text):
                self._open[key].add(text)
                touched.add(key)
                items += 1
        require(items <= MOST_AT_ONCE, f"{place} begins {items} items at once")
        return touched

    def _judge_next(self, item: Item, place: str) -> None:
        """No item takes the place of another once too many have failed."""
        for (began, _), (_, _, text, *_) in zip(item.moved, item.body.get("prog", ()), strict=True):
            failed, borne = self._failed[_map_of(text)], self.begun[_map_of(text)]["tolerated"]
            require(began < 0 or failed <= borne, f"{place} goes on with {text}, of which {failed} items have failed")

    def _judge(self, key: str, place: str) -> None:
        outstanding = self._open[key]
        if key not in self._waiting:
            require(not outstanding, f"{place} leaves {sorted(outstanding)} outstanding of {key}, which is over")
            return
        indexes, window = {parse_token(text).index for text in outstanding}, self.begun[key]["window"]
        require(len(indexes) <= window, f"{place} leaves {len(indexes)} items of {key} outstanding; {window} may be")

    def _judge_output(self, key: str, outcome: dict[str, Json], place: str) -> None:
        """The output of a completed map has each item's in its place."""
        token = parse_token(f"{key}.1")
        names = [replace(token, index=index).value_key for index in range(self.begun[key]["items"])]
        require(all(name in self._outputs for name in names), f"{place} completes {key} before all its items")
        wanted = [self._outputs[name] for name in names]
        require("r" in outcome or outcome["o"] == wanted, f"{place} completes {key} with {outcome}, not {wanted}")

    def differences(self, wanted: Mapping[tuple[str, Scope], tuple[int, int, int]]) -> list[str]:
        """Where maps have begun otherwise than in the reference."""
        found = {}
        for key, data in self.begun.items():
            token = parse_token(f"{key}.1")
            found[(token.node, token.scope)] = (data["items"], data["window"], data["tolerated"])
        both = found.keys() & wanted.keys()
        return [f"map {key}: {found[key]} in the engine, {wanted[key]} in the reference" for key in both
                if found[key] != wanted[key]]  # fmt: skip


def _is_item(text: str) -> bool:
    """Whether this is the token of an item, or of its timers; an undo is none."""
    return "[" in text and UNDO not in text and not bare(parse_token(text).node).startswith("$")


def _map_of(text: str) -> str:
    """The map of an item's token, of its timers, or of the map's own."""
    token = parse_token(text)
    return Token(bare(token.node), token.scope, None, token.epoch).value_key
