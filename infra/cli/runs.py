"""`graft run` and `graft runs`: start runs, list them, look at one, watch it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.client import Api, segment
from infra.cli.connect import connect
from infra.cli.documents import SUFFIXES, read_document, read_input
from infra.cli.family import show_tree
from infra.cli.options import AsJson, Cursor, Token, Url
from infra.cli.watch import WAIT_S, event_line, exit_code, follow

Json = Any

app = typer.Typer(no_args_is_help=True, help="Look at runs.")
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


def run(
    workflow: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A workflow file, or name, name@3, name@tag.")],
    given: Annotated[str | None, typer.Option("--input", help="The input as JSON, or @file.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run until it ends.")] = False,
    run_id: Annotated[str | None, typer.Option("--run-id", help="An id of your choice.")] = None,
    priority: Annotated[
        int | None, typer.Option(min=-100, max=100, help="Which run begins first where they wait for a place.")
    ] = None,
    breakpoint_: Annotated[
        list[str] | None,
        typer.Option("--breakpoint", metavar="NODE", help="Pause before this node begins; may be given again."),
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Start a run."""
    body: dict[str, Json] = {"workflow": workflow_of(workflow), "input": read_input(given)}
    if run_id:
        body["run_id"] = run_id
    if priority is not None:
        body["priority"] = priority
    if breakpoint_:
        body["breakpoints"] = breakpoint_
    api = connect(url, token)
    started = api.post("/runs", body)
    if watch:
        named = body["workflow"].get("name") if isinstance(body["workflow"], dict) else workflow
        finish(api, started["run_id"], name=str(named or "workflow"), as_json=as_json)
    elif as_json:
        show.print_json(started)
    else:
        show.say(f"Run {started['run_id']} is {started.get('status')}: `graft runs watch {started['run_id']}`.")


def workflow_of(given: str) -> Json:
    """The document in a file, or the name of a saved workflow. Raises CliError."""
    if given == "-" or given.endswith(SUFFIXES) or Path(given).is_file():
        return read_document(given)
    return given


def finish(api: Api, run_id: str, *, name: str = "workflow", as_json: bool) -> None:
    """Follow a run to its end, print what came out, and exit with the code that says how it ended."""
    ended = follow(api, run_id, name=name, quiet=as_json)
    if as_json:
        show.print_json(ended)
    else:
        result(ended)
    raise typer.Exit(exit_code(ended))


def result(ended: dict[str, Json]) -> None:
    """Print a finished run's output, or its error."""
    error = ended.get("error")
    if isinstance(error, dict):
        where = f" at {error['node_id']}" if error.get("node_id") else ""
        show.say(f"{ended.get('status')}{where}: {error.get('type')}: {error.get('message')}", "red")
    elif ended.get("status") != "COMPLETED":
        show.say(f"The run is {ended.get('status')}.", "red")
    else:
        show.value("output", ended.get("output"))


@app.command("list")
def list_runs(
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow.")] = None,
    status: Annotated[str | None, typer.Option(help="Only runs in this state, such as RUNNING.")] = None,
    since: Annotated[str | None, typer.Option(help="Only runs from this RFC 3339 time on.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    cursor: Cursor = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    page = connect(url, token).get("/runs", workflow=workflow, status=status, since=since, limit=limit, cursor=cursor)
    show.page(page, ("run", "workflow", "status", "created"), _row, as_json=as_json)


def _row(item: dict[str, Json]) -> tuple[Json, ...]:
    name = (item.get("workflow") or {}).get("name")
    return (item.get("run_id"), name, show.status(item.get("status")), show.moment(item.get("created_at")))


@app.command("show")
def show_run(
    run_id: RunId,
    tree: Annotated[bool, typer.Option("--tree", help="Show the runs that it has called, and theirs.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show one run: its nodes, its output or error."""
    api = connect(url, token)
    found = api.get(f"/runs/{segment(run_id)}")
    if tree:
        show_tree(api, found, as_json=as_json)
        return
    if as_json:
        show.print_json(found)
        return
    show.out().print(show.clean(found.get("run_id"), "bold"), show.status(found.get("status")))
    keys = ("type", "iteration", "attempts")
    rows = [
        (name, show.status(node.get("status")), *(node.get(key) for key in keys), show.moment(node.get("started_at")))
        for name, node in (found.get("nodes") or {}).items()
    ]
    show.table(("node", "state", "type", "iterations", "attempts", "started"), rows)
    if found.get("finished_at"):
        result(found)


@app.command("watch")
def watch_run(run_id: RunId, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Follow a run until it ends."""
    finish(connect(url, token), run_id, as_json=as_json)


@app.command("events")
def list_events(
    run_id: RunId,
    after: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many at a time.")] = 500,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for news where there is none.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List what happened in a run, in order."""
    api = connect(url, token)
    page = api.get(f"/runs/{segment(run_id)}/events", after=after, limit=limit, wait=WAIT_S if wait else None)
    if as_json:
        show.print_json(page)
        return
    for event in page["events"]:
        print(f"{event.get('seq', ''):>5}  {event_line(event)}")
