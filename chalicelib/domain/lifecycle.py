"""Deciding tokens that are no node's own attempt: start, fan-out parts, arming timers, skips, and the run's end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chalicelib.domain.commit import Draft, Emit, Event, compact
from chalicelib.domain.failing import may_cut
from chalicelib.domain.ids import BEATEN, START, Token
from chalicelib.domain.ir import Node, Plan
from chalicelib.domain.map_items import item_emit
from chalicelib.domain.node_kinds import beginning, node_at
from chalicelib.domain.outcome import Moment, Outcome, value_record
from chalicelib.domain.routing import FAN, Router

Json = Any


def create_draft(plan: Plan) -> Draft:
    """The first commit of a run: its `$start` token, its variables, nothing else."""
    return Draft(emits=[Emit(Token(START), "i")], vars=dict(plan.vars), events=[Event("run_created")])


def start_draft(plan: Plan, token: Token, moment: Moment, *, paused: bool) -> Draft:
    """Settle `$start`: the entry nodes begin. A run that was paused before stays so, and holds them."""
    draft = Draft(settle=token, meta={"started_at": str(moment.now_ms)})
    draft.meta |= {} if paused else {"status": "RUNNING"}
    draft.events.append(Event("run_started"))
    _start_nodes(plan, draft, plan.entries, moment.epoch)
    return draft


def own_meta(plan: Plan, token: Token) -> tuple[str, ...]:
    """Fields of the run's meta that settling a token of the coordinator's own takes."""
    if token.node.startswith("$fan:") and may_cut(plan):
        return ("cut",)
    return ("status",) if token.node == START else ()


def fan_draft(plan: Plan, token: Token, data: dict[str, Json], moment: Moment, *, stopped: bool = False) -> Draft:
    """Settle a `$fan` token: start its part of a wide fan-out, or resolve its part of the edges.

    `data` is {} of a token that was settled before, which no commit settles again. `stopped`: the run was cut since,
    so what would start is cancelled before it begins (HAZARDS 23).
    """
    draft = Draft(settle=token)
    router = Router(plan, draft, moment.epoch, stopped=stopped or "stopped" in data)
    if "map" in data:
        node = plan.nodes[data["map"]]
        draft.emits = [item_emit(node, token, index) for index in range(data["from"], data["to"])]
        return draft
    if "nodes" in data:
        router.start_all(data["nodes"])
        return draft
    router.resolve_part(data.get("edges", {}), token.scope, data.get("ended"))
    if not draft.emits and not draft.events:  # every commit says something: its arrivals are being waited for
        first = draft.arrivals[0].fire.token if draft.arrivals else None
        draft.events.append(Event("node_waiting", first, {"arrivals": len(draft.arrivals)}))
    return draft


def _start_nodes(plan: Plan, draft: Draft, nodes: tuple[str, ...], epoch: int) -> None:
    if len(nodes) > FAN:
        for start in range(0, len(nodes), FAN):
            token = Token(f"$fan:{START}:{start}", (), None, epoch)
            draft.emits.append(Emit(token, "i", {"nodes": nodes[start : start + FAN]}))
        return
    Router(plan, draft, epoch).start_all(nodes)


def skip_draft(plan: Plan, token: Token, moment: Moment, arrived: str = "") -> Draft:
    """Settle a skip that was put off: a join that cannot fire, or the rest of a long chain of skips.

    `arrived` are the join's counts as stored, where its event is to name what it is short of.
    """
    draft = Draft(settle=token, status="SKIPPED")
    Router(plan, draft, moment.epoch).follow_skip(token, _shortfall(plan.nodes[token.node], arrived))
    return draft


def _shortfall(node: Node, arrived: str) -> dict[str, Json]:
    """What a `count` join lacks; nothing where it is skipped for another reason."""
    taken, _, vetoed, state = (arrived or "0|0|0|").split("|")
    if not state.startswith("skip:") or vetoed != "0" or int(taken) >= node.join.need:
        return {}
    need, edges = node.join.need, len(node.in_edges)
    reason = f"{taken} of its {edges} incoming edges were taken, and too few are left for the {need} that it needs."
    return {"needs": need, "taken": int(taken), "edges": edges, "reason": reason}


def beaten_draft(plan: Plan, token: Token, moment: Moment) -> Draft:
    """Settle `$beaten:<node>`, made where a join cancelled this loser, or a failure that clean-up work outlives this
    node: its outgoing edges are not taken."""
    loser = replace(token, node=token.node.removeprefix(BEATEN))
    node = plan.nodes[loser.node]
    draft = Draft(settle=token, events=[Event("node_cancelled", loser)])
    draft.values.append((loser, {"s": "CANCELLED", "i": loser.iteration, "a": loser.attempt}))
    router = Router(plan, draft, moment.epoch)
    router.resolve_part(dict.fromkeys(node.out_edges, 0), loser.scope, node.id if node.loop else None)
    if node.loop:
        router.end_loop(node.id, loser.scope)
    return draft


def retry_draft(plan: Plan, token: Token) -> Draft:
    """Settle `$retry:<node>`: the backoff is over, the attempt begins."""
    node = node_at(plan, token)
    return Draft(settle=token, emits=[beginning(node, replace(token, node=node.id), retry=True)])


def finish_node_draft(token: Token, outcome: Outcome, *, failed: bool) -> Draft:
    """A `fail` or `succeed` node ends the run at once: everything else is cancelled, `$end` does the rest."""
    status = "FAILED" if failed else "COMPLETED"
    draft = Draft(settle=token, status=status, error=outcome.error, cancel_all=True)
    draft.values.append((token, value_record(status, token, outcome)))
    data = {"error": outcome.error} if failed else {}
    draft.events.append(Event("node_failed" if failed else "node_completed", token, data))
    if failed:
        draft.once["error"] = compact({**(outcome.error or {}), "node_id": token.node})
    else:
        draft.once["result"] = compact(outcome.output)
    return draft


def end_draft(token: Token, now_ms: int, output: Json, error: dict[str, Json] | None) -> Draft:
    """Settle `$end`: the run is over, COMPLETED with its output or FAILED with its error."""
    draft = Draft(settle=token, final=True)
    if error is None:
        draft.meta = {"status": "COMPLETED", "output": compact(output), "finished_at": str(now_ms)}
        draft.events.append(Event("run_completed", data={"output": output}))
    else:
        draft.meta = {"status": "FAILED", "error": compact(error), "finished_at": str(now_ms)}
        draft.events.append(Event("run_failed", data={"error": error}))
    return draft
