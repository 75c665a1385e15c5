"""`graft workflows diff`: what differs between two versions of a workflow, or a version and a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.errors import InvalidDocument
from chalicelib.domain.ir import Plan
from chalicelib.domain.limits import Limits
from chalicelib.domain.workflow_diff import workflow_diff
from infra.cli import show
from infra.cli.client import Api, segment
from infra.cli.connect import connect
from infra.cli.errors import CliError
from infra.cli.options import AsJson, Token, Url

Json = Any


def diff(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The workflow's name.")],
    old: Annotated[str | None, typer.Option("--from", help="A version or tag.")] = None,
    new: Annotated[str | None, typer.Option("--to", help="Another one; by default the latest.")] = None,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Instead of --to: the graph that a run has now.")
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say which nodes, edges and fields differ."""
    if run is None and old is None:
        raise CliError("Pass --from with a version or tag, or --run with the id of a run.")
    if run is not None and new is not None:
        raise CliError("Pass --to or --run, not both.")
    api = connect(url, token)
    if run is None:
        found = api.get(f"/workflows/{segment(name)}/diff", **{"from": old, "to": new})
    else:
        found = _of_run(api, name, old, run)
    if as_json:
        show.print_json(found)
        return
    show.say(f"{name}: from {found['from']} to {found['to']}", "bold")
    lines = list(lines_of(found))
    for line in lines or [show.clean("Nothing differs.")]:
        show.out().print(line)


def _of_run(api: Api, name: str, old: str | None, run: str) -> dict[str, Json]:
    """Compared here: the server compares saved versions only."""
    chosen = {"version": old} if old is not None and old.isdigit() else {"tag": old}
    saved = api.get(f"/workflows/{segment(name)}", **chosen)
    graph = api.get(f"/runs/{segment(run)}/workflow")
    view = {"name": name, "from": saved["version"], "to": run}
    return {**view, **workflow_diff(plan_of(saved["workflow"]), plan_of(graph))}


def plan_of(document: Json) -> Plan:
    """Compile a graph from the server, to compare it. Raises CliError."""
    try:
        return compile_workflow(document, limits=Limits())
    except InvalidDocument as error:
        text = "A graph from the server does not compile here: is this another version of Graft?"
        raise CliError(text, problems=[problem.as_json() for problem in error.problems]) from None


def lines_of(found: dict[str, Json]) -> Iterator[Text]:
    """A semantic diff as lines for people."""
    for what, parts in (("node", found["nodes"]), ("edge", found["edges"])):
        for name in parts["added"]:
            yield show.clean(f"+ {what} {name}", "green")
        for name in parts["removed"]:
            yield show.clean(f"- {what} {name}", "red")
        for item in parts["changed"]:
            yield show.clean(f"~ {what} {item['id']}", "yellow")
            yield from _changes(item["changes"])
        for item in parts.get("moved", ()):
            places = f"behind {_named(item['after'])}, was {_named(item['before'])}"
            yield show.clean(f"> {what} {item['id']}: {places}", "blue")
    if found["document"]:
        yield show.clean("~ document", "yellow")
        yield from _changes(found["document"])


def _changes(changes: list[dict[str, Json]]) -> Iterator[Text]:
    for change in changes:
        yield show.clean(f"    {change['path']}: ") + _side(change, "before") + " -> " + _side(change, "after")


def _side(change: dict[str, Json], side: str) -> Text:
    return show.clean(json.dumps(change[side], ensure_ascii=False)) if side in change else show.clean("none", "dim")


def _named(edges: list[str]) -> str:
    return ", ".join(edges) or "nothing"
