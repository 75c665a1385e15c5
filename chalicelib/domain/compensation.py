"""Rollback: which completed executions are undone and in which order, and the Draft of each of its steps (HAZARDS 33).

While a run compensates nothing else settles, so what is left to undo follows from the settlements alone. Undos run one
at a time; each one's token carries the names of the next ones, and the last of them asks for another page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.domain.commit import Draft, Emit, Event, compact
from chalicelib.domain.failing import note_timeout, retried
from chalicelib.domain.ids import ROLLBACK, UNDO, Token, parse_token
from chalicelib.domain.ir import Plan
from chalicelib.domain.lifecycle import end_draft
from chalicelib.domain.node_kinds import kind_of, node_at
from chalicelib.domain.outcome import Moment, Outcome, event_data, value_record
from chalicelib.domain.reset import renewed_timeout
from chalicelib.domain.state import ENDED

Json = Any
#: Undos named in one token: bounds journal items, and the times that the settlements are looked through.
PAGE = 50
#: Failed undos that `run_rolled_back` lists, and the characters of each one's message.
MOST_FAILED, MESSAGE = 100, 200
PHASE = "compensating"


def compensating(meta: Mapping[str, str]) -> bool:
    """Whether the run is being rolled back now."""
    return "phase" in meta and meta["status"] not in ENDED


def remaining(plan: Plan, done: Mapping[str, str], since: int = 0) -> list[Token]:
    """The undos still to run, newest completion first. `done` as in the store.

    Each node with a `compensate` body is undone once per scope and index, as its newest completed execution left it.
    Of a map each completed item is, whatever became of the map. `since`: what completed up to this commit was another
    run's, from which this one was forked.
    """
    newest: dict[str, tuple[int, int, int, Token]] = {}
    tried: dict[str, int] = {}
    settled: set[str] = set()
    for text, record in done.items():
        name = text.split("@", 1)[0].removeprefix(UNDO)
        if name not in plan.nodes or plan.nodes[name].compensate is None:
            continue
        number, _, _, status, _ = record.split("|", 4)
        token = parse_token(text)
        if text.startswith(UNDO):
            tried[token.value_key] = max(token.attempt, tried.get(token.value_key, 0))
            settled |= {token.instance} if status in ("COMPLETED", "FAILED") else set()
        elif status == "COMPLETED" and int(number) > since and not _whole_map(plan, token):
            found = (token.epoch, token.attempt, int(number), token)
            newest[token.instance] = max(found, newest.get(token.instance, found), key=lambda entry: entry[:3])
    ordered = sorted(newest.values(), key=lambda entry: -entry[2])
    undos = [replace(token, node=UNDO + token.node) for *_, token in ordered]
    return [replace(undo, attempt=tried.get(undo.value_key, 0) + 1) for undo in undos if undo.instance not in settled]


def _whole_map(plan: Plan, token: Token) -> bool:
    return token.index is None and plan.nodes[token.node].body is not None


def begun(meta: Mapping[str, str | None], error: dict[str, Json], now_ms: int) -> dict[str, str]:
    """Meta fields of a run whose rollback begins; `error` is what it will have failed with."""
    return {"phase": PHASE, "error": compact(error), **renewed_timeout(meta, now_ms)}


def page_draft(plan: Plan, token: Token, undos: list[Token]) -> Draft:
    """Settle `$end` or `$rollback`: the first of these undos begins."""
    draft = Draft(settle=token)
    first = _undo(plan, [undo.text for undo in undos[:PAGE]])
    draft.emits.append(first)
    if not first.announces:
        draft.events.append(Event("node_waiting", first.token))
    return draft


def _undo(plan: Plan, names: list[str]) -> Emit:
    token = parse_token(names[0])
    return Emit(token, kind_of(node_at(plan, token)), {"left": names[1:]})


def undo_draft(plan: Plan, token: Token, data: dict[str, Json], outcome: Outcome, moment: Moment) -> Draft:
    """Settle an attempt of an undo: retry it by its own policy, or record it and go on with the next."""
    error = outcome.error
    again = None if error is None else retried(node_at(plan, token), token, outcome, moment)
    if again is not None:
        again.emits = [replace(timer, data={**data, **timer.data}) for timer in again.emits]
        return note_timeout(again, token, outcome)
    status = "COMPLETED" if error is None else "FAILED"
    draft = Draft(settle=token, status=status, error=error)
    draft.values.append((token, value_record(status, token, outcome)))
    said = event_data(outcome) if error is None else {"error": error}
    draft.events.append(Event(f"node_{status.lower()}", token, said, outcome.job))
    left = data.get("left")
    following = replace(token, node=ROLLBACK + token.node.removeprefix(UNDO))
    draft.emits.append(_undo(plan, left) if left else Emit(following, "i"))
    return note_timeout(draft, token, outcome)


def undo_again_draft(plan: Plan, token: Token, data: dict[str, Json]) -> Draft:
    """Settle `$retry:$undo:<node>`: the backoff is over, the next attempt begins."""
    undo = replace(token, node=token.node.removeprefix("$retry:"))
    return Draft(settle=token, emits=[_undo(plan, [undo.text, *data.get("left", ())])])


def rolled_back_draft(token: Token, done: Mapping[str, str], error: dict[str, Json], now_ms: int) -> Draft:
    """Settle `$end` or `$rollback` when nothing is left to undo: the run ends FAILED."""
    compensated, failed = 0, []
    for text, record in done.items():
        status, said = record.split("|", 4)[3:]
        if text.startswith(UNDO) and status == "COMPLETED":
            compensated += 1
        elif text.startswith(UNDO) and status == "FAILED":
            failed.append((int(record.split("|", 1)[0]), _failure(parse_token(text), json.loads(said))))
    word = "failed" if failed else "done"
    listed = [entry for _, entry in sorted(failed, key=lambda pair: pair[0])]
    data = {"rollback": word, "compensated": compensated, "failed": listed[:MOST_FAILED], "failed_total": len(listed)}
    draft = end_draft(token, now_ms, None, error)
    draft.meta["rollback"] = word
    draft.drop.append(("meta", "phase"))
    draft.events.insert(0, Event("run_rolled_back", data=data))
    return draft


def _failure(token: Token, error: dict[str, Json]) -> dict[str, Json]:
    said = {"type": error.get("type"), "message": str(error.get("message", ""))[:MESSAGE]}
    entry = {"node_id": token.node.removeprefix(UNDO), "loops": token.loops, "error": said}
    return entry if token.index is None else {**entry, "index": token.index}
