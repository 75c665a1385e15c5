"""Keeps schedules in the directory, each with one entry in the index of what is due.

Every change of a schedule gives it a new generation and is written only over the generation that it was made from. The
entry of the new generation is written before the record, that of the old one removed after it. So whatever dies in
between leaves an entry too many and never one too few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.domain.errors import NotFound
from chalicelib.domain.schedule_tick import wake_at
from chalicelib.engine import directory_keys as keys
from chalicelib.engine.ports import Directory
from chalicelib.engine.services import Services

Json = Any
Record = Mapping[str, Json]
#: An entry whose record is of another generation is kept for this long: the writer of the record may still be at work.
#: No Lambda lives longer.
STRAY_MS = 900_000
#: Entries read in one call: most passes find nothing due, and pay for what they read.
_PAGE = 10


def read(services: Services, tenant: str, workflow: str, name: str) -> Record | None:
    """The schedule's record; None where there is none."""
    return services.directory.get(keys.schedule_key(tenant, workflow, name))


def needed(services: Services, tenant: str, workflow: str, name: str) -> Record:
    """The schedule's record. Raises NotFound."""
    found = read(services, tenant, workflow, name)
    if found is None:
        raise NotFound(f"Workflow {workflow[:64]} has no schedule {name[:64]}.")
    return found


def page(directory: Directory, tenant: str, workflow: str, limit: int, after: str | None) -> list[Record]:
    """Schedules of a workflow by name, those behind the name `after`."""
    partition = keys.workflow(tenant, workflow)
    start = None if after is None else keys.schedule_key(tenant, workflow, after)[1]
    return [record for _, record in directory.query(partition, prefix="s#", start=start, limit=limit)]


def write(services: Services, there: Record | None, record: Record) -> Record | None:
    """Write the record over `there`, or as a new one. Returns it, or None where somebody else changed it before."""
    directory, new = services.directory, {**record, "gen": services.ids.new()}
    new["wake_at"] = wake_at(new, services.clock.now_ms())
    entry = _entry_key(new)
    if entry is not None:
        place = {name: new[name] for name in ("tenant", "workflow", "name", "gen", "wake_at")}
        directory.put(entry, place)
    key = keys.schedule_key(new["tenant"], new["workflow"], new["name"])
    if there is None:
        found = directory.put_new(key, new)
        # The client repeats a call whose answer was lost: what is there may be this call's own record.
        done = found is None or found["gen"] == new["gen"]
    else:
        done = directory.replace(key, new, {"gen": there["gen"]})
    stale = (None if there is None else _entry_key(there)) if done else entry
    if stale is not None:
        directory.delete(stale)
    return new if done else None


def remove(services: Services, there: Record) -> None:
    """Delete the schedule. A run that it started goes on."""
    services.directory.delete(keys.schedule_key(there["tenant"], there["workflow"], there["name"]))
    entry = _entry_key(there)
    if entry is not None:
        services.directory.delete(entry)


def due(directory: Directory, now: int) -> Iterator[tuple[keys.Key, Record]]:
    """The entries that are due at `now`, with their keys; the oldest of each shard first, shards in turn."""
    for turn in range(keys.DUE_SHARDS):
        partition, start = keys.due_partition((now // 60_000 + turn) % keys.DUE_SHARDS), None
        while True:
            found = directory.query(partition, start=start, limit=_PAGE)
            ripe = [(sort, entry) for sort, entry in found if entry["wake_at"] <= now]
            yield from (((partition, sort), entry) for sort, entry in ripe)
            if len(ripe) < _PAGE:
                break
            start = ripe[-1][0]


def _entry_key(record: Record) -> keys.Key | None:
    if record["wake_at"] is None:
        return None
    return keys.due_key(record["tenant"], record["workflow"], record["name"], record["wake_at"], record["gen"])
