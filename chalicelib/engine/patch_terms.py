"""Values that go into planning a patch or come out of it; they need no compiler, which planning does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.commit import Draft
from chalicelib.domain.ir import Plan
from chalicelib.domain.patch_board import BOARD_HASHES, Expectation

Json = Any
#: Hashes of a run that planning reads.
PLANNING_HASHES = BOARD_HASHES


@dataclass(frozen=True, slots=True)
class Change:
    """What is asked of the graph."""

    #: The operations for the present document: given, or worked out from it.
    operations: Callable[[Plan], Json]
    description: str = ""
    #: The number of the patch that this one takes back.
    reverts: int | None = None
    #: What the author may add: node types, functions, queues; None for no bounds.
    caps: Json = None
    #: The node that asks for it, where no person or program from outside does.
    author: str | None = None
    #: The attempt of that node that asks, as a token: the patch is applied only while it is outstanding.
    attempt: str | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A patch ready to be committed. `plan` is None where it changes nothing."""

    view: dict[str, Json]
    plan: Plan | None = None
    draft: Draft = field(default_factory=Draft)
    expect: tuple[Expectation, ...] = ()
    commit_id: str = ""
    #: The graph that it changes.
    old: Plan | None = None
