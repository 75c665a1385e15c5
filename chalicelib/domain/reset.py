"""Running a part of a run again: what redrive, rerun and skip reset, and what begins anew (HAZARDS 28).

Reset are the chosen nodes and all that is reachable from them, in their open scope instance: their tokens are
cancelled, the edges out of them unresolved, edges from outside kept. The epoch rises, so no new token shares a key with
an old one; attempts count on, and old executions stay in the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chalicelib.domain.commit import Draft, Emit, Event
from chalicelib.domain.ids import BEATEN, Scope, Token, bare, parse_token
from chalicelib.domain.ir import Node, Plan
from chalicelib.domain.node_kinds import beginning
from chalicelib.domain.patch_board import Board
from chalicelib.domain.records import parse_began
from chalicelib.domain.state import ENDED

State = Mapping[str, Mapping[str, str]]
#: Fields of an ended run's meta that do not hold once it runs again.
ENDING_META = ("error", "result", "result_ref", "output", "output_ref", "finished_at", "end", "cut")


@dataclass(slots=True)
class Reset:
    """The extent of a reset: nodes, and per node the scope prefix below which its instances are reset."""

    plan: Plan
    board: Board
    within: dict[str, Scope] = field(default_factory=dict)

    def covers(self, node: str, scope: Scope) -> bool:
        """Whether this instance is reset."""
        prefix = self.within.get(node)
        return prefix is not None and scope[: len(prefix)] == prefix


def failed_nodes(plan: Plan, state: State) -> list[str]:
    """The nodes that a redrive starts from: FAILED and CANCELLED in their open instance, or about to begin or retry."""
    board = Board(plan, state)
    return [name for name in plan.nodes if board.standing(name).status in ("FAILED", "CANCELLED", "RETRYING")]


def extent(plan: Plan, state: State, roots: Iterable[str]) -> Reset:
    """All that is reset with these nodes."""
    reset = Reset(plan, Board(plan, state))
    for root in roots:
        loops = plan.nodes[root].loops
        stack = [root]
        while stack:
            name = stack.pop()
            prefix = _prefix(reset.board, plan.nodes[name], loops)
            known = reset.within.get(name)
            if known is not None and len(known) <= len(prefix):
                continue
            reset.within[name] = prefix
            stack += [plan.edges[key].target for key in plan.nodes[name].out_edges]
    return reset


def _prefix(board: Board, node: Node, loops: tuple[str, ...]) -> Scope:
    """The open iteration of the loops that a node shares with the root; loops entered on the way are reset whole."""
    shared = 0
    for mine, other in zip(node.loops, loops, strict=False):
        if mine != other:
            break
        shared += 1
    return board.open_scope(node.loops)[:shared]


def reset_draft(reset: Reset, state: State, epoch: int, *, held: str | None = None) -> Draft:
    """The Draft of the reset. `epoch` is the new one; the node `held` begins but waits for a signal from outside."""
    draft = Draft()
    for name, prefix in reset.within.items():
        _forget(draft, reset, state, name, prefix)
    _drop_parts(draft, reset, state)
    _unresolve(draft, reset, state)
    for name in reset.within:
        if _begins(reset, draft, state, name):
            emit = _again(reset, state, name, epoch, held)
            draft.emits.append(emit)
            _note_decided(draft, reset, emit.token, name, int(state["meta"]["no"]) + 1)
    return draft


def _forget(draft: Draft, reset: Reset, state: State, name: str, prefix: Scope) -> None:
    """The node's instances are PENDING again, and expressions no longer see their outcomes."""
    for instance, token in state["st"].items():
        place = parse_token(f"{instance}#0.0")
        if bare(place.node.removeprefix(BEATEN)) == name and reset.covers(name, place.scope):
            draft.drop.append(("st", instance))
            draft.cancel += [token] if token in state["tok"] else []
    fields = {where: text.split("|", 1) for where, text in state["last"].items() if where.startswith(f"{name}@")}
    gone = {where for where, (_, key) in fields.items() if reset.covers(name, parse_token(f"{key}.0").scope)}
    kept = max((tuple(fields[where]) for where in fields.keys() - gone), default=None)
    for where in gone:
        encloses = len(parse_token(f"{where}#0.0").scope) < len(prefix)
        if kept is not None and encloses:
            draft.put.append(("last", where, "|".join(kept)))
        else:
            draft.drop.append(("last", where))


