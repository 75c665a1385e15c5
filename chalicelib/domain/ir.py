"""The compiled plan: what the coordinator needs to route a run, addressed by content hash.

The compiler makes a `Plan` from a workflow document; nothing else does. A plan is immutable, holds no source of
time or chance, and survives JSON (`plan_codec`), so that a warm Lambda can keep it by its hash.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Json = Any
On = Literal["success", "failure", "always"]
#: How an edge is governed: `plain` by its own condition; the others by the source's `branch` or `loop` block;
#: `veto` is implied: a taken failure edge out of a loop body must skip the loop node (HAZARDS 24).
EdgeKind = Literal["plain", "branch", "break", "timeout", "veto"]


@dataclass(frozen=True, slots=True)
class Expression:
    """One CEL expression, parsed at compile time."""

    source: str
    #: Top-level variables it reads, sorted: any of output ctx input run error item index iteration vars.
    names: tuple[str, ...] = ()
    #: Node ids it reads as `ctx.<id>`, sorted.
    nodes: tuple[str, ...] = ()
    #: Paths it reads, each from a top-level name down, as far as they are literal: ("ctx", "a", "output", "x").
    paths: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition object of SPEC 4, compiled."""

    kind: Literal["cel", "jsonpath", "schema"]
    #: The normalised condition object, as in the document.
    spec: dict[str, Json]
    #: For `cel` the expression; for the others only `names`, `nodes` and `paths` are filled (source "").
    expression: Expression


@dataclass(frozen=True, slots=True)
class Slot:
    """One templated string inside a value: where it is, and its parts."""

    #: Path of the string inside the value, () for the value itself.
    path: tuple[str | int, ...]
    #: Literal text and expressions in order. A single expression keeps its type; `secret` names stay literal text.
    parts: tuple[str | Expression, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A JSON value with its templated strings found. Without slots the value is constant."""

    value: Json
    slots: tuple[Slot, ...] = ()
    #: Union over the slots.
    names: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """A directed edge. Its key `from:to:on` is unique in a plan and stable across patches."""

    key: str
    source: str
    target: str
    on: On
    kind: EdgeKind
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """When a node with several incoming edges runs. `need` 0: all edges must be resolved; n: the nth taken edge."""

    need: int = 0
    cancel_losers: bool = False
    #: With cancel_losers: nodes whose every maximal path enters this join (HAZARDS 22).
    losers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One branch rule: edges (by key) taken when the condition holds."""

    condition: Condition
    edges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch block. `agent_driven` takes the names in the node's output, limited to `available`."""

    mode: Literal["first", "all", "agent_driven"]
    rules: tuple[Rule, ...] = ()
    default: tuple[str, ...] = ()
    #: agent_driven: target node id -> edge key.
    available: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop block on this node. Empty `timeout_edges` with `has_timeout` False: LoopLimit at the limit."""

    condition: Condition
    max_iterations: int
    back_to: str
    break_edges: tuple[str, ...] = ()
    timeout_edges: tuple[str, ...] = ()
    has_break: bool = False
    has_timeout: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """SPEC 9. Times in milliseconds; `max_attempts` counts the first."""

    max_attempts: int = 1
    backoff_ms: int = 1000
    backoff_multiplier: float = 2.0
    max_backoff_ms: int | None = None
    jitter: Literal["none", "full"] = "none"
    retry_on: tuple[str, ...] | None = None
    no_retry_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """One node, ready to be routed."""

    id: str
    type: str
    config: Template
    #: Edge keys, in document order. `in_edges` includes veto edges, never loop back-edges.
    in_edges: tuple[str, ...] = ()
    out_edges: tuple[str, ...] = ()
    join: Join = field(default_factory=Join)
    branch: Branch | None = None
    loop: Loop | None = None
    #: Logical queue that its tasks go to; "" for a node that is no task.
    queue: str = ""
    #: What a map does for each item, and what undoes this node on a rollback: nodes of the same id, without edges.
    body: Node | None = None
    compensate: Node | None = None
    #: Enclosing loop nodes from the outside in; a loop node is in its own body.
    loops: tuple[str, ...] = ()
    retry: Retry = field(default_factory=Retry)
    timeout_ms: int | None = None
    heartbeat_ms: int | None = None
    #: Whether a worker asks, before it begins, if its attempt is still waited for.
    check_before_start: bool = False
    #: The run pauses before the first attempt in each scope: set by the run's start, not by its document.
    breakpoint: bool = False
    #: Run variables set on completion.
    sets: dict[str, Template] = field(default_factory=dict)
    #: True if arrivals must be counted in the store: several incoming edges, or one that leaves a loop body.
    counted: bool = False
    #: Names and nodes that completing this node must have loaded: its out-conditions, branch, loop and sets.
    decide_names: tuple[str, ...] = ()
    decide_nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled workflow."""

    #: sha256 hex of the canonical JSON of the normalised document and of the compiler's version.
    hash: str
    #: The normalised document, as `GET /runs/{id}/workflow` shows it and patches edit it.
    document: dict[str, Json]
    nodes: dict[str, Node]
    edges: dict[str, Edge]
    entries: tuple[str, ...]
    output: Template | None = None
    #: Nodes without outgoing edges and back-edges: their outputs are the run's default output.
    terminals: tuple[str, ...] = ()
    #: Loop node id -> keys of failure edges whose outermost left loop it is; unresolved until that loop ends.
    leaving: dict[str, tuple[str, ...]] = field(default_factory=dict)
    on_failure: Literal["fail_fast", "finish_branches", "compensate"] = "fail_fast"
    timeout_ms: int | None = None
    vars: dict[str, Json] = field(default_factory=dict)
    warnings: tuple[dict[str, str], ...] = ()
