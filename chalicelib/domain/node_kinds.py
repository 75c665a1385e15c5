"""How the work of each kind of node begins: inline, as a task on a queue, or by waiting."""

from __future__ import annotations

import re

from chalicelib.domain.commit import Emit
from chalicelib.domain.errors import BadSignal
from chalicelib.domain.ids import ARM, UNDO, Token, bare, worked_on
from chalicelib.domain.ir import Node, Plan

#: Node types settled inside the coordinator, with no queue hop (DESIGN 1).
INLINE_TYPES = frozenset({"branch", "loop", "pass", "transform", "fail", "succeed"})
#: Node types that wait for a time.
TIMER_TYPES = frozenset({"wait"})
#: Node types that wait for something that is kept in the run's `box`, or for a child run.
HELD_TYPES = frozenset({"human", "event", "map", "workflow"})
#: Node types whose config is resolved by an inline `$arm` token before they begin to wait.
ARMED_TYPES = TIMER_TYPES | HELD_TYPES
#: In such a token's data: the run pauses before what it begins.
BREAKPOINT = "breakpoint"
#: Tokens of a node: its own, and those of its timers. The others are the run's.
_OF_NODE = re.compile(r"(?:\$(?:arm|retry|beaten):)?(?:\$undo:)?([^$].*)")


def armed(node: Node) -> bool:
    """Whether the node begins with an inline `$arm` token: it waits, or the run pauses before it."""
    return node.breakpoint or node.type in ARMED_TYPES


def kind_of(node: Node) -> str:
    """The kind of the token by which the node's work begins, as in state.KIND_STATUS, where it is not armed."""
    return "t" if node.queue else "i"


def beginning(node: Node, attempt: Token, *, retry: bool = False) -> Emit:
    """The token by which an attempt of the node begins. The run stops at a breakpoint once, not for each `retry`."""
    stops = node.breakpoint and not retry
    if not stops and node.type not in ARMED_TYPES:
        return Emit(attempt, kind_of(node))
    arm = Token(ARM + attempt.node, attempt.scope, attempt.index, attempt.epoch, attempt.attempt)
    return Emit(arm, "i", {BREAKPOINT: 1} if stops else {})


def check_node(token: Token, plan: Plan) -> None:
    """Raises BadSignal for a token of what the graph does not have: signed on a graph that was lost."""
    named = _OF_NODE.fullmatch(token.node)
    if named and named[1] not in plan.nodes:
        raise BadSignal(f"The run's graph has no node {named[1]}.")
    if named and UNDO in token.node:
        node_at(plan, token)


def node_at(plan: Plan, token: Token) -> Node:
    """What a node's own token, or that of its timers, runs: the node, its body for an item of a map, or what undoes it.

    Raises BadSignal for the undo of a node that has none.
    """
    node = plan.nodes[bare(token.node)]
    if UNDO in token.node:
        if node.compensate is None:
            raise BadSignal(f"Node {node.id} has nothing that undoes it.")
        return node.compensate
    return node.body if token.index is not None and node.body is not None else node


def is_waiting(plan: Plan, token: Token) -> bool:
    """Whether the token is that of a node which waits for what is kept in the run's `box`, or for a child run."""
    return not token.node.startswith("$") and token.attempt > 0 and node_at(plan, token).type in HELD_TYPES


def attempted(plan: Plan, token: Token) -> Node | None:
    """What the token is an attempt of; None for timers, for the coordinator's own work, and for unknown nodes."""
    return node_at(plan, token) if worked_on(token.node) in plan.nodes else None
