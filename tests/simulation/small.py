"""Writes small workflows and their known ends in one line each, for tables of cases."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.simulation.reference_graph import Scope
from tests.simulation.reference_state import Outcome, Result

_ON = {">": "success", "!": "failure", "*": "always"}
_LETTERS = {
    "C": "COMPLETED",
    "F": "FAILED",
    "S": "SKIPPED",
    "X": "CANCELLED",
    "P": "PENDING",
}


_SHORT = {status: letter for letter, status in _LETTERS.items()}


def doc(shape: str, nodes: dict[str, dict[str, Any]] | None = None, **top: Any) -> dict[str, Any]:
    """A document from edges like `a>b a!handler a*clean`, one node alone, and what is special about nodes.

    Nodes are functions unless they say otherwise.
    """
    special = nodes or {}
    names, edges = list(special), []
    for word in shape.split():
        ends = re.split(r"[>!*]", word)
        names += [end for end in ends if end not in names]
        if len(ends) == 2:
            edges.append({"from": ends[0], "to": ends[1], "on": _ON[word[len(ends[0])]]})
    when = top.pop("when", {})
    for edge in edges:
        if f"{edge['from']}>{edge['to']}" in when:
            edge["condition"] = when[f"{edge['from']}>{edge['to']}"]
    made = [{"id": name, "type": "function", "config": {"handler": "echo"}, **special.get(name, {})} for name in names]
    return {"nodes": made, "edges": edges, **top}


def loop(back_to: str, condition: str = "iteration < 3", most: int = 5, **more: Any) -> dict[str, Any]:
    """What makes a node a loop node."""
    return {"loop": {"condition": condition, "loop_back_to": back_to, "max_iterations": most, **more}}


def branch(*rules: tuple[str, list[str]], default: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """What makes a node a branching pass node."""
    block: dict[str, Any] = {"rules": [{"condition": c, "next_nodes": nodes} for c, nodes in rules], **more}
    if default:
        block["default"] = default
    return {"type": "branch", "config": {}, "branch": block}


def workers(fails: dict[str, Any] | None = None, **outputs: Any) -> Callable[[str, Scope, int], Outcome]:
    """Workers that give `{"n": innermost iteration or 0}`, or what `outputs` says, or fail.

    `fails` maps a node to an error type, to a number of failing attempts, or to the texts of scopes it fails in.
    """

    def behave(name: str, scope: Scope, attempt: int) -> Outcome:
        plan = (fails or {}).get(name)
        if isinstance(plan, str) or (isinstance(plan, int) and attempt <= plan):
            return Outcome("failed", error=plan if isinstance(plan, str) else "Boom", retryable=plan != "Final")
        if isinstance(plan, list) and path(scope) in plan:
            return Outcome("failed", error="Boom")
        return Outcome(output=outputs.get(name, {"n": scope[-1][1] if scope else 0}))

    return behave


def path(scope: Scope) -> str:
    """A scope as text: `L2.K1` is the first iteration of K in the second one of L."""
    return ".".join(f"{name}{count}" for name, count in scope)


def nodes_of(text: str) -> dict[str, str]:
    """`a:C b:S` as node states."""
    return {name: _LETTERS[letter] for name, letter in (word.split(":") for word in text.split())}


def runs_of(result: Result, name: str) -> str:
    """The executions of one node as text: `L1#1:F L1#2:C`, with scope, attempt and status."""
    found = [(scope, attempt, status) for (node, scope, attempt, status) in result.executions if node == name]
    letters = [f"{path(scope)}#{attempt}:{_SHORT[status]}" for scope, attempt, status in found]
    return " ".join(sorted(letters))
