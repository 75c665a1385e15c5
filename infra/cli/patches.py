"""`graft runs patch|patches|revert|diff`: change the graph of a live run, and see or take back what was changed."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from chalicelib.domain.workflow_diff import workflow_diff
from infra.cli import show
from infra.cli.client import segment
from infra.cli.connect import connect
from infra.cli.documents import read_document
from infra.cli.errors import CliError
from infra.cli.files import document_in
from infra.cli.options import AsJson, Cursor, Token, Url
from infra.cli.runs import RunId
from infra.cli.workflow_diff import lines_of, plan_of

Json = Any
Reason = Annotated[str, typer.Option("--description", "-m", help="Why; kept in the run's history.")]
Base = Annotated[int | None, typer.Option("--base", min=0, help="Only if the graph is at this revision.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]


def patch(
    run_id: RunId,
    file: Annotated[
        str | None, typer.Option("--file", help="JSON Patch operations, JSON or YAML; - reads standard input.")
    ] = None,
    add_node: Annotated[
        str | None, typer.Option("--add-node", metavar="JSON", help="Instead of --file: one node to add.")
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option(metavar="NODE", help="With --add-node: an edge from here; may be repeated.")
    ] = None,
    before: Annotated[
        list[str] | None, typer.Option(metavar="NODE", help="With --add-node: an edge to there; may be repeated.")
    ] = None,
    description: Reason = "",
    base: Base = None,
    dry_run: DryRun = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Change the graph of a live run."""
    given = _given(file, add_node, after or [], before or [])
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
    cursor: Cursor = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List what was changed, by whom, why."""
    page = connect(url, token).get(f"/runs/{segment(run_id)}/patches", limit=limit, cursor=cursor)
    show.page(page, ("patch", "at", "by", "changes", "why"), _row, as_json=as_json)


def _row(item: dict[str, Json]) -> tuple[Json, ...]:
    made = (show.moment(item.get("at")), item.get("author"))
    return (item.get("patch"), *made, _changes(item), item.get("description"))


def diff(
    run_id: RunId,
    old: Annotated[int, typer.Option("--from", min=0, help="A revision; 0 is the start.")] = 0,
    new: Annotated[int | None, typer.Option("--to", min=0, help="Another one; by default the present one.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say how the run's graph differs between two revisions."""
    api, path = connect(url, token), f"/runs/{segment(run_id)}/workflow"
    before, now = document_in(api.get(path, revision=old)), document_in(api.get(path, revision=new))
    found = {"run_id": run_id, "from": old, "to": new, **workflow_diff(plan_of(before), plan_of(now))}
    if as_json:
        show.print_json(found)
        return
    show.say(f"{run_id}: from revision {old} to {'now' if new is None else new}", "bold")
    for line in list(lines_of(found)) or [show.clean("Nothing differs.")]:
        show.out().print(line)


def _given(file: str | None, add_node: str | None, after: list[str], before: list[str]) -> Json:
    """The operations of the file, or those that add one node with its edges."""
    if (file is None) == (add_node is None):
        raise CliError("Pass --file with operations, or --add-node with a node.")
    if file is not None:
        return read_document(file)
    try:
        node = json.loads(add_node or "")
    except ValueError as error:
        raise CliError(f"--add-node is not JSON: {error}.") from None
    if not isinstance(node, dict) or not isinstance(node.get("id"), str):
        raise CliError('--add-node takes a node such as {"id": "x", "type": "pass"}.')
    edges = [{"from": name, "to": node["id"]} for name in after] + [{"from": node["id"], "to": name} for name in before]
    adds = [("/nodes/-", node), *(("/edges/-", edge) for edge in edges)]
    return [{"op": "add", "path": path, "value": value} for path, value in adds]


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
