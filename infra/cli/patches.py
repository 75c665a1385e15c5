"""`graft runs patch|patches|revert`: change the graph of a live run, and see or take back what was changed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.client import segment
from infra.cli.connect import connect
from infra.cli.documents import read_document
from infra.cli.errors import CliError
from infra.cli.options import AsJson, Token, Url
from infra.cli.runs import RunId

Json = Any
Reason = Annotated[str, typer.Option("--description", "-m", help="Why; kept in the run's history.")]
Base = Annotated[int | None, typer.Option("--base", min=0, help="Only if the graph is at this revision.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]


def patch(
    run_id: RunId,
    file: Annotated[str, typer.Option("--file", help="JSON Patch operations, JSON or YAML; - reads standard input.")],
    description: Reason = "",
    base: Base = None,
    dry_run: DryRun = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Change the graph of a live run."""
    given = read_document(file)
    body = given if isinstance(given, dict) else {"operations": given}
    body = {**body, **_options(description, base, dry_run)}
    _print(connect(url, token).post(f"/runs/{segment(run_id)}/patch", body), dry_run, as_json)


def revert(
    run_id: RunId,
    number: Annotated[int, typer.Argument(metavar="PATCH", min=1, help="The patch's number.")],
    description: Reason = "",
    base: Base = None,
    dry_run: DryRun = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Take a patch back by a new one."""
    body = _options(description, base, dry_run)
    _print(connect(url, token).post(f"/runs/{segment(run_id)}/patches/{number}/revert", body), dry_run, as_json)


def patches(
    run_id: RunId,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on after an earlier list.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List what was changed, by whom, why."""
    page = connect(url, token).get(f"/runs/{segment(run_id)}/patches", limit=limit, cursor=cursor)
    if as_json:
        show.print_json(page)
        return
    rows = [
        (item.get("patch"), show.moment(item.get("at")), item.get("author"), _changes(item), item.get("description"))
        for item in page["items"]
    ]
    show.table(("patch", "at", "by", "changes", "why"), rows)
    if page.get("next_cursor"):
        show.say(f"There are more: --cursor {page['next_cursor']}", "dim")


def _options(description: str, base: int | None, dry_run: bool) -> dict[str, Json]:
    body: dict[str, Json] = {"description": description} if description else {}
    if base is not None:
        body["base_revision"] = base
    return {**body, "dry_run": True} if dry_run else body


def _print(answer: Json, dry_run: bool, as_json: bool) -> None:
    if not isinstance(answer, dict):
        raise CliError("The answer is no patch; is this the address of a Graft API?")
    if as_json:
        show.print_json(answer)
        return
    would = "would be" if dry_run else "is"
    show.say(f"The graph {would} at revision {answer.get('revision')}: {_changes(answer)}.")
    if answer.get("dispatched"):
        show.say(f"Starting at once: {', '.join(answer['dispatched'])}.")
    for warning in answer.get("warnings") or []:
        show.say(f"{warning.get('code')}: {warning.get('message')}", "yellow")


def _changes(answer: dict[str, Json]) -> str:
    signs = {
        "added": "+",
        "removed": "-",
        "changed": "~",
        "edges_added": "+",
        "edges_removed": "-",
        "edges_changed": "~",
    }
    found = [f"{sign}{name}" for member, sign in signs.items() for name in answer.get(member) or []]
    return " ".join(found) or "no node or edge changed"
