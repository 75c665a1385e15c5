"""What a patch does to a live run at once: joins counted anew, edges resolved, nodes started, failures handled.

Everything goes into a Draft: the same commit that changes the graph (DESIGN 1). The store counts the arrivals and says
which joins fired, as in any commit.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.domain.commit import Draft, Emit
from chalicelib.domain.fold import fresh_field
from chalicelib.domain.ids import START, Token
from chalicelib.domain.ir import Edge
from chalicelib.domain.patch_board import Expectation, Standing
from chalicelib.domain.patch_rules import Proposal
from chalicelib.domain.routing import FAN, Router

#: Source -> its new edges, taken (1) or not (0).
Resolved = Mapping[str, Mapping[str, int]]


class PatchEffects:
    """Fills the Draft of one patch that breaks no rule. `number` is the patch's, part of the names of its tokens."""

    def __init__(self, proposal: Proposal, draft: Draft, number: int) -> None:
        self._p, self._draft, self._number = proposal, draft, number
        self._board, self._new = proposal.board, proposal.new
        self._epoch = int(proposal.board.state["meta"].get("epoch") or 0)
        self._router = Router(proposal.new, draft, self._epoch)

    def apply(self, resolved: Resolved) -> None:
        """All effects. Before `$start` has settled there are none: it will see the new graph."""
        if not self._board.started:
            return
        for name in self._p.diff.removed:
            self._forget(name)
        vetoes = self._vetoes(resolved)
        for name in dict.fromkeys((*self._p.diff.rewired, *vetoes)):
            if not self._board.standing(name).begun:
                self._recount(name, vetoes.get(name, []))
        for source, edges in resolved.items():
            self._follow(source, edges)
        self._close_loops()
        self._handle_failures(resolved)
        self._start([name for name in self._new.entries if name not in self._p.old.nodes])

    def _forget(self, name: str) -> None:
        """What has been counted at a node that is no more."""
        instance = self._instance(name)
        self._draft.drop += [("ed", f"{instance}|{key}") for key in self._board.resolved(name)]
        if instance in self._board.state["jn"]:
            self._draft.drop.append(("jn", instance))

    def _vetoes(self, resolved: Resolved) -> dict[str, list[str]]:
        """Loop -> vetoes of failed nodes in its body that did not hold until a new edge left it (HAZARDS 24)."""
        found: dict[str, list[str]] = {}
        for source, edges in resolved.items():
            failing = [self._new.edges[key] for key, how in edges.items() if how and key.endswith(":failure")]
            left = {loop for edge in failing for loop in set(self._new.nodes[source].loops) - set(self._loops(edge))}
            for key in self._new.nodes[source].out_edges:
                edge = self._new.edges[key]
                known = edge.kind == "veto" and key not in edges and edge.target in left
                if known and self._board.resolved(edge.target).get(key) == 0:
                    found.setdefault(edge.target, []).append(key)
        return found

    def _loops(self, edge: Edge) -> tuple[str, ...]:
        return self._new.nodes[edge.target].loops

    def _recount(self, name: str, vetoes: list[str]) -> None:
        """A pending join whose edges or rule changed, or a loop that is vetoed after all: gone edges are forgotten, and
        one that stays, or the vetoes, arrive again, so that the store tests the join by its new rule."""
        old, new = self._p.old.nodes[name], self._new.nodes[name]
        instance, arrived = self._instance(name), self._board.resolved(name)
        kept = {key: how for key, how in arrived.items() if key in new.in_edges}
        gone = [key for key in arrived if key not in kept]
        if set(old.in_edges) <= set(new.in_edges) and old.join.need == new.join.need and not vetoes:
            return
        self._draft.drop += [("ed", f"{instance}|{key}") for key in gone]
        if not kept:
            if instance in self._board.state["jn"]:
                self._draft.drop.append(("jn", instance))
            return
        self._forget_reach(instance, kept)
        again = dict.fromkeys(vetoes, 1) or dict([kept.popitem()])
        self._draft.drop += [("ed", f"{instance}|{key}") for key in again]
        counts = [sum(1 for key, how in kept.items() if key not in again and how == which) for which in (1, 0, 2)]
        self._draft.put.append(("jn", instance, "|".join(map(str, counts)) + "|"))
        for key, how in again.items():
            self._router.arrive(self._new.edges[key], how, self._board.standing(name).scope)

    def _forget_reach(self, instance: str, kept: Mapping[str, int]) -> None:
        """A join that is left with edges from before the run was cut has not been reached since (HAZARDS 23)."""
        since, resolved = int(self._board.state["meta"].get("cut") or 0), self._board.state["ed"]
        numbers = [int(resolved[f"{instance}|{key}"].split(":")[1]) for key, how in kept.items() if how == 1]
        if since and max(numbers, default=0) < since:
            self._draft.drop.append(("box", fresh_field(instance)))

    def _instance(self, name: str) -> str:
        return Token(name, self._board.standing(name).scope).instance

    def _follow(self, source: str, edges: Mapping[str, int]) -> None:
        """Resolve new edges of a settled node, in this commit or, where they are many, in tokens of their own."""
        standing, keys = self._board.standing(source), list(edges)
        ended = source if self._new.nodes[source].loop else None
        if len(keys) <= FAN:
            self._router.resolve_part(dict(edges), standing.scope, ended)
            return
        for start in range(0, len(keys), FAN):
            part = {key: edges[key] for key in keys[start : start + FAN]}
            token = Token(f"$fan:$patch{self._number}:{source}:{start}", standing.scope, None, self._epoch)
            self._draft.emits.append(Emit(token, "i", {"edges": part, "ended": ended}))

    def _close_loops(self) -> None:
        """New failure edges out of a loop that is over already are not taken."""
        added = set(self._p.diff.edges_added)
        for loop, keys in self._new.leaving.items():
            if loop in self._p.old.nodes and not added.isdisjoint(keys):
                standing = self._board.standing(loop)
                if standing.settled:
                    self._router.end_loop(loop, standing.scope)

    def _start(self, names: list[str]) -> None:
        if len(names) > FAN:
            for start in range(0, len(names), FAN):
                token = Token(f"$fan:$patch{self._number}:{START}:{start}", (), None, self._epoch)
                self._draft.emits.append(Emit(token, "i", {"nodes": names[start : start + FAN]}))
            return
        for name in names:
            self._router.start(name, tuple((loop, 1) for loop in self._new.nodes[name].loops))

    def _handle_failures(self, resolved: Resolved) -> None:
        """A failure edge taken from a failed node handles its failure; under fail_fast the run ends all the same."""
        meta = self._board.state["meta"]
        handled = [
            f"failed:{self._instance(source)}"
            for source, edges in resolved.items()
            if any(how and self._new.edges[key].on == "failure" for key, how in edges.items())
        ]
        handled = [marker for marker in handled if marker in meta]
        if not handled or self._new.on_failure != "finish_branches":
            return
        self._draft.drop += [("meta", marker) for marker in handled]
        if meta.get("error") not in {meta[marker] for marker in handled}:
            return
        others = sorted(name for name in meta if name.startswith("failed:") and name not in handled)
        if others:
            self._draft.meta["error"] = meta[others[0]]
        else:
            self._draft.drop.append(("meta", "error"))


