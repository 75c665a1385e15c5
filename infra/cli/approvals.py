"""`graft approvals list|approve|reject|link` and `graft runs signal`: what people and other programs tell a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.client import segment
from infra.cli.connect import connect
from infra.cli.documents import read_json_option
from infra.cli.options import AsJson, Cursor, Token, Url
from infra.cli.redo import NodeId
from infra.cli.runs import RunId

Json = Any
app = typer.Typer(no_args_is_help=True, help="What waits for people, and their decisions.")
Comment = Annotated[str | None, typer.Option(help="Why.")]
Data = Annotated[str | None, typer.Option(metavar="JSON|@FILE", help="What the node's form asks for.")]
JobId = Annotated[str | None, typer.Option(help="Which of several executions of the node that wait.")]


@app.command("list")
def list_approvals(
    mine: Annotated[bool, typer.Option("--mine", help="Only what you may still decide.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    cursor: Cursor = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List what waits for people, the oldest first."""
    page = connect(url, token).get("/approvals", mine="true" if mine else None, limit=limit, cursor=cursor)
    columns = ("run", "node", "since", "until", "approvals", "by", "message")
    show.page(page, columns, _row, as_json=as_json)


def _row(item: dict[str, Json]) -> tuple[Json, ...]:
    given = sum(bool(vote.get("approved")) for vote in item.get("decisions") or [])
    loops = ", ".join(f"{name} {count}" for name, count in (item.get("loops") or {}).items())
    node = f"{item.get('node_id')} ({loops})" if loops else item.get("node_id")
    times = (show.moment(item.get("since")), show.moment(item.get("expires_at")))
    by = ", ".join(item.get("approvers") or ["anybody"])
    return (item.get("run_id"), node, *times, f"{given} of {item.get('quorum')}", by, item.get("message"))


def _decision(*, approved: bool) -> Callable[..., None]:
    """The command that approves, or rejects."""

    def decide(
        run_id: RunId,
        node_id: NodeId,
        comment: Comment = None,
        data: Data = None,
        job_id: JobId = None,
        url: Url = None,
        token: Token = None,
        as_json: AsJson = False,
    ) -> None:
        body = {"approved": approved, "comment": comment, "data": read_json_option("--data", data), "job_id": job_id}
        given = {name: value for name, value in body.items() if value is not None}
        answer = connect(url, token).post(f"/runs/{segment(run_id)}/nodes/{segment(node_id)}/decision", given)
        if as_json:
            show.print_json(answer)
            return
        verb = "Approved" if answer.get("approved") else "Rejected"
        more = "the run goes on." if answer.get("decided") else "others have to decide as well."
        show.say(f"{verb}: {more}")

    return decide


app.command("approve", help="Approve what a node asks.")(_decision(approved=True))
app.command("reject", help="Reject what a node asks.")(_decision(approved=False))


@app.command("link")
def link(
    run_id: RunId,
    node_id: NodeId,
    person: Annotated[str | None, typer.Option("--for", help="Whose decision it will be; yours by default.")] = None,
    ttl_s: Annotated[int | None, typer.Option(min=60, help="Seconds until they expire; a week by default.")] = None,
    job_id: JobId = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make links by which one person decides in a browser without a token. Whoever has a link can use it."""
    given = {"for": person, "ttl_s": ttl_s, "job_id": job_id}
    body = {name: value for name, value in given.items() if value is not None}
    answer = connect(url, token).post(f"/runs/{segment(run_id)}/nodes/{segment(node_id)}/links", body)
    if as_json:
        show.print_json(answer)
        return
    for name in ("approve", "reject"):
        print(f"{name}: {show.clean(answer.get(name)).plain}")
    show.say(f"For {answer.get('for')}, until {show.moment(answer.get('expires_at'))}.", "dim")


def signal(
    run_id: RunId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The event's name.")],
    payload: Annotated[str | None, typer.Option(metavar="JSON|@FILE", help="What the event carries.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send an event to a run. It is kept until an event node of that name takes it."""
    body = read_json_option("--payload", payload)
    answer = connect(url, token).post(f"/runs/{segment(run_id)}/signals/{segment(name)}", body)
    if as_json:
        show.print_json(answer)
    else:
        show.say(f"Event {answer.get('number')} of the name {answer.get('name')} is kept.")
