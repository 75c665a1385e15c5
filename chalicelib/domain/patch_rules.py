"""What a patch may not do to a live run: the rules of SPEC 11 and HAZARDS 25 and 26, each with its way out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.errors import Problem
from chalicelib.domain.ir import Node, Plan
from chalicelib.domain.patch_board import Board, Standing
from chalicelib.domain.patch_diff import Diff
from chalicelib.domain.patch_operations import Applied
from chalicelib.domain.problem_list import ProblemList, pointer

Json = Any
#: Edges decided by a block of their source.
_GOVERNED = ("branch", "break", "timeout")
#: How a standing reads in a sentence.
_WORDS = {
    "RUNNING": "is running",
    "RETRYING": "waits for its next attempt",
    "SKIPPING": "is being skipped",
    "COMPLETED": "has completed",
    "FAILED": "has failed",
    "SKIPPED": "was skipped",
    "CANCELLED": "was cancelled",
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A patch that compiles, against the run it is meant for."""

    old: Plan
    new: Plan
    diff: Diff
    board: Board
    applied: Applied


def broken_rules(proposal: Proposal) -> list[Problem]:
    """Every rule that the patch breaks; [] when it may be applied."""
    return _Rules(proposal).check()


class _Rules:
    """Checks one proposal."""

    def __init__(self, proposal: Proposal) -> None:
        self._old, self._new, self._diff = proposal.old, proposal.new, proposal.diff
        self._board, self._applied = proposal.board, proposal.applied
        self._found = ProblemList()

    def check(self) -> list[Problem]:
        for name in self._diff.removed:
            self._removed(name)
        for name in self._diff.changed:
            if _kind_of_work(self._old.nodes[name]) != _kind_of_work(self._new.nodes[name]):
                self._retyped(name)
        for name in self._diff.rewired:
            self._rewired(name)
        for key in self._diff.edges_removed:
            if key in self._board.fanned_edges:
                text = (
                    f"The edge {key} is being followed just now; send the patch again once {_ends(key)[1]} has begun."
                )
                self._add("edge_in_use", key, text)
        self._decided_blocks()
        return self._found.listed()

    def _removed(self, name: str) -> None:
        standing = self._board.standing(name)
        if standing.begun:
            text = f'Node "{name}" {_said(standing)}, so it stays; leave it and add edges or nodes beside it.'
            self._add("node_started", name, text)
        elif self._is_late(name):
            self._add("iteration_at_work", name, self._late_text(name))

    def _retyped(self, name: str) -> None:
        standing = self._board.standing(name)
        if standing.begun:
            text = f'Node "{name}" {_said(standing)}, so its type stays; add a node of the other type beside it.'
            self._add("node_started", name, text)

    def _rewired(self, name: str) -> None:
        old, new, standing = self._old.nodes[name], self._new.nodes[name], self._board.standing(name)
        gained = [key for key in new.in_edges if key not in old.in_edges]
        lost = [key for key in old.in_edges if key not in new.in_edges]
        if standing.begun:
            self._begun_rewired(name, standing, gained, lost)
            return
        if old.in_edges and not new.in_edges:
            text = f'Node "{name}" would lose its last incoming edge and never start; remove it too, or lead one to it.'
            self._add("last_edge", lost[0], text, name)
        if self._is_late(name):
            self._add("iteration_at_work", name, self._late_text(name))
        elif old.loops != new.loops and self._board.resolved(name):
            text = f'Some edges of node "{name}" have been resolved, so the loops around it stay.'
            self._add("node_reached", name, text)

    def _begun_rewired(self, name: str, standing: Standing, gained: list[str], lost: list[str]) -> None:
        old, new = self._old.nodes[name], self._new.nodes[name]
        vetoes = [key for key in (*gained, *lost) if key.endswith(":veto")]
        for key in vetoes:
            subject = self._leaving(_ends(key)[0])
            text = (
                f'Loop "{name}" {_said(standing)} in its open iteration, so the failure edges out of its body stay as '
                f"they are; leave {subject} out of the patch."
            )
            self._add("node_started", subject, text, name)
        gained, lost = ([key for key in keys if key not in vetoes] for keys in (gained, lost))
        for key in gained:
            text = f'Node "{name}" {_said(standing)}, so no edge can be added to it; lead {key} to a new node instead.'
            self._add("node_started", key, text, name)
        for key in lost:
            text = f'Node "{name}" {_said(standing)}, so its incoming edge {key} stays; leave it out of the patch.'
            self._add("node_started", key, text, name)
        if (old.join.need, old.join.cancel_losers) != (new.join.need, new.join.cancel_losers):
            text = f'Node "{name}" {_said(standing)}, so its join stays; leave it out of the patch.'
            self._add("node_started", name, text)
        if old.loops != new.loops:
            text = f'Node "{name}" {_said(standing)}, so the loops around it stay; change them once this one is over.'
            self._add("node_started", name, text)

    def _leaving(self, source: str) -> str:
        """The failure edge of this source that the patch adds or removes, for which a loop's veto stands."""
        touched = (*self._diff.edges_added, *self._diff.edges_removed)
        return next((key for key in touched if _ends(key)[0] == source and key.endswith(":failure")), source)

    def _is_late(self, name: str) -> bool:
        return bool(self._board.late.intersection(self._old.nodes[name].loops))

    def _late_text(self, name: str) -> str:
        loop = next(loop for loop in self._old.nodes[name].loops if loop in self._board.late)
        return f'An earlier iteration of loop "{loop}" is still at work in the body of "{name}"; patch once it is done.'

    def _decided_blocks(self) -> None:
        """A branch or loop block that has decided in the open instance keeps its targets."""
        for key, before, after in self._governed():
            source = _ends(key)[0]
            if source not in self._old.nodes or source not in self._new.nodes or before == after:
                continue
            standing = self._board.standing(source)
            if standing.settled:
                block = "branch" if "branch" in (before, after) else "loop"
                text = (
                    f'Node "{source}" {_said(standing)} and its {block} block has decided; add a plain edge with a '
                    f"condition instead of changing {key}."
                )
                self._add("block_decided", key, text, source)

    def _governed(self) -> Iterator[tuple[str, str, str]]:
        """(edge, its kind before, its kind after) where a block is concerned; "" for no edge."""
        touched = (*self._diff.edges_added, *self._diff.edges_removed, *self._diff.edges_changed)
        for key in touched:
            before, after = _kind(self._old.edges, key), _kind(self._new.edges, key)
            if before in _GOVERNED or after in _GOVERNED:
                yield key, before, after

    def _add(self, code: str, subject: str, text: str, node: str = "") -> None:
        """`subject` is a node or an edge; `node` is looked at where no operation names that edge."""
        applied, source = self._applied, _ends(subject)[0]
        places = (applied.edges.get(subject), applied.nodes.get(subject), applied.nodes.get(source))
        number = next((place for place in (*places, applied.nodes.get(node)) if place is not None), None)
        path = "/operations" if number is None else pointer("operations", number, "path")
        self._found.add(code, path, text)


def _kind_of_work(node: Node) -> tuple[str, str]:
    """What the node does, and what it does for each item where it is a map."""
    return node.type, node.body.type if node.body else ""


def _kind(edges: Mapping[str, Any], key: str) -> str:
    return edges[key].kind if key in edges else ""


def _ends(key: str) -> list[str]:
    return key.split(":")


def _said(standing: Standing) -> str:
    return _WORDS[standing.status]