def settled_sources(proposal: Proposal) -> dict[str, tuple[Standing, list[str]]]:
    """Settled nodes that the patch gives new edges: how they stand, and these edges."""
    found: dict[str, tuple[Standing, list[str]]] = {}
    for key in proposal.diff.edges_added:
        source = proposal.new.edges[key].source
        if source in proposal.old.nodes:
            standing = proposal.board.standing(source)
            if standing.settled:
                found.setdefault(source, (standing, []))[1].append(key)
    return found


def relied_on(proposal: Proposal) -> list[Expectation]:
    """All state that the rules and effects of this patch rest on (HAZARDS 7)."""
    old, new, diff, board = proposal.old, proposal.new, proposal.diff, proposal.board
    nodes = dict.fromkeys((*diff.removed, *diff.rewired))
    nodes |= dict.fromkeys(name for name in diff.changed if old.nodes[name].type != new.nodes[name].type)
    for key in (*diff.edges_added, *diff.edges_removed, *diff.edges_changed):
        edge = new.edges.get(key) or old.edges[key]
        if edge.source in old.nodes:
            nodes[edge.source] = None
            nodes |= dict.fromkeys(_vetoed(proposal, edge.source) if edge.on == "failure" else ())
    start = Token(START).text
    found: list[Expectation] = [("done", start, board.state["done"].get(start, "")), ("meta", "phase", "")]
    for name in nodes:
        found += board.evidence(name)
    if any(name in old.nodes and board.standing(name).status == "FAILED" for name in nodes):
        meta = board.state["meta"]
        found += [("meta", name, meta.get(name, "")) for name in ("error", "failed_last")]
    return list(dict.fromkeys(found))


def _vetoed(proposal: Proposal, source: str) -> list[str]:
    """The loops that failure edges out of this node end, in the old graph already."""
    edges = [proposal.old.edges[key] for key in proposal.old.nodes[source].out_edges]
    return [edge.target for edge in edges if edge.kind == "veto"]
