"""How the work of each kind of node begins: inline, as a task on a queue, or by waiting."""

from __future__ import annotations

from chalicelib.domain.errors import BadSignal
from chalicelib.domain.ids import UNDO, Token, bare, worked_on
from chalicelib.domain.ir import Node, Plan

#: Node types settled inside the coordinator, with no queue hop (DESIGN 1).
INLINE_TYPES = frozenset({"branch", "loop", "pass", "transform", "fail", "succeed"})
#: Node types that wait for a time.
TIMER_TYPES = frozenset({"wait"})
#: Node types that wait for something that is kept in the run's `box`, or for a child run.
HELD_TYPES = frozenset({"human", "event", "map", "workflow"})
#: Node types whose config is resolved by an inline `$arm` token before they begin to wait.
ARMED_TYPES = TIMER_TYPES | HELD_TYPES


def armed(node: Node) -> bool:
    """Whether the node begins with an inline `$arm` token."""
    return node.type in ARMED_TYPES


def kind_of(node: Node) -> str:
    """The kind of the token by which the node's work begins, as in state.KIND_STATUS; an armed node's is its arm's."""
    return "t" if node.queue else "i"


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
