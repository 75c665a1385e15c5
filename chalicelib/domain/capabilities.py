"""Bounds what a patch may add to the capabilities of its author's credential (SPEC 13)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chalicelib.domain.errors import Problem
from chalicelib.domain.ir import Plan
from chalicelib.domain.patch_diff import Diff, written
from chalicelib.domain.patch_operations import Applied
from chalicelib.domain.problem_list import ProblemList, pointer, shorten

Json = Any
#: Capability -> the config member that it bounds, and the node type that has it.
_BOUNDED = {"functions": ("function", "handler"), "queues": ("queue", "queue")}


def beyond_capabilities(plan: Plan, diff: Diff, applied: Applied, caps: Json) -> list[Problem]:
    """Problems for every added or changed node that uses a type, function or queue outside `caps`; None is no bound.

    `caps` is `{"node_types": [...], "functions": [...], "queues": [...]}`; a member that is absent bounds nothing.
    """
    found = ProblemList()
    if caps is None:
        return []
    nodes = written(plan.document)
    for name in (*diff.added, *diff.changed):
        number = applied.nodes.get(name)
        path = "/operations" if number is None else pointer("operations", number, "path")
        for what, value in _uses(nodes[name]):
            if not _allowed(caps, what, value):
                kind = what.removesuffix("s").replace("_", " ")
                text = f'The credential does not allow the {kind} "{shorten(value)}" that node "{name}" uses.'
                found.add("not_allowed", path, text)
    return found.listed()


def _allowed(caps: Json, what: str, value: str) -> bool:
    """Capabilities of another shape than expected allow nothing."""
    if not isinstance(caps, dict):
        return False
    names = caps.get(what)
    return names is None or (isinstance(names, list) and value in names)


def _uses(body: Json) -> Iterator[tuple[str, str]]:
    """(capability, name) of a node body and of the bodies inside it."""
    if not isinstance(body, dict):
        return
    kind, config = body.get("type"), body.get("config")
    if isinstance(kind, str):
        yield "node_types", kind
    for what, (owner, member) in _BOUNDED.items():
        if kind == owner and isinstance(config, dict) and isinstance(config.get(member), str):
            yield what, config[member]
    yield from _uses(body.get("compensate"))
    if isinstance(config, dict):
        yield from _uses(config.get("body"))
