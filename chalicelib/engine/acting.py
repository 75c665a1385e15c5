"""Commits of users and of the schedules: where the store has fallen behind the journal, it is brought back first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chalicelib.domain.commit import Draft
from chalicelib.domain.errors import JournalRefused
from chalicelib.domain.journal import Item
from chalicelib.engine.outside import commit_outside
from chalicelib.engine.rebuild import give_way
from chalicelib.engine.services import Services


def as_begun(meta: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """What a commit expects that is decided on whether the run has begun: its first step is no control action, and
    changes no generation."""
    return (("meta", "started_at", meta.get("started_at", "")),)


def act(
    services: Services,
    run_id: str,
    actor: str,
    meta: Mapping[str, str],
    draft: Draft,
    *,
    commit_id: str = "",
    expect: Sequence[tuple[str, str, str]] = (),
    reopen: bool = False,
    fence: bool = True,
) -> Item | None:
    """As commit_outside; None, too, where the journal refused the commit: the run was rebuilt, decide again on that.

    Raises Unavailable.
    """
    try:
        return commit_outside(
            services, run_id, actor, meta, draft, commit_id=commit_id, expect=expect, reopen=reopen, fence=fence
        )
    except JournalRefused:
        give_way(services, run_id)
        return None
