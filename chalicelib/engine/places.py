"""Lets at most `max_running` runs of a saved workflow go at a time: the others wait, PENDING, for a place.

A place is a record of its own number, made on condition that it is not there: two runs never have the same one. A run
that must wait has a record sorted by priority and age. Both are repaired by whoever looks next; nothing is counted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chalicelib.domain.errors import GraftError, NotFound
from chalicelib.domain.ids import START, job_id, parse_token
from chalicelib.domain.journal import parse_item
from chalicelib.domain.records import parse_began
from chalicelib.engine import directory_keys as keys
from chalicelib.engine.ports import Directory, JournalItem, Outgoing
from chalicelib.engine.rebuild import ensure_present
from chalicelib.engine.services import Services
from chalicelib.engine.signals import continue_text

Json = Any
log = logging.getLogger("graft.places")

#: The largest `max_running`.
MAX_PLACES = 1000
#: Waiting runs looked at in one call.
_PAGE = 25
#: The record of a place that was used before.
_FREE: Mapping[str, Json] = {"run_id": None}


def max_running(directory: Directory, tenant: str, workflow: str) -> int | None:
    """How many runs of the workflow may go at a time; None where that is not limited."""
    record = directory.get(keys.settings_key(tenant, workflow))
    return None if record is None else record["max_running"]


def enter(services: Services, run_id: str, meta: Mapping[str, str]) -> None:
    """Let a new run of a limited workflow begin if there is a place, else wait for one. Repeating it is harmless.

    Raises Unavailable: then the sweep does it.
    """
    key = _waiting_key(run_id, meta)
    services.directory.put(key, {"run_id": run_id})
    admit(services, meta["tenant"], meta["workflow"])


def admit(services: Services, tenant: str, workflow: str) -> int:
    """Let waiting runs begin while there are places, by priority, then by age. Returns how many.

    The message is sent before the run is taken off the list: whoever dies in between leaves it to the next.
    """
    limit, begun = max_running(services.directory, tenant, workflow), 0
    for key, run_id in _waiting(services.directory, tenant, workflow):
        jobs, status = _start_jobs(services, run_id)
        if not jobs:
            services.directory.delete(key)
            continue
        if status == "PAUSED":  # resuming it comes back here
            continue
        if limit is not None and not _take(services.directory, tenant, workflow, run_id, limit):
            break
        services.queues.send([Outgoing("completion-signals", continue_text(jobs))])
        services.directory.delete(key)
        begun += 1
    return begun


def leave(services: Services, run_id: str, meta: Mapping[str, Json]) -> None:
    """A run of a limited workflow has ended: its place goes to the next. Repeating it is harmless."""
    tenant, workflow = meta["tenant"], meta["workflow"]
    services.directory.delete(_waiting_key(run_id, meta))
    for sort, holder in _taken(services.directory, tenant, workflow).items():
        if holder == run_id:
            # On condition: another end of this run may have passed the place on already.
            services.directory.replace((keys.places(tenant, workflow), sort), _FREE, {"run_id": run_id})
    admit(services, tenant, workflow)


def leave_or_log(services: Services, run_id: str, meta: Mapping[str, Json]) -> None:
    """As `leave`; what cannot be done now is left to the sweep, for the run's end itself stands."""
    try:
        leave(services, run_id, meta)
    except GraftError:
        log.warning("a run's place could not be passed on; the sweep does it", extra={"run_id": run_id})


def leave_ended(services: Services, items: Sequence[JournalItem]) -> None:
    """Free the places of the runs that these journaled items end. Costs nothing where no workflow is limited."""
    for item in items:
        if '"final":1' in item.text and '"limited":"1"' in item.text:
            body = parse_item(item.text).body
            if body.get("final") and body["meta"].get("limited"):
                leave_or_log(services, item.run_id, body["meta"])


def usage(directory: Directory, tenant: str, workflow: str) -> tuple[list[str], list[str]]:
    """(runs that have a place, the first runs that wait for one, in their order)."""
    have = _taken(directory, tenant, workflow).values()
    found = directory.query(keys.places(tenant, workflow), prefix="w#", limit=100)
    return list(dict.fromkeys(have)), [record["run_id"] for _, record in found]


def _take(directory: Directory, tenant: str, workflow: str, run_id: str, limit: int) -> bool:
    """Whether the run has a place now. The lowest free one is tried, so that whoever tries at the same time meets."""
    while True:
        taken = _taken(directory, tenant, workflow)
        if run_id in taken.values():
            return True
        places = (keys.place_key(tenant, workflow, number) for number in range(limit))
        free = next((key for key in places if key[1] not in taken), None)
        if free is None or len(taken) >= limit:
            return False
        there = directory.put_new(free, {"run_id": run_id})
        if there is None or directory.replace(free, {"run_id": run_id}, _FREE):
            return True


def _taken(directory: Directory, tenant: str, workflow: str) -> dict[str, str]:
    """The places that runs have: sort key -> run id."""
    found = directory.query(keys.places(tenant, workflow), prefix="p#", limit=MAX_PLACES)
    return {sort: record["run_id"] for sort, record in found if record["run_id"] is not None}


def _waiting(directory: Directory, tenant: str, workflow: str) -> Iterator[tuple[keys.Key, str]]:
    partition, start = keys.places(tenant, workflow), None
    while True:
        page = directory.query(partition, prefix="w#", start=start, limit=_PAGE)
        yield from (((partition, sort), record["run_id"]) for sort, record in page)
        if len(page) < _PAGE:
            return
        start = page[-1][0]


def _waiting_key(run_id: str, meta: Mapping[str, Json]) -> keys.Key:
    priority, created = int(meta.get("priority") or 0), int(meta["created_at"])
    return keys.waiting_key(meta["tenant"], meta["workflow"], priority, created, run_id)


def _start_jobs(services: Services, run_id: str) -> tuple[list[str], str]:
    """The job ids of a run's start, if that is still outstanding, and the run's status."""
    try:
        ensure_present(services, run_id)
    except NotFound:
        return [], ""
    state = services.store.snapshot(run_id, ("meta", "tok"))
    if state is None:
        return [], ""
    found = [(name, parse_began(record)) for name, record in state["tok"].items() if is_start(name)]
    return [job_id(began.job(run_id, name), services.secret) for name, began in found], state["meta"]["status"]


def is_start(token: str) -> bool:
    """Whether the token is a run's start."""
    return parse_token(token).node == START
