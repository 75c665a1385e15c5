"""Holds back, in a paused run, what no signal will send again, and nodes that are about to wait."""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.domain.ids import ARM, Token
from chalicelib.engine.services import Services
from chalicelib.engine.signals import Work
from chalicelib.engine.store_calls import CommitAnswer


def while_running(token: Token) -> tuple[tuple[str, str, str], ...]:
    """What the commit that settles the token expects: a node begins to wait only while the run goes on, though a step
    was at it when the pause came. Else its time would run while nobody knows of it."""
    return (("meta", "status", "RUNNING"),) if token.node.startswith(ARM) else ()


def hold_back(services: Services, work: Work, answer: CommitAnswer) -> bool:
    """Whether a pause came before the node began to wait, and resuming the run goes on with it."""
    held = answer.status == "PAUSED" and bool(while_running(work.token))
    return held and hold(services, work.job.run_id, [work.token.text])


def hold(services: Services, run_id: str, tokens: Sequence[str]) -> bool:
    """Mark unsent tokens of a paused run: resuming it sends them. False where it is paused no more: it may have been
    resumed before the mark, and then they are still the caller's."""
    services.store.hold(run_id, tokens, services.clock.now_ms())
    state = services.store.snapshot(run_id, ("meta",))
    return state is not None and state["meta"]["status"] == "PAUSED"
