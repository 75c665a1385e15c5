"""The shape of the conformance table: a pattern, its verdict, and the workflows that show it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tests.simulation.reference_state import Behave
from tests.simulation.small import workers

Json = Any
Verdict = Literal["supported", "partly", "not supported"]


@dataclass(frozen=True)
class Show:
    """A workflow and how its run must end."""

    title: str
    document: dict[str, Json]
    #: Node states at the end, as `a:C b:S` (see `simulation.small`).
    nodes: str
    #: `status`, `output`, `error`, or by node its executions, as `L1#1:C L2#1:C`.
    more: dict[str, Json] = field(default_factory=dict)
    #: `a<b`: a has ended before b begins; `a<b$`: before b ends; `a~b`: both have begun before either has ended.
    #: Task and wait nodes only.
    order: str = ""
    behave: Behave = field(default_factory=workers)
    input: Json = field(default_factory=dict)
    #: Whether somebody cancels the run as soon as nothing moves but time.
    cancel: bool = False
    #: Names of events that are sent before anything has run, and one by one whenever nothing moves.
    early: tuple[str, ...] = ()
    later: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A workflow that does not compile, and the codes of its problems."""

    title: str
    document: dict[str, Json]
    codes: tuple[str, ...]


@dataclass(frozen=True)
class Pattern:
    """One of the 43 control-flow patterns. `why` says in a sentence or two what holds and what does not."""

    number: int
    name: str
    verdict: Verdict
    why: str
    shows: tuple[Show | Refused, ...] = ()


ANY: dict[str, Json] = {"join": "any"}
ANY_CANCELLING: dict[str, Json] = {"join": {"any": True, "cancel_losers": True}}
PASS: dict[str, Json] = {"type": "pass", "config": {}}
SLOW: dict[str, Json] = {"type": "wait", "config": {"seconds": 60}}
