"""Breakpoints of a run: nodes before which it pauses. They are part of the run's plan, never of its document."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from chalicelib.domain.commit import Draft, Emit, Event
from chalicelib.domain.ids import ARM, Token
from chalicelib.domain.ir import Plan
from chalicelib.domain.json_form import canonical
from chalicelib.domain.node_kinds import BREAKPOINT
from chalicelib.domain.records import parse_began


def breakpoints_of(plan: Plan) -> list[str]:
    """The nodes that have one, in the plan's order."""
    return [name for name, node in plan.nodes.items() if node.breakpoint]


def with_breakpoints(plan: Plan, names: Collection[str]) -> Plan:
    """The plan that pauses before these of its nodes, under a hash of its own; without any it is the plan itself."""
    chosen = set(names)
    if not chosen:
        return plan
    parts = {"plan": plan.hash, "breakpoints": sorted(chosen)}
    nodes = {name: replace(node, breakpoint=True) if name in chosen else node for name, node in plan.nodes.items()}
    return replace(plan, hash=hashlib.sha256(canonical(parts).encode()).hexdigest(), nodes=nodes)


def keep_breakpoints(old: Plan, new: Plan) -> Plan:
    """The plan that a patch makes, with the breakpoints of those nodes that the run had before."""
    return with_breakpoints(new, [name for name in breakpoints_of(old) if name in new.nodes])


def stop_field(token: str) -> str:
    """The field of the box that says that the run has stopped before what this `$arm` token begins."""
    return f"stopped|{token}"


def stop_draft(token: Token) -> Draft:
    """Pause the run before the node of this `$arm` token, which stays outstanding."""
    attempt = replace(token, node=token.node.removeprefix(ARM))
    event = Event("run_paused", attempt, {"breakpoint": attempt.node})
    return Draft(meta={"status": "PAUSED"}, put=[("box", stop_field(token.text), "1")], events=[event])


def passed_draft(token: Token, emit: Emit) -> Draft:
    """Settle the `$arm` token of a node that does not wait: it begins. That of inline work is told here."""
    events = [] if emit.announces else [Event("node_dispatched", emit.token)]
    return Draft(settle=token, emits=[emit], events=events)


def at_breakpoints(state: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Outstanding `$arm` tokens of breakpoints; those that the run has stopped at first. Reads `tok` and `box`."""
    return sorted(_marked(state["tok"]), key=lambda text: stop_field(text) not in state["box"])


def _marked(tokens: Mapping[str, str]) -> Iterator[str]:
    for text, record in tokens.items():
        if text.startswith(ARM) and BREAKPOINT in parse_began(record).data:
            yield text
