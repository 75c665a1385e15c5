"""Writes commits to the journal in their order, one writer per run at a time (HAZARDS 1-3)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chalicelib.domain.errors import JournalRefused, Unavailable
from chalicelib.domain.journal import Item, compose, parse_item
from chalicelib.engine.parents import tell_parents
from chalicelib.engine.ports import JournalItem, RunRecord
from chalicelib.engine.run_records import run_records
from chalicelib.engine.services import Services

log = logging.getLogger("graft.step")

#: How long a step waits for another that is writing the same run, milliseconds; then it fails and is repeated.
WAIT_MS = 5000
#: Seconds between looks while waiting: at first, and at most where each look asks the journal too.
LOOK_S, MAX_LOOK_S = 0.005, 0.2


@dataclass(frozen=True, slots=True)
class Written:
    """The journal holds a run's commits up to this one."""

    no: int
    id: str
    #: Its first event's seq: where the journal has it.
    seq: int = field(default=0, compare=False)


class Pending(Protocol):
    """Items of one run to write: this step's own by their numbers, and all up to those it needs to see there."""

    items: dict[int, JournalItem]
    needs: list[Written]
    lease: bool
    mark: int
    #: Whether two of them had one number: none of them may go, since what came of the first is not in the store.
    forked: bool


def journal_item(run_id: str, text: str, parsed: Item | None = None) -> JournalItem:
    """The item as the journal port takes it; `parsed` where the caller has read the text already."""
    item = parsed or parse_item(text)
    return JournalItem(run_id, item.no, item.id, item.seq, item.events, item.prev_seq, item.prev_id, text)


def write_items(services: Services, owner: str, runs: Mapping[str, Pending]) -> tuple[dict[str, Written], set[str]]:
    """Bring each run's items into the journal, and all before them. Returns (written, run ids that were not).

    The common case, where this step holds the lease and nothing older is unwritten, is one journal call for all runs.
    `written` is where the journal stands then, other steps' items included.
    """
    written: dict[str, Written] = {}
    batch: dict[str, list[JournalItem]] = {}
    for run_id, pending in runs.items():
        if pending.forked:
            continue
        last = _last(pending)
        chain = _own_chain(pending, last.no)
        if chain is None:
            try:
                chain = _whole_tail(services, owner, run_id, last.no)
            except Unavailable:
                log.warning("a run's journal is held by another step", extra={"run_id": run_id})
                continue
            if not _stands(services, run_id, pending, chain):
                log.warning("commits were lost while they waited to be journaled", extra={"run_id": run_id})
                continue
        if chain:
            batch[run_id] = chain
            last = Written(chain[-1].no, chain[-1].id)
        written[run_id] = last
    items = [item for chain in batch.values() for item in chain]
    for item in append(services, items, ending_records(items)):
        written.pop(item.run_id, None)
    return written, set(runs) - set(written)


def append(services: Services, items: Sequence[JournalItem], records: Sequence[RunRecord]) -> list[JournalItem]:
    """Journal.append, and whoever ends a child's history tells its parent: once more where that is repeated."""
    refused = services.journal.append(items, records)
    tell_parents(services, [item for item in items if item not in refused])
    return refused


def ending_records(items: Sequence[JournalItem]) -> list[RunRecord]:
    """What goes into the directory with items that end runs, or take ended ones up again, whoever writes them."""
    found: dict[str, list[RunRecord]] = {}
    for item in items:
        if '"final":1' in item.text or '"epoch":' in item.text:
            body = parse_item(item.text).body
            meta = body.get("meta", {})
            if body.get("final"):
                found[item.run_id] = run_records(item.run_id, {**meta, "end_seq": str(item.seq)})
            elif meta.keys() >= {"epoch", "tenant"}:
                found[item.run_id] = run_records(item.run_id, meta)
    return [record for records in found.values() for record in records]


def _last(pending: Pending) -> Written:
    """The last commit that has to be written."""
    own = [Written(item.no, item.id) for item in pending.items.values()]
    return max([*pending.needs, *own], key=lambda one: one.no)


def _stands(services: Services, run_id: str, pending: Pending, chain: Sequence[JournalItem]) -> bool:
    """Whether what this step must see written is in `chain`, or in the journal already.

    A number alone does not say that: where the store was rebuilt meanwhile, another commit may have it (HAZARDS 1).
    """
    wanted = [Written(item.no, item.id, item.seq) for item in pending.items.values()]
    wanted += pending.needs
    about = {(item.no, item.id) for item in chain}
    missing = [one for one in wanted if (one.no, one.id) not in about]
    if not missing:
        return True
    first = min(one.seq for one in missing)
    known = {(item.no, item.id) for item in services.journal.read(run_id, first - 1)}
    return all((one.no, one.id) in known for one in missing)


def _own_chain(pending: Pending, last: int) -> list[JournalItem] | None:
    """This step's items if they are all that is unwritten, and it holds the lease; else None."""
    numbers = sorted(pending.items)
    if not pending.lease or numbers != list(range(pending.mark + 1, last + 1)):
        return None
    return [pending.items[no] for no in numbers]


def _whole_tail(
    services: Services, owner: str, run_id: str, upto: int, wanted: Written | None = None
) -> list[JournalItem]:
    """Take the lease and return everything unwritten; [] once another step has written past `upto`.

    Who is given the lease writes what is there, also where that is only others' by now: they wait for it. A step that
    has written mostly leaves the mark to its run's next commit: with `wanted` the journal itself is asked meanwhile.
    """
    deadline, look_s = services.clock.now_ms() + WAIT_MS, LOOK_S
    while True:
        mark, lease, items = services.store.unwritten(run_id, owner, services.clock.now_ms())
        if lease:
            return [journal_item(run_id, compose(head, body)) for head, body in items]
        if mark >= upto:
            return []
        if wanted is not None:
            if _in_journal(services, run_id, wanted):
                services.store.acknowledge([(run_id, wanted.no, wanted.id, ())])
                return []
            look_s = min(2 * look_s, MAX_LOOK_S)
        if services.clock.now_ms() >= deadline:
            raise Unavailable(f"The journal of run {run_id} is being written by another step for too long.")
        services.pause(look_s)


def _in_journal(services: Services, run_id: str, wanted: Written) -> bool:
    found = services.journal.read(run_id, wanted.seq - 1, 1)
    return bool(found) and (found[0].no, found[0].id) == (wanted.no, wanted.id)


def flush_run(services: Services, run_id: str) -> None:
    """Bring all commits of a live run into the journal, so that what is shown of it is never taken back."""
    state = services.store.snapshot(run_id, ("meta",))
    if state is not None and int(state["meta"]["mark"]) < int(state["meta"]["no"]):
        meta = state["meta"]
        flush_upto(services, run_id, int(meta["no"]), Written(int(meta["no"]), meta["cid"], int(meta["lseq"])))


def flush_upto(services: Services, run_id: str, no: int, wanted: Written | None = None, owner: str = "") -> None:
    """Return once the journal holds the run's commits up to `no`, which is commit `wanted` where the caller knows it.

    `owner` may hold the lease already: it need not wait for itself. Raises Unavailable, JournalRefused.
    """
    chain = _whole_tail(services, owner or f"read-{services.ids.new()}", run_id, no, wanted)
    if not chain:
        return
    if append(services, chain, ending_records(chain)):
        raise JournalRefused(f"Run {run_id} is behind its journal and is being rebuilt; send the request again.")
    services.store.acknowledge([(run_id, chain[-1].no, chain[-1].id, ())])
