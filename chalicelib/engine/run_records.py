"""The directory records that go with a run's first and last commit: what lists show of it."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.domain.children import parent_job
from chalicelib.domain.commit import Draft
from chalicelib.engine import directory_keys as keys
from chalicelib.engine.ports import RunRecord
from chalicelib.engine.run_list import run_list_record

#: Meta fields that the records are made of.
RECORD_META = ("tenant", "workflow", "version", "created_at", "started_at", "parent", "limited", "priority")


def with_record(draft: Draft, meta: Mapping[str, str | None]) -> Draft:
    """The draft of a run's end, repeating what the directory shows of the run: whoever journals it can write that."""
    shown = {name: value for name in RECORD_META if (value := meta.get(name)) is not None}
    draft.meta = {**shown, **draft.meta}
    return draft


def run_records(run_id: str, meta: Mapping[str, str | None]) -> list[RunRecord]:
    """The run's head record and its entries in its tenant's list, among the live runs, and among its parent's children,
    from its meta fields."""
    known = {name: value for name, value in meta.items() if value is not None}
    record = run_list_record(run_id, known)
    listed = keys.run_list_key(known["tenant"], int(known["created_at"]), run_id)
    places = [keys.run_head_key(run_id), listed, keys.live_key(run_id)]
    if known.get("parent"):
        places.append(keys.child_key(parent_job(known["parent"]).run_id, int(known["created_at"]), run_id))
    return [RunRecord(run_id, place, record) for place in places]
