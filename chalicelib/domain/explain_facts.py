"""What an explanation of a run is made of, and what it says of a token: whether it is held, and its deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chalicelib.domain.ids import Job, Token, bare
from chalicelib.domain.ir import Plan
from chalicelib.domain.node_kinds import BREAKPOINT, node_at
from chalicelib.domain.pauses import is_held
from chalicelib.domain.records import Began


@dataclass(frozen=True, slots=True)
class Facts:
    """All that an explanation is made of. Times in milliseconds."""

    run_id: str
    #: The hashes meta tok dis done jn ed box ready.
    state: Mapping[str, Mapping[str, str]]
    plan: Plan
    now_ms: int
    #: Task queue -> messages on it, None where it could not be asked.
    depths: Mapping[str, int | None]
    make_job_id: Callable[[Job], str]
    #: A plan by its hash.
    load: Callable[[str], Plan]
    #: Waiting call -> its child's status, for the first MOST of them.
    children: Mapping[str, str]

    def holds(self, token: Token, began: Began) -> bool:
        """Whether resuming the run sends it: it began in the pause, is known as unsent since before, or is at a
        breakpoint."""
        meta, marked = self.state["meta"], self.state["ready"].get(token.text, "")
        before = marked.startswith("r") or BREAKPOINT in began.data
        return is_held(meta, began) or (meta["status"] == "PAUSED" and before)

    def deadline(self, token: Token, began: Began) -> int | None:
        """Milliseconds; None where there is none, or its time does not run yet. What held when the token began holds,
        whatever a patch has made of its node since."""
        if is_held(self.state["meta"], began):
            return None
        plan = self.load(began.graph)
        known = node_at(plan, token) if bare(token.node) in plan.nodes else None
        return None if known is None or known.timeout_ms is None else began.at_ms + known.timeout_ms
