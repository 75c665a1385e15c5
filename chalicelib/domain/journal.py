"""Journal items as text: composed from a commit's head and body, and expanded into the events of SPEC 8."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chalicelib.domain.ids import ARM, BEATEN, UNDO, Job, Token, bare, parse_token

Json = Any


def compose(head: str, body: str) -> str:
    """The item's text. Byte for byte the same whoever writes it (HAZARDS 2)."""
    return f'{{{head},"c":{body}}}'


@dataclass(frozen=True, slots=True)
class Item:
    """A journal item, parsed. `body` is the commit as decided, `fired` and the rest what the store added."""

    no: int
    id: str
    seq: int
    events: int
    prev_seq: int
    prev_id: str
    body: dict[str, Json]
    #: Indexes (from 0) into body["arr"] of joins that fired, and of those that can only be skipped.
    fired: tuple[int, ...]
    skipped: tuple[int, ...]
    #: Token texts cancelled; the `$end` token made, or "".
    cancelled: tuple[str, ...]
    end: str
    #: Losers cancelled; skips of losers that never started; indexes (from 0) into body["emits"] of losers skipped
    #: before, which were not created.
    lost: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    held: tuple[int, ...] = ()
    #: Per settled item of a map: the item that began instead (-1 none), and whether the map has nothing to wait for.
    moved: tuple[tuple[int, int], ...] = ()
    #: Of a commit that ends the run: the tokens and billionths of a USD that the run used.
    used: tuple[int, int] = (0, 0)

    def opened(self) -> Iterator[list[Json]]:
        """Wire forms of all tokens this commit created, in order (see commit.Emit.wire)."""
        yield from (emit for i, emit in enumerate(self.body.get("emits", [])) if i not in self.held)
        arrivals = self.body.get("arr", [])
        verdicts = [(i, True) for i in self.fired] + [(i, False) for i in self.skipped]
        for i, fires in sorted(verdicts):
            yield arrivals[i][5] if fires else arrivals[i][6]
        for (began, _), settled in zip(self.moved, self.body.get("prog", ()), strict=True):
            if began >= 0:
                yield item_of(settled[3], began)
        for token in self.lost:
            if "[" in token:
                continue
            text = BEATEN + bare(token)
            yield [text, text.rsplit("#", 1)[0], "i", "", 0]
        for token in self.dropped:
            yield [token, token.rsplit("#", 1)[0], "i", '{"skip":1}', 0]
        if self.end:
            yield [self.end, "$end@", "i", "", 0]

    def maps_over(self) -> list[str]:
        """Tokens of maps that have nothing more to wait for."""
        return [row[2] for (_, over), row in zip(self.moved, self.body.get("prog", ()), strict=True) if over]


def item_of(emit: list[Json], index: int) -> list[Json]:
    """The wire form of another item's token, from that of item 0."""
    token, instance, *rest = emit
    return [token.replace("[0]", f"[{index}]", 1), instance.replace("[0]", f"[{index}]", 1), *rest]


def parse_item(text: str) -> Item:
    """Read an item's text."""
    raw = json.loads(text)
    out = raw["out"]
    fired = tuple(i - 1 for i in out.get("f") or ())
    skipped = tuple(i - 1 for i in out.get("s") or ())
    held = tuple(i - 1 for i in out.get("h") or ())
    prev_seq, prev_id = raw["prev"]
    cancelled, lost, dropped = (tuple(out.get(name) or ()) for name in "clk")
    moved = tuple((began, over) for began, over in out.get("m") or ())
    tokens, nano_usd = out.get("u") or (0, 0)
    return Item(
        raw["no"], raw["id"], raw["seq"], raw["n"], prev_seq, prev_id, raw["c"], fired, skipped, cancelled,
        out.get("e", ""), lost, dropped, held, moved, (int(tokens or 0), int(nano_usd or 0)),
    )  # fmt: skip


def timestamp(ms: int) -> str:
    """RFC 3339 UTC with milliseconds."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def expand(text: str, run_id: str, make_job_id: Callable[[Job], str]) -> list[dict[str, Json]]:
    """The item's events in order, numbered from its seq, in the shape of SPEC 8."""
    item = parse_item(text)
    body = item.body
    events = [_decided(raw, body) for raw in json.loads(body.get("ev") or "[]")]
    events += [_opened(emit, item, run_id, make_job_id) for emit in item.opened() if emit[4]]
    events += [_event("node_cancelled", parse_token(t)) for t in map(_of_node, item.cancelled) if t[0] != "$"]
    if not events:  # a commit always says something: what it was to start had been cancelled
        events = [_event("signal_ignored", None, {"reason": "What was to start here was cancelled before."})]
    common = {"at": timestamp(body["at"]), "actor": body["actor"]}
    return [{"seq": item.seq + i, "type": event.pop("type"), **common, **event} for i, event in enumerate(events)]


def _of_node(token: str) -> str:
    """The attempt that a timer of a node stands for; any other token as it is."""
    return token.removeprefix(ARM).removeprefix("$retry:")


def _decided(raw: dict[str, Json], body: dict[str, Json]) -> dict[str, Json]:
    token = parse_token(raw["k"]) if "k" in raw else None
    data = dict(raw.get("d", {}))
    if raw["t"] == "node_completed" and token is not None:
        data = {**_output(body, token), **data}
    event = _event(raw["t"], token, data)
    if "j" in raw:
        event["job_id"] = raw["j"]
    return event


def _output(body: dict[str, Json], token: Token) -> dict[str, Json]:
    for key, record in body.get("val", []):
        if key == token.value_key:
            value = json.loads(record)
            return {"output": value["o"]} if "o" in value else {}
    return {}


def _opened(emit: list[Json], item: Item, run_id: str, make_job_id: Callable[[Job], str]) -> dict[str, Json]:
    token, body = parse_token(emit[0]), item.body
    now = {**body, **body.get("meta", {})}
    job = Job(run_id, emit[0], item.no, item.id, now["gen"], int(now["rev"]), now["graph"])
    data = json.loads(emit[3]) if emit[3] and not emit[0].startswith(UNDO) else {}
    event = _event("node_dispatched" if emit[2] == "t" else "node_waiting", token, data)
    event["job_id"] = make_job_id(job)
    return event


def _event(kind: str, token: Token | None, data: dict[str, Json] | None = None) -> dict[str, Json]:
    event: dict[str, Json] = {"type": kind}
    if token is not None:
        node = token.node.removeprefix(UNDO)
        event |= {"node_id": node, "iteration": token.iteration, "attempt": token.attempt, "loops": token.loops}
        if node != token.node:
            data = {**(data or {}), "compensation": True}
        if token.index is not None:
            event["index"] = token.index
    event["data"] = data or {}
    return event
