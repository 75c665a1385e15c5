"""Starts the runs that schedules are due to start: each due time begins at most one run, however often it is worked.

A start is claimed in the schedule's record first, then made under a run id that the due time decides, then noted. Who
finds a claim of a pass that died makes the same start again.
"""

from __future__ import annotations

import logging
from typing import Any

from chalicelib.domain.errors import Conflict, GraftError, InvalidInput, NotFound, TooLarge, Unavailable
from chalicelib.domain.ids import derived_run_id
from chalicelib.domain.schedule_rules import filled
from chalicelib.domain.schedule_tick import ticked
from chalicelib.domain.state import ENDED
from chalicelib.engine import schedule_records as records
from chalicelib.engine.catalog import Catalog, Version
from chalicelib.engine.directory_keys import run_head_key
from chalicelib.engine.runs import StartRequest, start_run
from chalicelib.engine.schedule_records import Record
from chalicelib.engine.services import Services

Json = Any
log = logging.getLogger("graft.schedules")
#: Runs that a schedule's record names.
KEPT_RUNS = 10
#: A pass starts nothing new after this long: the rest waits for the next one.
PASS_MS = 40_000


def start_due_runs(services: Services) -> int:
    """Work every schedule that is due. Returns how many. One that fails is logged, and tried again by the next pass."""
    now, count = services.clock.now_ms(), 0
    for key, entry in records.due(services.directory, now):
        if services.clock.now_ms() - now > PASS_MS:
            break
        try:
            count += _work(services, key, entry)
        except Exception:
            names = {name: entry[name] for name in ("tenant", "workflow", "name")}
            log.exception("a schedule could not be worked", extra={"schedule": names})
    return count


def _work(services: Services, key: tuple[str, str], entry: Record) -> bool:
    """Work one schedule; False where the entry is of another state of it, or somebody else was faster."""
    there = records.read(services, entry["tenant"], entry["workflow"], entry["name"])
    if there is None or there["gen"] != entry["gen"]:
        if services.clock.now_ms() - entry["wake_at"] >= records.STRAY_MS:
            services.directory.delete(key)
        return False
    found: Record | None = there
    if there["starting"] is not None:
        found = finish(services, there)
    if found is not None:
        found = _tick(services, found)
    if found is not None and found["starting"] is not None:
        found = finish(services, found)
    return found is not None


def _tick(services: Services, there: Record) -> Record | None:
    now = services.clock.now_ms()
    changes = ticked(there, now, None if there["overlap"] == "allow" else live_run(services, there))
    if not changes and there["queued"] is None:
        return there
    if "starting" in changes:
        due_at = changes["starting"]["due_at"]
        changes = {**changes, **claim(services, there, due_at, f"schedule:{there['name']}")}
    return records.write(services, there, {**there, **changes})


def claim(services: Services, schedule: Record, due_at: int, actor: str) -> dict[str, Json]:
    """The members that claim the start for `due_at`, under the one run id that this time has.

    The version is chosen here, so that a repeat starts the same one. Where there is none, `failed` says so.
    """
    now = services.clock.now_ms()
    try:
        version = version_of(services, schedule).version
    except NotFound as error:
        return {"starting": None, "failed": {"due_at": due_at, "at": now, "reason": error.detail}}
    key = f"schedule {schedule['workflow']} {schedule['name']} {due_at}"
    run_id = derived_run_id(schedule["tenant"], key)
    return {"starting": {"due_at": due_at, "at": now, "run_id": run_id, "version": version, "by": actor}}


def finish(services: Services, there: Record) -> Record | None:
    """Make the start that the record claims, and note it. None where somebody else noted it. Raises Unavailable."""
    start = there["starting"]
    changes: dict[str, Json] = {"starting": None}
    try:
        start_run(services, _request(services, there, start))
    except (InvalidInput, Conflict, TooLarge, NotFound) as error:
        changes["failed"] = {"due_at": start["due_at"], "at": services.clock.now_ms(), "reason": _reason(error)}
    else:
        run = {"run_id": start["run_id"], "due_at": start["due_at"], "started_at": start["at"], "by": start["by"]}
        others = [other for other in there["runs"] if other["run_id"] != run["run_id"]]
        changes["runs"] = [run, *others][:KEPT_RUNS]
    return records.write(services, there, {**there, **changes})


def settled(services: Services, there: Record) -> Record:
    """The record without a claimed start, which is made first: a schedule is changed between starts only.

    Raises Unavailable where others change it just now.
    """
    if there["starting"] is None:
        return there
    found = finish(services, there)
    if found is None:
        raise busy(there)
    return found


def busy(schedule: Record) -> Unavailable:
    """What is raised where a schedule was changed by somebody else meanwhile."""
    return Unavailable(f"Schedule {schedule['name']} is being changed by others just now. Send the request again.")


def live_run(services: Services, schedule: Record) -> str | None:
    """The schedule's newest run, if it has not ended."""
    if not schedule["runs"]:
        return None
    run_id = str(schedule["runs"][0]["run_id"])
    head = services.directory.get(run_head_key(run_id))
    return None if head is None or head["status"] in ENDED else run_id


def version_of(services: Services, schedule: Record) -> Version:
    """The version that the schedule starts now. Raises NotFound."""
    catalog = Catalog(services.directory, schedule["tenant"])
    return catalog.find(schedule["workflow"], version=schedule["version"], tag=schedule["tag"])


def _request(services: Services, schedule: Record, start: Record) -> StartRequest:
    workflow, number = schedule["workflow"], start["version"]
    version = Catalog(services.directory, schedule["tenant"]).version(workflow, number)
    return StartRequest(
        tenant=schedule["tenant"],
        actor=start["by"],
        plan=services.plans.load(version.hash),
        workflow={"name": workflow, "version": number},
        input=filled(schedule["input"], schedule["name"], start["due_at"]),
        run_id=start["run_id"],
        name=workflow,
        limited=version.limited,
        priority=schedule.get("priority", 0),  # a schedule that was set before there were any has none
    )


def _reason(error: GraftError) -> str:
    places = "; ".join(f"{problem.path}: {problem.message}" for problem in error.problems[:5])
    return f"{error.detail} {places}".strip()[:1000]
