"""`graft runs redrive|rerun|skip|fork|rollback`: run a part of a run again, go on in another run, or undo it."""

from __future__ import annotations

import json
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
NodeId = Annotated[str, typer.Argument(metavar="NODE", help="A node's id.")]


def redrive(run_id: RunId, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Run again what failed, timed out or was cancelled, and all behind it."""
    _say(connect(url, token).post(f"/runs/{segment(run_id)}/redrive", {}), as_json)


def rollback(run_id: RunId, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Undo what the run has completed, newest first; it ends FAILED."""
    _say(connect(url, token).post(f"/runs/{segment(run_id)}/rollback", {}), as_json)


def rerun(run_id: RunId, node_id: NodeId, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Run a node, and all behind it, again."""
    _say(connect(url, token).post(f"/runs/{segment(run_id)}/nodes/{segment(node_id)}/rerun", {}), as_json)


def skip(
    run_id: RunId,
    node_id: NodeId,
    output: Annotated[str, typer.Option(metavar="JSON", help="The substitute output.")] = "null",
    job_id: Annotated[str | None, typer.Option(help="Which execution, where several are open.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Settle a waiting, running or failed node with a substitute output."""
    body: dict[str, Json] = {"output": _json("--output", output)}
    if job_id is not None:
        body["job_id"] = job_id
    _say(connect(url, token).post(f"/runs/{segment(run_id)}/nodes/{segment(node_id)}/skip", body), as_json)


def fork(
    run_id: RunId,
    from_seq: Annotated[int | None, typer.Option(min=1, help="Take over what happened up to this event.")] = None,
    from_node: Annotated[str | None, typer.Option(help="Or: up to where this node first began.")] = None,
    input_: Annotated[str | None, typer.Option("--input", metavar="JSON", help="Another input.")] = None,
    file: Annotated[str | None, typer.Option("--file", help="A patch of the fork: JSON Patch operations.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Start a new run from a point of this one."""
    if (from_seq is None) == (from_node is None):
        raise CliError("Pass one of --from-seq and --from-node.")
    body: dict[str, Json] = {"from_seq": from_seq} if from_node is None else {"from_node": from_node}
    if input_ is not None:
        body["input"] = _json("--input", input_)
    if file is not None:
        body["operations"] = read_document(file)
    _say(connect(url, token).post(f"/runs/{segment(run_id)}/fork", body), as_json)


def _json(option: str, text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CliError(f"{option} is not JSON: {error}.") from None


def _say(run: Json, as_json: bool) -> None:
    if as_json:
        show.print_json(run)
    else:
        show.say(f"Run {run.get('run_id')} is {run.get('status')}.")
