"""Commits that no signal asks for: control actions, rebuilds, and what comes from outside for waiting nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chalicelib.domain.commit import Draft
from chalicelib.domain.commit import body as commit_body
from chalicelib.domain.errors import JournalRefused
from chalicelib.domain.journal import Item, compose, parse_item
from chalicelib.engine.flush import append, ending_records, flush_upto, journal_item
from chalicelib.engine.large_values import check_commit
from chalicelib.engine.parents import stop_messages
from chalicelib.engine.services import Services
from chalicelib.engine.store_calls import CommitCall


def commit_outside(
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
    """Commit a draft decided on `meta` under a new generation, and journal it. None where the run has changed since.

    The commit's id is the generation; a fresh one where none is given. Without `fence` the generation stays: what was
    decided before this commit still holds. `expect` is as in CommitCall. With `reopen` the run may have ended, any
    commit since `meta` counts as a change, and the run is listed as live again. Raises TooLarge where the journal could
    not hold it; Unavailable where it stands in the store but could not be journaled: the sweep or the next step does
    that; and JournalRefused where it never can be, since the store is behind its journal.
    """
    commit_id, now = commit_id or services.ids.new(), services.clock.now_ms()
    if fence:
        draft.meta["gen"] = commit_id
    text = commit_body(
        draft, commit_id=commit_id, at=now, gen=meta["gen"], graph=meta["graph"], rev=int(meta["rev"]), actor=actor
    )
    check_commit(text)
    position = int(meta["no"]) if reopen else 0
    call = CommitCall(run_id, text, f"control-{commit_id}", now, expect=tuple(expect), reopen=position)
    answer = services.store.commit([call])[0]
    if answer.word != "OK":
        return None
    committed = parse_item(compose(answer.head, text))
    flushed = not answer.lease or answer.mark != committed.no - 1
    if flushed:
        flush_upto(services, run_id, committed.no, owner=call.owner)
    item = journal_item(run_id, compose(answer.head, text))
    records = ending_records([item])
    refused = services.journal.append([item], records) if flushed else append(services, [item], records)
    if refused:
        raise JournalRefused(f"Run {run_id} is behind its journal and is being rebuilt; send the request again.")
    services.store.acknowledge([(run_id, item.no, item.id, ())])
    left = stop_messages(services, run_id, committed)
    if left:
        services.queues.send(left)
    return committed
