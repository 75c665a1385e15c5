"""What people do with the schedules of a saved workflow: set, pause, resume, trigger and delete them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.domain.errors import Conflict
from chalicelib.domain.schedule_rules import WHEN, filled, timing
from chalicelib.domain.schedule_tick import held
from chalicelib.engine import schedule_records as records
from chalicelib.engine.directory_keys import run_head_key
from chalicelib.engine.runs import check_input
from chalicelib.engine.schedule_records import Record
from chalicelib.engine.schedule_runs import busy, claim, finish, live_run, settled, version_of
from chalicelib.engine.services import Services

Json = Any
#: Tries to change a schedule while others do.
_TRIES = 5
#: What a schedule remembers, as it is at first.
_FRESH: Mapping[str, Json] = {
    "queued": None, "starting": None, "runs": [], "skipped": None, "missed": None, "failed": None,
}  # fmt: skip


def set_schedule(
    services: Services, tenant: str, workflow: str, name: str, made: Mapping[str, Json], by: str
) -> Record:
    """Create the schedule, or give it another definition; what it remembers of its runs stays.

    Its times are counted anew from now on if they are decided otherwise than before. Raises NotFound for a workflow,
    version or tag that is not there, InvalidInput for an input that its input_schema refuses, Unavailable.
    """
    wanted = {**made, "tenant": tenant, "workflow": workflow, "name": name}
    _check_start(services, wanted, services.clock.now_ms())
    for _ in range(_TRIES):
        there = records.read(services, tenant, workflow, name)
        old = None if there is None else settled(services, there)
        now = services.clock.now_ms()
        record = {**(old or {**_FRESH, "created_at": now}), **wanted, "updated_at": now, "updated_by": by}
        same = old is not None and all(old[member] == made[member] for member in WHEN)
        record["anchor"] = old["anchor"] if old is not None and same else now
        if not same or record["paused"] or (old is not None and old["paused"]):
            record["next_at"] = _next(record, now)
        written = records.write(services, old, record)
        if written is not None:
            return written
    raise busy(wanted)


def pause_schedule(services: Services, tenant: str, workflow: str, name: str, by: str, *, paused: bool) -> Record:
    """Let the schedule start nothing from now on, or let it go on with its next time. Repeating it is harmless.

    Times that pass meanwhile are left out. Raises NotFound, Unavailable.
    """
    for _ in range(_TRIES):
        there = settled(services, records.needed(services, tenant, workflow, name))
        if there["paused"] == paused:
            return there
        now = services.clock.now_ms()
        record = {**there, "paused": paused, "updated_at": now, "updated_by": by}
        written = records.write(services, there, {**record, "next_at": _next(record, now)})
        if written is not None:
            return written
    raise busy({"name": name})


def delete_schedule(services: Services, tenant: str, workflow: str, name: str) -> Record:
    """Forget the schedule; its runs go on. Returns what it was. Raises NotFound."""
    there = records.needed(services, tenant, workflow, name)
    records.remove(services, there)
    return there


def trigger_schedule(services: Services, tenant: str, workflow: str, name: str, at: int, by: str) -> str | None:
    """Start a run now, as if the schedule were due at `at`: by its overlap policy, though it may be paused.

    The same `at` is the same run. Returns its id; None where it waits for the run before. Raises Conflict where the
    policy or the start refuses it, NotFound, InvalidInput, Unavailable.
    """
    for _ in range(_TRIES):
        there = settled(services, records.needed(services, tenant, workflow, name))
        _check_start(services, there, at)
        wanted = claim(services, there, at, by)
        run_id = wanted["starting"]["run_id"]
        if services.directory.get(run_head_key(run_id)) is not None:
            return str(run_id)
        if _waits(there, at, live_run(services, there)):
            if there["queued"] == at or records.write(services, there, {**there, "queued": at}) is not None:
                return None
            continue
        claimed = records.write(services, there, {**there, **wanted})
        if claimed is not None:
            return _begun(finish(services, claimed), at, run_id)
    raise busy({"name": name})


def _begun(schedule: Record | None, at: int, run_id: str) -> str:
    """The id of the run that was claimed. Raises Conflict where it was refused."""
    failed = None if schedule is None else schedule["failed"]
    if failed is not None and failed["due_at"] == at:
        raise Conflict(failed["reason"])
    return run_id


def _waits(schedule: Record, at: int, live: str | None) -> bool:
    """Whether a triggered start waits for the run before. Raises Conflict where it may not even wait."""
    if live is None or schedule["overlap"] == "allow":
        return False
    if schedule["overlap"] != "queue":
        reason = held(schedule, at, at, live)["skipped"]["reason"]
        raise Conflict(f"{reason} Schedule {schedule['name']} starts one run at a time; wait, or cancel that run.")
    if schedule["queued"] not in (None, at):
        raise Conflict(f"Run {live} has not ended, and another start waits for it already.")
    return True


def _next(schedule: Mapping[str, Json], now: int) -> int | None:
    return None if schedule["paused"] else timing(schedule).after(now)


def _check_start(services: Services, schedule: Mapping[str, Json], due_at: int) -> None:
    """Raises NotFound, InvalidInput where the schedule could not start a run now."""
    schema = services.plans.load(version_of(services, schedule).hash).document.get("input_schema")
    if schema is not None:
        check_input(schema, filled(schedule["input"], schedule["name"], due_at))
