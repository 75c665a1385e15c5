"""The routes of schedules, for the table of all routes."""

from __future__ import annotations

from typing import Final

from chalicelib.api.route import PAGE, Route

_ONE: Final = "/workflows/{name}/schedules/{schedule}"

SCHEDULE_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "list_schedules",
        "GET",
        "/workflows/{name}/schedules",
        "runs:read",
        "List a workflow's schedules by name.",
        query=PAGE,
    ),
    Route(
        "set_schedule",
        "PUT",
        _ONE,
        "runs:start",
        "Start runs of a saved workflow at the times of a cron expression or a rate.",
        body={
            "cron": "Five fields: minute, hour, day of month, month, day of week.",
            "rate": "Instead of cron: a period such as `5 minutes`, `1 hour`, `2 days`.",
            "timezone": "The IANA time zone that cron is read in (default UTC).",
            "input": "The input of each run; `${schedule.due_at}` and `${schedule.name}` in its texts are replaced.",
            "tag": "Start the version that this tag points at when the run starts; without tag and version the latest.",
            "version": "Start this version.",
            "overlap": "While the run before has not ended: `skip` (default), `queue` one, or `allow`.",
            "start_at": "No time before this one is due (RFC 3339).",
            "end_at": "No time after this one is due (RFC 3339).",
            "priority": "From -100 to 100 (default 0): which run begins first where they wait for a place.",
            "paused": "Whether it starts nothing until it is resumed (default false).",
        },
    ),
    Route(
        "get_schedule",
        "GET",
        _ONE,
        "runs:read",
        "Read a schedule: its next times, its last runs, what it skipped or missed last.",
    ),
    Route("delete_schedule", "DELETE", _ONE, "runs:start", "Delete a schedule; its runs go on."),
    Route(
        "pause_schedule",
        "POST",
        f"{_ONE}/pause",
        "runs:start",
        "Let a schedule start nothing until it is resumed.",
        body_optional=True,
    ),
    Route(
        "resume_schedule",
        "POST",
        f"{_ONE}/resume",
        "runs:start",
        "Let a paused schedule go on with its next time.",
        body_optional=True,
    ),
    Route(
        "trigger_schedule",
        "POST",
        f"{_ONE}/trigger",
        "runs:start",
        "Start a run of a schedule now, by its overlap policy.",
        202,
        body_optional=True,
    ),
)
