"""`graft dead-letters`: messages that could not be processed, and putting them back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.connect import connect
from infra.cli.errors import CliError
from infra.cli.options import AsJson, Cursor, Token, Url

Json = Any
app = typer.Typer(no_args_is_help=True, help="Messages that could not be processed.")
#: Letters named in one request.
_PART = 100


@app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    cursor: Cursor = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first: why each was given up, and where it comes from."""
    page = connect(url, token).get("/dead-letters", limit=limit, cursor=cursor)
    show.page(page, ("id", "queue", "run", "node", "at", "reason"), _row, as_json=as_json)


def _row(item: dict[str, Json]) -> tuple[Json, ...]:
    origin = item.get("origin") or {}
    ends = (origin.get("run_id"), origin.get("node_id"), show.moment(item.get("at")), item.get("reason"))
    return (item.get("id"), item.get("queue"), *ends)


@app.command("redrive")
def redrive(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Letters to put back.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Put all of them back.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back into their queues."""
    if every == bool(ids):
        raise CliError("Name letters to put back, or pass --all.")
    api = connect(url, token)
    out: dict[str, Json] = {"redriven": [], "kept": [], "more": False}
    bodies: list[dict[str, Json]] = [{"ids": ids[i : i + _PART]} for i in range(0, len(ids), _PART)] if ids else [{}]
    for body in bodies:
        answer = api.post("/dead-letters/redrive", body)
        out["redriven"] += answer["redriven"]
        out["kept"] += answer["kept"]
        out["more"] = answer["more"]
    if as_json:
        show.print_json(out)
        return
    show.say(f"{len(out['redriven'])} put back.")
    if out["kept"]:
        show.say(f"{len(out['kept'])} are kept in part only and cannot be put back: {', '.join(out['kept'])}", "yellow")
    if out["more"]:
        show.say("There are more: say it again.", "dim")
