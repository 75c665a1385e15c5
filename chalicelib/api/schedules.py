"""Routes of the schedules of saved workflows: set, list, read, pause, resume, trigger, delete."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from chalice.app import Blueprint

from chalicelib.api.call import Call, check_name, refused
from chalicelib.api.endpoint import operation
from chalicelib.api.problems import Answer
from chalicelib.api.workflows import catalog_of
from chalicelib.domain.journal import timestamp
from chalicelib.domain.schedule_rules import MEMBERS, definition, timing
from chalicelib.engine import schedule_records as records
from chalicelib.engine import schedules
from chalicelib.engine.directory_keys import run_head_key
from chalicelib.engine.schedule_records import Record
from chalicelib.engine.views import run_links

Json = Any
blueprint = Blueprint(__name__)
#: Next times that are shown.
_NEXT: Final = 5
#: Members of the record that hold times.
_TIMES: Final = ("at", "due_at", "started_at", "first")


@operation(blueprint)
def list_schedules(call: Call) -> Answer:
    """A page of a workflow's schedules, by name."""
    name, limit, after = call.name("name"), call.whole("limit", 50, 1, 200), call.query.get("cursor") or None
    if after is not None and len(after) > 64:
        raise refused("cursor", "Send a next_cursor as it was given, or none.")
    found = records.page(call.services.directory, call.tenant, name, limit + 1, after)
    if not found:
        catalog_of(call).find(name)
    items = [_view(call, record) for record in found[:limit]]
    return Answer({"items": items, "next_cursor": items[-1]["name"] if len(found) > limit else None})


@operation(blueprint)
def set_schedule(call: Call) -> Answer:
    """Create a schedule, or change it."""
    name, schedule = call.name("name"), check_name(call.params["schedule"], "/schedule")
    made = definition(call.members(*MEMBERS))
    return Answer(_view(call, schedules.set_schedule(call.services, call.tenant, name, schedule, made, call.actor)))


@operation(blueprint)
def get_schedule(call: Call) -> Answer:
    """One schedule, with how its last runs stand."""
    view = _view(call, records.needed(call.services, call.tenant, *_names(call)))
    for run in view["last_runs"]:
        head = call.services.directory.get(run_head_key(run["run_id"]))
        run["status"] = None if head is None else head["status"]
    return Answer(view)


@operation(blueprint)
def delete_schedule(call: Call) -> Answer:
    """Forget a schedule, and show it for the last time."""
    return Answer(_view(call, schedules.delete_schedule(call.services, call.tenant, *_names(call))))


@operation(blueprint)
def pause_schedule(call: Call) -> Answer:
    """Stop a schedule until it is resumed."""
    return _paused(call, True)


@operation(blueprint)
def resume_schedule(call: Call) -> Answer:
    """Let a schedule go on."""
    return _paused(call, False)


@operation(blueprint)
def trigger_schedule(call: Call) -> Answer:
    """Start a run now. Under an Idempotency-Key a repeat is the same run."""
    name, schedule = _names(call)
    call.members()
    at = call.pins.get("at", call.services.clock.now_ms())
    run_id = schedules.trigger_schedule(call.services, call.tenant, name, schedule, at, call.actor)
    view: dict[str, Json] = {"workflow": name, "name": schedule, "due_at": timestamp(at), "run_id": run_id}
    if run_id is None:
        return Answer({**view, "waiting": True, "links": {}}, 202)
    links = run_links(call.services.public_url, run_id)
    return Answer({**view, "waiting": False, "links": links}, 202, {"Location": links["self"]})


def _paused(call: Call, paused: bool) -> Answer:
    call.members()
    names = _names(call)
    return Answer(_view(call, schedules.pause_schedule(call.services, call.tenant, *names, call.actor, paused=paused)))


def _names(call: Call) -> tuple[str, str]:
    return call.name("name"), call.name("schedule")


def _view(call: Call, record: Record) -> dict[str, Json]:
    """A schedule as every answer shows it."""
    now = call.services.clock.now_ms()
    coming = [] if record["paused"] else list(islice(timing(record).times(now), _NEXT))
    state = "PAUSED" if record["paused"] else "ACTIVE" if record["next_at"] is not None else "ENDED"
    same = ("workflow", "name", "cron", "rate", "timezone", "input", "tag", "version", "overlap", "paused")
    moments = ("start_at", "end_at", "created_at", "updated_at")
    return {
        **{name: record[name] for name in same},
        "priority": record.get("priority", 0),
        **{name: None if record[name] is None else timestamp(record[name]) for name in moments},
        "updated_by": record["updated_by"],
        "state": state,
        "next_times": [timestamp(at) for at in coming],
        "waiting": None if record["queued"] is None else timestamp(record["queued"]),
        "last_runs": [_times(run) for run in record["runs"]],
        **{f"last_{name}": _times(record[name]) for name in ("skipped", "missed", "failed")},
    }


def _times(record: Record | None) -> dict[str, Json] | None:
    if record is None:
        return None
    return {name: timestamp(value) if name in _TIMES else value for name, value in record.items()}
