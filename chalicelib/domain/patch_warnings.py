"""What a patch changes without effect, or later than its author may think."""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.domain.errors import Problem
from chalicelib.domain.patch_diff import written
from chalicelib.domain.patch_rules import Proposal
from chalicelib.domain.problem_list import ProblemList, pointer


def warnings_of(proposal: Proposal, status: str) -> list[Problem]:
    """Warnings of the new graph that the old one had not, and of this patch. `status` is the run's."""
    found = ProblemList()
    for warning in proposal.new.warnings:
        if warning not in proposal.old.warnings:
            found.add(warning["code"], warning["path"], warning["message"])
    found.extend(_without_effect(proposal))
    if status == "PAUSED":
        found.add("run_paused", "", "The run is paused: what this patch starts begins when it is resumed.")
    return found.listed("too_many_warnings")


def _without_effect(proposal: Proposal) -> Iterator[Problem]:
    yield from _of_nodes(proposal)
    for key in proposal.diff.edges_changed:
        source = proposal.new.edges[key].source
        if source in proposal.old.nodes and proposal.board.standing(source).settled:
            text = f'Node "{source}" has settled: the edge {key} was decided before this change.'
            yield Problem("already_decided", _path(proposal.applied.edges.get(key)), text)
    if proposal.new.on_failure != "finish_branches":
        yield from _too_late(proposal)


def _of_nodes(proposal: Proposal) -> Iterator[Problem]:
    for name in proposal.diff.changed:
        standing = proposal.board.standing(name)
        path = _path(proposal.applied.nodes.get(name))
        if standing.settled and not proposal.new.nodes[name].loops and not _only_its_undo(proposal, name):
            text = f'Node "{name}" has settled: what is changed of it has no effect unless it runs again.'
            yield Problem("already_settled", path, text)
        elif standing.begun and not standing.settled:
            text = f'Node "{name}" has begun: its config, retry and timeouts hold from its next attempt on.'
            yield Problem("already_started", path, text)


def _only_its_undo(proposal: Proposal, name: str) -> bool:
    """Whether the patch changes no more of the node than what a rollback will do: that is still to come."""
    before, after = (written(plan.document)[name] for plan in (proposal.old, proposal.new))
    return all(before.get(key) == after.get(key) for key in (before.keys() | after.keys()) - {"compensate"})


def _too_late(proposal: Proposal) -> Iterator[Problem]:
    for key in proposal.diff.edges_added:
        edge = proposal.new.edges[key]
        known = edge.on == "failure" and edge.source in proposal.old.nodes
        if known and proposal.board.standing(edge.source).status == "FAILED":
            text = f'The failure of "{edge.source}" is ending the run already: {key} does not save it.'
            yield Problem("run_is_failing", _path(proposal.applied.edges.get(key)), text)


def _path(number: int | None) -> str:
    return "" if number is None else pointer("operations", number, "path")
