"""Folding journal items gives the run's state: the pure twin of the store's commit script.

The outcome in each item says what the script found (joins fired, tokens cancelled), so folding evaluates no expression
and counts no join anew; a test holds that both give the same hashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from chalicelib.domain.journal import Item
from chalicelib.domain.map_items import NONE, parse_progress
from chalicelib.domain.pauses import note_pause

Json = Any
State = dict[str, dict[str, str]]

#: The largest count that the store holds; what would go past it is left out.
MOST = 2**63 - 1

HASHES = ("meta", "tok", "dis", "done", "st", "val", "last", "jn", "ed", "vars", "box", "tail", "ready")


def fold(items: Iterable[Item]) -> State:
    """The state after these items, from a run's first one on. All of them count as journaled."""
    state: State = {name: {} for name in HASHES}
    for item in items:
        apply(state, item)
    return state


def apply(state: State, item: Item) -> None:
    """Advance `state` by one item, as the commit script did."""
    body, meta = item.body, state["meta"]
    for name, fields in body.get("snapshot", {}).items():
        state[name].update(fields)
    stamp = f"{item.no}|{item.id}|{body['at']}|"
    again = _cut(state, item)
    if "settle" in body:
        token, status, error = body["settle"]
        _close(state, token, f"{stamp}{status}|{error}")
    _drop_end(state, item)
    _patch(state, item, stamp)
    for emit in item.opened():
        _open(state, emit, stamp, body)
    for token in (*item.cancelled, *item.lost):
        _close(state, token, f"{stamp}CANCELLED|")
    _arrivals(state, item, again)
    for (began, _), settled in zip(item.moved, body.get("prog", ()), strict=True):
        _count(state, settled, began)
    _values(state, item)
    meta.update(body.get("meta", {}))
    for name, value in body.get("once", {}).items():
        meta.setdefault(name, value)
    note_pause(state, body.get("meta", {}).get("status"), item.no, body["at"])
    last = item.seq + item.events - 1
    meta |= {"no": str(item.no), "cid": item.id, "seq": str(last), "lseq": str(item.seq), "mark": str(item.no)}
    end = item.end or (meta.get("end", "") if meta.get("end") in state["tok"] else "")
    meta |= {"out": str(len(state["tok"])), "end": end}


def fresh_field(instance: str) -> str:
    """Where a join's newest taken edge since the run was cut is noted, by its commit's number (see `Draft.cut`)."""
    return f"fresh|{instance}"


def _cut(state: State, item: Item) -> set[str] | None:
    """Note that the item cuts the run. Gives the edges that it only resolves again: of the others those taken now count
    as taken since the run was cut. None where none do: nothing was cut, or what settles here began before it was."""
    body, meta = item.body, state["meta"]
    if "cut" in body:
        meta["cut"] = str(item.no)
    elif "cut" not in meta or ("settle" in body and _began(state, body["settle"][0]) < int(meta["cut"])):
        return None
    return {field for name, field in body.get("drop", []) if name == "ed"}


def _began(state: State, token: str) -> int:
    return int(state["tok"].get(token, "0").split("|", 1)[0])


def _patch(state: State, item: Item, stamp: str) -> None:
    """Fields that are dropped and put as they are, counts that rise, and skips."""
    body, meta = item.body, state["meta"]
    for name, count in body.get("add", {}).items():
        risen = int(meta.get(name) or 0) + int(count)
        if risen <= MOST:
            meta[name] = str(risen)
    for name, field in body.get("drop", []):
        state[name].pop(field, None)
    for name, field, value in body.get("put", []):
        state[name][field] = value
    for token, instance in body.get("skips", []):
        if token not in state["tok"]:
            state["done"][token] = f"{stamp}{'SKIPPED' if token.endswith('.0') else 'CANCELLED'}|"
        state["st"][instance] = token


def _drop_end(state: State, item: Item) -> None:
    """A commit that creates work takes back an `$end` that is still outstanding (HAZARDS 9)."""
    end = state["meta"].get("end", "")
    if end and end in state["tok"] and ("emits" in item.body or "arr" in item.body):
        state["tok"].pop(end)
        state["ready"].pop(end, None)


def _close(state: State, token: str, record: str) -> None:
    state["tok"].pop(token, None)
    state["ready"].pop(token, None)
    state["done"][token] = record


def _open(state: State, emit: list[Json], stamp: str, body: dict[str, Json]) -> None:
    token, instance, kind, data = emit[:4]
    now = {**body, **body.get("meta", {})}
    began = f"{stamp}{kind}|{now['graph']}|{now['gen']}|{now['rev']}|"
    state["tok"][token] = began + data
    state["dis"][token] = began
    state["st"][instance] = token
    state["ready"][token] = f"r{body['at']}"


def _arrivals(state: State, item: Item, again: set[str] | None) -> None:
    for index, arrival in enumerate(item.body.get("arr", [])):
        taken = _arrive(state, item, index, arrival)
        if taken and again is not None and taken not in again:
            state["box"][fresh_field(arrival[0])] = str(item.no)


def _arrive(state: State, item: Item, index: int, arrival: list[Json]) -> str:
    """The field of the edge if it is taken by this, else ""."""
    instance, edge, how = arrival[:3]
    field = f"{instance}|{edge}"
    if field in state["ed"]:
        return ""
    state["ed"][field] = f"{how}:{item.no}"
    counts = state["jn"].get(instance, "0|0|0|").split("|")
    slot = {1: 0, 0: 1, 2: 2}[how]
    counts[slot] = str(int(counts[slot]) + 1)
    if index in item.fired:
        counts[3] = f"fire:{item.no}"
    elif index in item.skipped:
        counts[3] = f"skip:{item.no}"
    state["jn"][instance] = "|".join(counts)
    return field if how == 1 else ""


def _count(state: State, settled: list[Json], began: int) -> None:
    """One settled item of a map, and the item that began instead or -1."""
    field, done, _, _, index = settled
    if field not in state["box"]:
        return
    old = parse_progress(state["box"][field])
    first = index if not done and old.first_failed == NONE else old.first_failed
    counts = {"done": old.done + done, "failed": old.failed + 1 - done, "first_failed": first}
    state["box"][field] = replace(old, next=began + 1 if began >= 0 else old.next, **counts).text


def _values(state: State, item: Item) -> None:
    body = item.body
    for key, record in body.get("val", []):
        state["val"][key] = f"{item.no}|{record}"
    for field, order, key in body.get("last", []):
        old = state["last"].get(field)
        if old is None or old.split("|", 1)[0] <= order:
            state["last"][field] = f"{order}|{key}"
    for name, value in body.get("vars", []):
        before = re.match(r"\d+", state["vars"].get(name, ""))
        record = f"{item.no}|{before[0] if before else ''}|{value}"
        state["vars"][name] = record
        state["vars"][f"{name}#{item.no}"] = record


def creation_head(commit_id: str, events: int, no: int = 1) -> str:
    """The head of a run's first item, which is journaled before any store has it. A fork goes on counting commits."""
    return f'"no":{no},"id":"{commit_id}","seq":1,"n":{events},"prev":[0,""],"out":{{"e":""}}'
