"""Holds back, in a paused run, nodes that are about to wait: what they wait for begins when the run goes on."""

from __future__ import annotations

from chalicelib.domain.ids import Token
from chalicelib.engine.services import Services
from chalicelib.engine.signals import Work
from chalicelib.engine.store_calls import CommitAnswer


def while_running(token: Token) -> tuple[tuple[str, str, str], ...]:
    """What the commit that settles the token expects: a node begins to wait only while the run goes on, though a step
    was at it when the pause came. Else its time would run while nobody knows of it."""
    return (("meta", "status", "RUNNING"),) if token.node.startswith("$arm:") else ()


def hold_back(services: Services, work: Work, answer: CommitAnswer) -> bool:
    """Whether a pause came before the node began to wait: it is marked as held, and resuming goes on with it."""
    if answer.status != "PAUSED" or not while_running(work.token):
        return False
    services.store.hold(work.job.run_id, [work.token.text], services.clock.now_ms())
    return True
