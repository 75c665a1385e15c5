"""The small records that the reference interpreter keeps and hands back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.reference_graph import Scope

#: (node, scope, attempt, status); a skipped node has attempt 0.
Execution = tuple[str, Scope, int, str]


#: Workers are asked for the attempts of an undo as for attempts of the node from this number on.
UNDO_ATTEMPTS = 100


@dataclass(frozen=True)
class Outcome:
    """What one attempt of a worker gives. `error` is the error type of a failed one."""

    status: str = "completed"
    output: Any = None
    error: str = "TaskFailed"
    retryable: bool = True


Behave = Callable[[str, Scope, int], Outcome]


@dataclass(eq=False)
class Unit:
    """One outstanding piece of work: an attempt of a node in a scope, with its resolved config."""

    node: str
    scope: Scope
    attempt: int
    inflow: dict[str, Any]
    config: Any = None
    bad_config: bool = False


#: Which of the outstanding units is settled next: by chance, or as a function of them says.
Schedule = random.Random | Callable[[list[Unit]], int]


@dataclass
class Place:
    """A node in one scope: which incoming edges are resolved, and how it went."""

    resolved: dict[tuple[str, str, str], bool] = field(default_factory=dict)
    inflow: dict[str, Any] = field(default_factory=dict)
    status: str = "PENDING"
    fired: bool = False
    attempt: int = 0
    output: Any = None
    error: dict[str, str] | None = None


@dataclass
class Result:
    """How a run ended.

    For documents that the generator makes with `confluent=True`, every schedule gives the same `agreed()`. For others
    only this much holds: the run ends, every outstanding unit is settled once, and `status` is COMPLETED or FAILED.
    """

    status: str
    error: dict[str, Any] | None
    output: Any
    nodes: dict[str, str]
    executions: Counter[Execution]
    vars: dict[str, Any]
    #: (node, scope) -> the resolved config of its first attempt.
    tasks: dict[tuple[str, Scope], Any]
    #: (node, scope) of what was undone -> how that ended, and the resolved config of its first attempt.
    undone: dict[tuple[str, Scope], tuple[str, Any]]
    #: Nodes whose failure nothing handled, in the order met.
    failures: list[str]
    #: True if a `fail` or `succeed` node, or a failure under fail_fast, cut the run short.
    cut_short: bool
    #: How often each rule came into play, by name.
    notes: Counter[str]

    def agreed(self) -> dict[str, Any]:
        """What two correct engines must agree on.

        Left out: which of several unhandled failures was first; and in a run that was cut short, whether a node that
        never started is PENDING or SKIPPED, since the contract does not say how far skips spread by then.
        """
        idle = {"PENDING", "SKIPPED"}
        nodes = {n: "IDLE" if self.cut_short and s in idle else s for n, s in self.nodes.items()}
        executions = {e: n for e, n in self.executions.items() if not (self.cut_short and e[3] == "SKIPPED")}
        return {
            "status": self.status,
            "error": self.error if len(self.failures) <= 1 else None,
            "output": self.output,
            "nodes": nodes,
            "executions": executions,
            "vars": self.vars,
            "tasks": self.tasks,
            "undone": self.undone,
        }
