"""Commits that no signal asks for: control actions and rebuilds. Each raises the run's generation."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.domain.commit import Draft
from chalicelib.domain.commit import body as commit_body
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.journal import compose, parse_item
from chalicelib.engine.flush import ending_records, flush_upto, journal_item
from chalicelib.engine.ports import CommitCall
from chalicelib.engine.services import Services


def commit_outside(services: Services, run_id: str, actor: str, meta: Mapping[str, str], draft: Draft) -> bool:
    """Commit a draft decided on `meta` under a new generation, and journal it. False where the run has changed since.

    Raises Unavailable where it stands in the store but could not be journaled: the sweep or the next step does that.
    """
    commit_id, now = services.ids.new(), services.clock.now_ms()
    draft.meta["gen"] = commit_id
    text = commit_body(
        draft, commit_id=commit_id, at=now, gen=meta["gen"], graph=meta["graph"], rev=int(meta["rev"]), actor=actor
    )
    answer = services.store.commit([CommitCall(run_id, text, f"control-{commit_id}", now)])[0]
    if answer.word != "OK":
        return False
    if answer.lease and answer.mark == parse_item(compose(answer.head, text)).no - 1:
        item = journal_item(run_id, compose(answer.head, text))
        if services.journal.append([item], ending_records([item])):
            raise Unavailable(f"Run {run_id} is behind its journal and is being rebuilt; send the request again.")
        services.store.acknowledge([(run_id, item.no, item.id, ())])
    else:
        flush_upto(services, run_id, parse_item(compose(answer.head, text)).no)
    return True
