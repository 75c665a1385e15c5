"""What a fork takes over of the run it comes from, as the first commit of a run of its own (HAZARDS 29).

The fork's commits go on counting where the old run's history stopped, so that values read as of a commit mean the same
in both. Tokens that were outstanding there are created anew under a new epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.domain.commit import Draft, Emit, Event
from chalicelib.domain.ids import ARM, END, START, Token, bare, parse_token
from chalicelib.domain.ir import Plan
from chalicelib.domain.journal import Item
from chalicelib.domain.node_kinds import beginning, node_at
from chalicelib.domain.records import parse_began

Json = Any
State = Mapping[str, Mapping[str, str]]
#: Hashes that are taken over as they are.
COPIED = ("dis", "done", "st", "val", "last", "jn", "ed", "vars", "box")
#: Fields of the box that stay with the old run: votes, the names of requests that brought votes and events, and where
#: it stopped at a breakpoint.
LEFT_BEHIND = ("vote|", "said|", "stopped|")
#: Meta fields that are taken over; the rest is the fork's own.
COPIED_META = (
    "name",
    "workflow",
    "version",
    "input",
    "input_ref",
    "started_at",
    "error",
    "result",
    "result_ref",
    "cut",
)


def snapshot_of(state: State) -> dict[str, dict[str, str]]:
    """The part of a state that the fork begins with. Events that wait are taken over; votes are not: people decided
    on the old run, and are asked anew."""
    taken = {name: dict(state[name]) for name in COPIED}
    taken["box"] = {field: text for field, text in taken["box"].items() if not field.startswith(LEFT_BEHIND)}
    return taken


def fork_draft(plan: Plan, state: State, origin: dict[str, Json]) -> Draft:
    """The Draft of the fork's first commit: the tokens that were outstanding, anew. `origin`: where it comes from."""
    epoch = int(state["meta"]["epoch"]) + 1
    draft = Draft(events=[Event("run_created", data={"forked_from": origin})])
    draft.meta = {name: state["meta"][name] for name in COPIED_META if name in state["meta"]}
    draft.meta |= {"status": "RUNNING" if state["meta"].get("started_at") else "PENDING", "epoch": str(epoch)}
    since = int(state["meta"].get("cut") or 0)
    tokens = {text: record for text, record in state["tok"].items() if parse_token(text).index is None}
    draft.emits = [_anew(plan, text, record, epoch, since) for text, record in tokens.items()]
    return draft


def _anew(plan: Plan, text: str, record: str, epoch: int, since: int) -> Emit:
    """The same work under the new epoch, from its first attempt: backoffs are over, timers count from now, maps begin
    again with all their items."""
    old, began = parse_token(text), parse_began(record)
    if old.node in (START, END):
        number = 0 if old.node == START else epoch
        return Emit(Token(old.node, (), None, number, old.attempt), "i", began.data)
    name = bare(old.node)
    if name.startswith("$") or old.attempt == 0:
        stopped = {"stopped": 1} if name.startswith("$fan:") and began.no < since else {}
        return Emit(Token(name, old.scope, old.index, epoch, old.attempt), "i", {**began.data, **stopped})
    return beginning(node_at(plan, old), Token(name, old.scope, old.index, epoch))


def first_dispatch(items: list[Item], node_id: str) -> int | None:
    """A seq in the commit by which the node first began in its newest scope; None where it never did."""
    begun: dict[str, int] = {}
    for item in items:
        for emit in item.opened():
            token = parse_token(emit[0])
            if token.node.removeprefix(ARM) == node_id:
                begun.setdefault(token.instance.removeprefix(ARM), item.seq)
    return begun[list(begun)[-1]] if begun else None
