"""`graft schedules`: when runs of saved workflows start by themselves."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.client import segment
from infra.cli.connect import connect
from infra.cli.documents import read_input
from infra.cli.options import AsJson, Cursor, Token, Url

Json = Any
Workflow = Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow's name.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]

app = typer.Typer(no_args_is_help=True, help="When runs of saved workflows start by themselves.")


@app.command("list")
def list_schedules(
    workflow: Workflow,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    cursor: Cursor = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List a workflow's schedules."""
    page = connect(url, token).get(f"/workflows/{segment(workflow)}/schedules", limit=limit, cursor=cursor)
    show.page(page, ("name", "state", "when", "overlap", "next"), _row, as_json=as_json)


def _row(item: dict[str, Json]) -> tuple[Json, ...]:
    first = next(iter(item.get("next_times") or []), None)
    return (item.get("name"), item.get("state"), _when(item), item.get("overlap"), show.moment(first))


@app.command("set")
def set_schedule(
    workflow: Workflow,
    name: Name,
    cron: Annotated[str | None, typer.Option(help="Five fields, such as '0 9 * * MON-FRI'.")] = None,
    rate: Annotated[str | None, typer.Option(help="Instead of --cron: a period, such as '5 minutes'.")] = None,
    timezone: Annotated[str | None, typer.Option(help="The IANA time zone of --cron; by default UTC.")] = None,
    given: Annotated[str | None, typer.Option("--input", help="Each run's input as JSON, or @file.")] = None,
    tag: Annotated[str | None, typer.Option(help="Start the version under this tag; by default the latest.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Start this version.")] = None,
    overlap: Annotated[str | None, typer.Option(help="While a run is live: skip (default), queue, allow.")] = None,
    start_at: Annotated[str | None, typer.Option("--from", help="Not before this time (RFC 3339).")] = None,
    end_at: Annotated[str | None, typer.Option("--until", help="Not after this time (RFC 3339).")] = None,
    priority: Annotated[
        int | None, typer.Option(min=-100, max=100, help="Of runs that wait for a place the highest begins first.")
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Start nothing until it is resumed.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Create a schedule, or replace what it was set to."""
    members = {
        "cron": cron,
        "rate": rate,
        "timezone": timezone,
        "input": None if given is None else read_input(given),
        "tag": tag,
        "version": version,
        "overlap": overlap,
        "start_at": start_at,
        "end_at": end_at,
        "priority": priority,
        "paused": paused or None,
    }
    body = {member: value for member, value in members.items() if value is not None}
    _print(connect(url, token).put(_path(workflow, name), body), as_json)


@app.command("show")
def show_schedule(
    workflow: Workflow, name: Name, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Show a schedule: its next times, its last runs, what it left out last."""
    found = connect(url, token).get(_path(workflow, name))
    _print(found, as_json)
    if as_json:
        return
    rows = [
        (run.get("run_id"), show.status(run.get("status")), show.moment(run.get("due_at")), run.get("by"))
        for run in found["last_runs"]
    ]
    show.table(("run", "status", "due", "by"), rows)


@app.command("pause")
def pause(workflow: Workflow, name: Name, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Let a schedule start nothing until it is resumed."""
    _print(connect(url, token).post(f"{_path(workflow, name)}/pause", {}), as_json)


@app.command("resume")
def resume(workflow: Workflow, name: Name, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Let a paused schedule go on with its next time."""
    _print(connect(url, token).post(f"{_path(workflow, name)}/resume", {}), as_json)


@app.command("trigger")
def trigger(workflow: Workflow, name: Name, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Start a run of a schedule now, by its overlap policy."""
    begun = connect(url, token).post(f"{_path(workflow, name)}/trigger", {})
    if as_json:
        show.print_json(begun)
    elif begun.get("waiting"):
        show.say("A run is live: the new one starts when it has ended.")
    else:
        show.say(f"Run {begun.get('run_id')} has started.")


@app.command("delete")
def delete(workflow: Workflow, name: Name, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Delete a schedule; its runs go on."""
    gone = connect(url, token).delete(_path(workflow, name))
    if as_json:
        show.print_json(gone)
    else:
        show.say(f"Schedule {name} of {workflow} is deleted.")


def _path(workflow: str, name: str) -> str:
    return f"/workflows/{segment(workflow)}/schedules/{segment(name)}"


def _print(found: dict[str, Json], as_json: bool) -> None:
    if as_json:
        show.print_json(found)
        return
    show.say(f"{found.get('workflow')}/{found.get('name')}: {_when(found)}, {found.get('state')}", "bold")
    if found.get("priority"):
        show.say(f"priority of its runs: {found['priority']}")
    for at in found["next_times"]:
        show.say(f"next: {show.moment(at)}")
    if found.get("waiting"):
        show.say(f"waiting for the run before: {show.moment(found['waiting'])}", "yellow")
    skipped, missed, failed = (found.get(f"last_{name}") for name in ("skipped", "missed", "failed"))
    if skipped:
        show.say(f"skipped: {show.moment(skipped.get('due_at'))}: {skipped.get('reason')}", "yellow")
    if missed:
        show.say(f"missed: {missed.get('count')} from {show.moment(missed.get('first'))} on", "yellow")
    if failed:
        show.say(f"could not start: {show.moment(failed.get('due_at'))}: {failed.get('reason')}", "bold red")


def _when(item: dict[str, Json]) -> str:
    return f"every {item['rate']}" if item.get("rate") else f"{item.get('cron')} ({item.get('timezone')})"
