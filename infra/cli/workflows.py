"""`graft workflows`: the saved workflows and their versions."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.client import segment
from infra.cli.connect import connect
from infra.cli.documents import read_document
from infra.cli.errors import CliError
from infra.cli.options import AsJson, Token, Url

Json = Any

app = typer.Typer(no_args_is_help=True, help="Saved workflows.")


@app.command("save")
def save(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A workflow, JSON or YAML.")],
    name: Annotated[str | None, typer.Option(help="Its name; by default the one in the file.")] = None,
    tag: Annotated[str | None, typer.Option(help="Put this tag on the new version.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Save a new version of a workflow; the same content keeps its version."""
    document = read_document(file)
    name = name or (document.get("name") if isinstance(document, dict) else None)
    if not isinstance(name, str):
        raise CliError(f"{file} has no name: pass --name, or write one at /name.")
    body = {"name": name, "workflow": document, **({"tag": tag} if tag else {})}
    saved = connect(url, token).post("/workflows", body)
    if as_json:
        show.print_json(saved)
    else:
        show.say(f"{saved.get('name', name)} is version {saved.get('version')}: `graft run {name}` starts it.")


@app.command("list")
def list_workflows(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Go on where a list before ended.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List the saved workflows."""
    page = connect(url, token).get("/workflows", limit=limit, cursor=cursor)
    if as_json:
        show.print_json(page)
        return
    show.table(("workflow", "latest version"), [(item.get("name"), item.get("version")) for item in page["items"]])
    if page.get("next_cursor"):
        show.say(f"There are more: --cursor {page['next_cursor']}", "dim")


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