def _drop_parts(draft: Draft, reset: Reset, state: State) -> None:
    """Parts of wide work that these nodes had yet to begin are begun no more."""
    for text in [name for name in state["tok"] if name.startswith("$fan:")]:
        data, scope = parse_began(state["tok"][text]).data, parse_token(text).scope
        edges = [reset.plan.edges[key] for key in data.get("edges", ()) if key in reset.plan.edges]
        source = edges[0].source if edges else data.get("map")
        draft.cancel += [text] if source is not None and reset.covers(source, scope) else []


def _unresolve(draft: Draft, reset: Reset, state: State) -> None:
    """Edges out of reset nodes are open again; the joins they lead to count the others anew."""
    counts: dict[str, list[int]] = {}
    for where, resolution in state["ed"].items():
        instance, _, key = where.partition("|")
        target = parse_token(f"{instance}#0.0")
        if not reset.covers(target.node, target.scope):
            continue
        edge = reset.plan.edges.get(key)
        tally = counts.setdefault(instance, [0, 0, 0])
        if edge is None or edge.source in reset.within:
            draft.drop.append(("ed", where))
        else:
            tally[{"1": 0, "0": 1, "2": 2}[resolution.split(":", 1)[0]]] += 1
    for instance, tally in counts.items():
        draft.put.append(("jn", instance, "|".join(map(str, tally)) + "|"))


def _begins(reset: Reset, draft: Draft, state: State, name: str) -> bool:
    """Whether the node begins at once: nothing that leads to it runs again, or its join has what it needs."""
    node = reset.plan.nodes[name]
    sources = {reset.plan.edges[key].source for key in node.in_edges if reset.plan.edges[key].kind != "veto"}
    if not sources & set(reset.within):
        return True
    instance = Token(name, reset.board.open_scope(node.loops)).instance
    counts = next((value for hash_, where, value in draft.put if (hash_, where) == ("jn", instance)), "0|0|0|")
    return bool(node.join.need) and int(counts.split("|", 1)[0]) >= node.join.need


def _note_decided(draft: Draft, reset: Reset, token: Token, name: str, no: int) -> None:
    """The join of a node that begins with this commit, or is skipped anew, is decided: later arrivals start it no
    second time."""
    instance = Token(name, reset.board.open_scope(reset.plan.nodes[name].loops)).instance
    for place, (hash_, where, value) in enumerate(draft.put):
        if (hash_, where) == ("jn", instance):
            draft.put[place] = (hash_, where, f"{value}{'fire' if token.attempt else 'skip'}:{no}")


def _again(reset: Reset, state: State, name: str, epoch: int, held: str | None) -> Emit:
    node, scope = reset.plan.nodes[name], reset.board.open_scope(reset.plan.nodes[name].loops)
    instance, before = Token(name, scope).instance, reset.board.standing(name).token
    if before is not None and before.attempt == 0 and name != held:  # it was about to be skipped
        return Emit(Token(name, scope, None, epoch, 0), "i", {"skip": 1})
    tried = [parse_token(text).attempt for text in state["dis"] if text.startswith(f"{instance}#")]
    token = Token(name, scope, None, epoch, max(tried, default=0) + 1)
    if name == held:
        return Emit(token, "h")
    return beginning(node, token)


def reopen(draft: Draft, state: State, epoch: int, event: Event, now_ms: int) -> Draft:
    """Make the draft also take an ended run back to RUNNING. One that had never begun begins by that."""
    meta = state["meta"]
    draft.drop += [("meta", name) for name in meta if name in ENDING_META or name.startswith("failed:")]
    draft.meta |= {"status": "RUNNING", "epoch": str(epoch), "started_at": meta.get("started_at") or str(now_ms)}
    draft.meta |= renewed_timeout(meta, now_ms)
    if meta["status"] in ENDED and meta.get("parent"):
        draft.meta["detached"] = "1"  # its call was settled by its end: nobody waits for what it does now
    draft.events.insert(0, event)
    return draft


def renewed_timeout(meta: Mapping[str, str | None], now_ms: int) -> dict[str, str]:
    """The run's timeout, counted from now on; {} for a run without one."""
    until, since = meta.get("timeout_at"), meta.get("created_at")
    return {"timeout_at": str(now_ms + int(until) - int(since))} if until and since else {}
