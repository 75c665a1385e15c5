"""From a settled node along its edges: what starts, what is skipped, which arrivals the store must count.

Pure bookkeeping on a Draft. An edge into a node with one incoming edge is followed here; an edge into a counted node
becomes an Arrival, since only the store knows the others (DESIGN 1, HAZARDS 19-24).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from chalicelib.domain.commit import Arrival, Draft, Emit, Event
from chalicelib.domain.ids import Scope, Token, scope_text
from chalicelib.domain.ir import Edge, Node, Plan
from chalicelib.domain.node_kinds import beginning

Json = Any

#: Skips followed within one commit; beyond it a skip becomes an inline token of its own, to keep items small.
MAX_SKIPS = 200
#: Edges out of one node followed in one commit; the rest goes into `$fan` tokens of this size (HAZARDS 37).
FAN = 100


class Router:
    """Resolves edges of one commit. `epoch` is the run's, part of every new token. `stopped`: nodes that would start
    are cancelled before they begin (HAZARDS 23)."""

    def __init__(self, plan: Plan, draft: Draft, epoch: int, *, stopped: bool = False) -> None:
        self._plan = plan
        self._draft = draft
        self._epoch = epoch
        self._stopped = stopped
        #: Nodes that do not run: skipped ones (attempt 0), and first, at most FAN of them, cancelled ones.
        self._skips: deque[Token] = deque()

    def resolve(self, edges: dict[str, int], scope: Scope, *, ended_loop: str | None = None) -> None:
        """Resolve out-edges (key -> 1 taken, 0 not) of a node settled in `scope`.

        `ended_loop` is the node's own loop when that has just ended. Where more than FAN edges are taken, all edges go
        on through `$fan` tokens of FAN edges each.
        """
        if sum(edges.values()) > FAN:
            self._fan(edges, scope, ended_loop)
        else:
            self.resolve_part(edges, scope, ended_loop)

    def resolve_part(self, edges: dict[str, int], scope: Scope, ended_loop: str | None = None) -> None:
        """Resolve these edges in this very commit, however many."""
        for key, how in edges.items():
            self._edge(self._plan.edges[key], how, scope, ended_loop)
        self._drain()

    def start_all(self, nodes: Iterable[str]) -> None:
        """Let these nodes begin, each in the first iteration of the loops around it."""
        for node in nodes:
            self._start(node, tuple((loop, 1) for loop in self._plan.nodes[node].loops))
        self._drain()

    def follow_skip(self, token: Token, data: dict[str, Json] | None = None) -> None:
        """Follow what the skip of `token` skips; it is settled by this commit, and `data` goes into its event."""
        self._record_skip(token, data)
        self._drain()

    def end_loop(self, loop: str, scope: Scope) -> None:
        """The loop is over: failure edges that left its body in no iteration are not taken, for good."""
        node = self._plan.nodes[loop]
        outer = scope[: len(node.loops)]
        for key in self._plan.leaving.get(loop, ()):
            edge = self._plan.edges[key]
            self.arrive(edge, 0, self._target_scope(node, self._plan.nodes[edge.target], outer))

    def _fan(self, edges: dict[str, int], scope: Scope, ended_loop: str | None) -> None:
        keys = list(edges)
        for start in range(0, len(keys), FAN):
            part = {key: edges[key] for key in keys[start : start + FAN]}
            source = self._plan.edges[keys[0]].source
            token = Token(f"$fan:{source}:{start}", scope, None, self._epoch)
            self._draft.emits.append(Emit(token, "i", {"edges": part, "ended": ended_loop}))

    def _edge(self, edge: Edge, how: int, scope: Scope, ended_loop: str | None) -> None:
        source, target = self._plan.nodes[edge.source], self._plan.nodes[edge.target]
        left = [loop for loop in source.loops if loop not in target.loops and loop != ended_loop]
        if left and how == 0 and edge.on == "failure":
            return  # may still be taken in a later iteration: end_loop resolves it
        where = self._target_scope(source, target, scope)
        if target.counted:
            self.arrive(edge, how, where)
        elif how:
            self._start(target.id, where)
        else:
            self._skips.append(Token(target.id, where, None, self._epoch, 0))

    def _start(self, node_id: str, scope: Scope) -> None:
        if self._stopped:
            self._skips.append(Token(node_id, scope, None, self._epoch))
        else:
            self.start(node_id, scope)

    def start(self, node_id: str, scope: Scope) -> None:
        """Create the token of a node's first attempt in `scope`, whatever its join."""
        self._draft.emits.append(self._first(self._plan.nodes[node_id], scope))

    def _first(self, node: Node, scope: Scope) -> Emit:
        return beginning(node, Token(node.id, scope, None, self._epoch))

    def arrive(self, edge: Edge, how: int, scope: Scope) -> None:
        """Have this edge counted at its target in `scope`, whether or not the target is a counted node."""
        target = self._plan.nodes[edge.target]
        skip = Emit(Token(target.id, scope, None, self._epoch, 0), "i", {"skip": 1})
        losers = self._losers(target, scope)
        code = 2 if edge.kind == "veto" and how else how
        fire = self._first(target, scope)
        need, total = target.join.need, len(target.in_edges)
        instance = Token(target.id, scope).instance
        self._draft.arrivals.append(Arrival(instance, edge.key, code, need, total, fire, skip, losers))

    def _losers(self, join: Node, scope: Scope) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """The losers of a join in `scope`, grouped as in Arrival."""
        groups: dict[tuple[str, str], list[str]] = {}
        for name in join.join.losers if join.join.cancel_losers else ():
            first = self._target_scope(join, self._plan.nodes[name], scope)
            around = scope[: _common(join, self._plan.nodes[name])]
            groups.setdefault((scope_text(around), scope_text(first)), []).append(name)
        return tuple((around, first, tuple(names)) for (around, first), names in groups.items())

    def _target_scope(self, source: Node, target: Node, scope: Scope) -> Scope:
        """Common loops keep their iteration, loops entered start at 1, loops left are dropped."""
        common = _common(source, target)
        return scope[:common] + tuple((loop, 1) for loop in target.loops[common:])

    def _drain(self) -> None:
        while self._skips:
            token = self._skips.popleft()
            if len(self._draft.skips) >= MAX_SKIPS:
                self._draft.emits.append(Emit(token, "i", {"skip": 1}))
                continue
            self._draft.skips.append(token)
            self._record_skip(token)

    def _record_skip(self, token: Token, data: dict[str, Json] | None = None) -> None:
        node = self._plan.nodes[token.node]
        word = "CANCELLED" if token.attempt else "SKIPPED"
        self._draft.values.append((token, {"s": word, "i": token.iteration, "a": token.attempt}))
        self._draft.events.append(Event(f"node_{word.lower()}", token, data or {}))
        ended = node.id if node.loop else None
        for key in node.out_edges:
            self._edge(self._plan.edges[key], 0, token.scope, ended)
        if ended:
            self.end_loop(ended, token.scope)


def _common(one: Node, other: Node) -> int:
    """How many loops, from the outside in, are around both nodes."""
    common = 0
    for mine, theirs in zip(one.loops, other.loops, strict=False):
        if mine != theirs:
            break
        common += 1
    return common


def loop_back_scope(plan: Plan, token: Token) -> Scope:
    """The scope of `loop_back_to` in the next iteration of the loop on the token's node."""
    loop_node = plan.nodes[token.node]
    assert loop_node.loop is not None
    depth = len(loop_node.loops)
    back = plan.nodes[loop_node.loop.back_to]
    here = (*token.scope[: depth - 1], (token.node, token.iteration + 1))
    return here + tuple((loop, 1) for loop in back.loops[depth:])
