"""The small records that the reference interpreter keeps and hands back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.reference_graph import Scope

#: (node, scope, attempt, status); a skipped node has attempt 0. An item of a map is named as `n3[0]`.
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


def named(node: str, index: int | None) -> str:
    """How an execution is named: by its node, or as that node's item at `index`."""
    return node if index is None else f"{node}[{index}]"


def work_of(node: dict[str, Any]) -> dict[str, Any]:
    """What is worked: the node, or its body where it is a map."""
    body: dict[str, Any] = node["config"]["body"] if node["type"] == "map" else node
    return body


def node_of(name: str) -> str:
    """The node of an execution's name."""
    return name.split("[", 1)[0]


def retried(retry: dict[str, Any], attempt: int, outcome: Outcome) -> bool:
    """Whether this retry policy gives a failed attempt another one."""
    wanted = "retry_on" not in retry or outcome.error in retry["retry_on"]
    barred = outcome.error in retry.get("no_retry_on", [])
    return outcome.retryable and attempt < retry.get("max_attempts", 1) and wanted and not barred


@dataclass(eq=False)
class Unit:
    """One outstanding piece of work: an attempt of a node in a scope, with its resolved config."""

    node: str
    scope: Scope
    attempt: int
    inflow: dict[str, Any]
    config: Any = None
    bad_config: bool = False
    #: Of an item of a map.
    index: int | None = None
    #: A map that has yet to find out its items.
    arming: bool = False

    @property
    def name(self) -> str:
        return named(self.node, self.index)


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
    #: What agents have used: tokens, and billionths of a USD.
    used: Counter[str]
    #: (node, scope) of a map that began -> how many items it has, how many may be at work at a time, how many may fail.
    maps: dict[tuple[str, Scope], tuple[int, int, int]] = field(default_factory=dict)

    def agreed(self, *, in_order: bool = False) -> dict[str, Any]:
        """What two correct engines must agree on; `in_order` where both settle in the same order.

        Left out: which of several unhandled failures was first; and in a run that was cut short, whether a node that
        never started is PENDING or SKIPPED, since the contract does not say how far skips spread by then.
        """
        idle = {"PENDING", "SKIPPED"}
        nodes = {n: "IDLE" if self.cut_short and s in idle else s for n, s in self.nodes.items()}
        executions = {e: n for e, n in self.executions.items() if not (self.cut_short and e[3] == "SKIPPED")}
        found = {
            "status": self.status,
            "error": self.error if len(self.failures) <= 1 else None,
            "output": self.output,
            "nodes": nodes,
            "executions": executions,
            "vars": self.vars,
            "tasks": self.tasks,
            "undone": self.undone,
        }
        return found if in_order else self.without_loose_items(found)

    def without_loose_items(self, found: dict[str, Any]) -> dict[str, Any]:
        """Less the items of maps that failed: how many had run by then is a matter of the schedule."""
        loose = {key for key in self.maps if (*key, 1, "FAILED") in self.executions}
        names = ("executions", "tasks", "undone")
        return found | {n: {k: v for k, v in found[n].items() if not is_item(k, loose)} for n in names}


def is_item(key: tuple[Any, ...], maps: Container[tuple[str, Scope]]) -> bool:
    """Whether (name, scope, …) names an item of one of these maps."""
    return "[" in key[0] and (node_of(key[0]), key[1]) in maps
