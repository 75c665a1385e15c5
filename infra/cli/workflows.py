"""`graft workflows`: the saved workflows and their versions."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from infra.cli import show, workflow_diff
from infra.cli.client import segment
from infra.cli.connect import connect
from infra.cli.documents import read_document, read_json_option
from infra.cli.errors import CliError
from infra.cli.options import AsJson, Cursor, Token, Url

Json = Any

app = typer.Typer(no_args_is_help=True, help="Saved workflows.")
app.command("diff")(workflow_diff.diff)


@app.command("save")
def save(
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="A workflow, JSON or YAML.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name; by default the one in the file.")] = None,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Instead of FILE: the graph that a run has now.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Put this tag on the new version.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Save a new version of a workflow; the same content keeps its version."""
    body = {**_given(file, name, run), **({"tag": tag} if tag else {})}
    saved = connect(url, token).post("/workflows", body)
    _print_saved(saved, body["name"], as_json)


def _given(file: str | None, name: str | None, run: str | None) -> dict[str, Json]:
    """What is to be saved, and its name. Raises CliError."""
    if (file is None) == (run is None):
        raise CliError("Pass a FILE, or --run with the id of a run.")
    if file is None:
        if not name:
            raise CliError("A run's graph needs a name to be saved under: pass --name.")
        return {"name": name, "run_id": run}
    document = read_document(file)
    name = name or (document.get("name") if isinstance(document, dict) else None)
    if not isinstance(name, str):
        raise CliError(f"{file} has no name: pass --name, or write one at /name.")
    return {"name": name, "workflow": document}


def _print_saved(saved: dict[str, Json], name: str, as_json: bool) -> None:
    if as_json:
        show.print_json(saved)
    else:
        show.say(f"{saved.get('name', name)} is version {saved.get('version')}: `graft run {name}` starts it.")


@app.command("list")
def list_workflows(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    cursor: Cursor = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List the saved workflows."""
    page = connect(url, token).get("/workflows", limit=limit, cursor=cursor)
    show.page(
        page, ("workflow", "latest version"), lambda item: (item.get("name"), item.get("version")), as_json=as_json
    )


@app.command("show")
def show_workflow(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    version: Annotated[int | None, typer.Option(min=1, help="A version; by default the latest.")] = None,
    tag: Annotated[str | None, typer.Option(help="The version under this tag.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show one version of a workflow."""
    if version is not None and tag:
        raise CliError("Pass --version or --tag, not both.")
    found = connect(url, token).get(f"/workflows/{segment(name)}", version=version, tag=tag)
    if as_json:
        show.print_json(found)
        return
    show.say(f"{found.get('name', name)}, version {found.get('version')}", "bold")
    show.value("workflow", found.get("workflow"))


@app.command("versions")
def versions(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    cursor: Cursor = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List a workflow's versions, newest first."""
    page = connect(url, token).get(f"/workflows/{segment(name)}/versions", limit=limit, cursor=cursor)
    show.page(page, ("version", "created", "by", "tags"), _version_row, as_json=as_json)


def _version_row(item: dict[str, Json]) -> tuple[Json, ...]:
    made = (show.moment(item.get("created_at")), item.get("created_by"))
    return (item.get("version"), *made, ", ".join(item.get("tags", [])))


@app.command("patch")
def patch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    file: Annotated[str, typer.Option("--file", help="JSON Patch operations, JSON or YAML; - reads standard input.")],
    base: Annotated[int | None, typer.Option(min=1, help="Only if this version is the latest.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Save what a JSON Patch makes of the latest version."""
    operations = read_document(file)
    saved = connect(url, token).patch(f"/workflows/{segment(name)}", operations, base)
    _print_saved(saved, name, as_json)


@app.command("tag")
def tag(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The workflow's name.")],
    tag: Annotated[str, typer.Argument(metavar="TAG", help="The tag.")],
    version: Annotated[int | None, typer.Argument(metavar="[VERSION]", min=1, help="Point the tag at it.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Point a tag at a version; without one, show where it points and has pointed."""
    api, path = connect(url, token), f"/workflows/{segment(name)}/tags/{segment(tag)}"
    found = api.get(path) if version is None else api.put(path, {"version": version})
    if as_json:
        show.print_json(found)
        return
    show.say(f"{name}@{tag} is version {found.get('version')}.")
    if version is None:
        rows = [(move.get("version"), show.moment(move.get("at")), move.get("by")) for move in found["history"]]
        show.table(("version", "since", "by"), rows)


@app.command("limit")
def limit(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The workflow's name.")],
    most: Annotated[
        str | None, typer.Argument(metavar="[N|none]", help="So many runs at a time; none lifts it.")
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Limit how many runs of a workflow go at a time; without a number, show the limit and which runs wait."""
    if most is not None and most != "none" and not (most.isascii() and most.isdigit()):
        raise CliError("Pass a whole number, or none.")
    api, path = connect(url, token), f"/workflows/{segment(name)}/settings"
    wanted = None if most in (None, "none") else int(most or 0)
    found = api.get(path) if most is None else api.put(path, {"max_running": wanted})
    if as_json:
        show.print_json(found)
        return
    most_now = found.get("max_running")
    show.say(f"{name} runs without a limit." if most_now is None else f"{name} runs {most_now} at a time.")
    show.say(f"running: {', '.join(found['running']) or 'none'}")
    show.say(f"waiting: {', '.join(found['waiting']) or 'none'}")


@app.command("batch")
def batch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A saved workflow: name, name@3, name@tag.")],
    inputs: Annotated[str, typer.Option("--inputs", help="The list of inputs as JSON, or @file.")],
    concurrency: Annotated[int | None, typer.Option(min=1, help="Runs at a time.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Start a run of a saved workflow for each of many inputs."""
    plain, _, chosen = name.partition("@")
    body: dict[str, Json] = {"inputs": read_json_option("--inputs", inputs)}
    if chosen:
        body |= {"version": int(chosen)} if chosen.isdigit() else {"tag": chosen}
    if concurrency is not None:
        body["max_concurrency"] = concurrency
    started = connect(url, token).post(f"/workflows/{segment(plain)}/batches", body)
    if as_json:
        show.print_json(started)
    else:
        show.say(f"Batch {started['run_id']} is {started['status']}: `graft runs show {started['run_id']} --tree`.")
