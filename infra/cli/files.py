"""`graft validate`, `graft schema` and `graft draw`: what needs a document rather than a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from chalicelib.domain.compiler import check
from chalicelib.domain.editor_schema import document_schema
from chalicelib.domain.limits import Limits
from infra.cli import show
from infra.cli.client import Api, segment
from infra.cli.connect import connect
from infra.cli.documents import SUFFIXES, read_document
from infra.cli.errors import OK, USAGE, CliError
from infra.cli.history import patches_of
from infra.cli.options import AsJson, Token, Url
from infra.draw import draw as draw_svg

Json = Any


def validate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A workflow, JSON or YAML; - reads standard input.")],
    as_json: AsJson = False,
) -> None:
    """Say everything that is wrong with a workflow. Needs no server."""
    plan, problems, warnings = check(read_document(file), limits=Limits(), handlers=_is_handler)
    if as_json:
        found = {"errors": problems, "warnings": warnings}
        listed = {name: [item.as_json() for item in items] for name, items in found.items()}
        show.print_json({"valid": plan is not None, **listed})
    else:
        for problem in problems:
            show.out().print(show.problem_line(problem.as_json(), "red"))
        for warning in warnings:
            show.out().print(show.problem_line(warning.as_json(), "yellow"))
        if plan is not None:
            show.say(f"{file} compiles: {_many(len(plan.nodes), 'node')}, {_many(len(plan.edges), 'edge')}.", "green")
        else:
            show.say(f"{file} does not compile: {_many(len(problems), 'problem')}.", "red")
    raise typer.Exit(OK if plan is not None else USAGE)


def schema(as_json: AsJson = False) -> None:
    """Print the JSON Schema of workflow documents, for editors."""
    show.print_json(document_schema())


def draw(
    what: Annotated[str, typer.Argument(metavar="FILE|RUN", help="A workflow file, or a run's id.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to; by default standard output.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Draw a workflow, or a run with its states and what patches did to it, as SVG."""
    document, run, marks = _picture_of(what, url, token)
    if not isinstance(document, dict):
        raise CliError(f"{what} is no workflow: a workflow is an object with nodes and edges.")
    svg = draw_svg(document, run, diff=marks)
    if output is not None:
        write(output, svg)
    if as_json:
        show.print_json({"path": str(output)} if output is not None else {"svg": svg})
    elif output is None:
        print(svg, end="")
    else:
        show.say(f"Drawn to {output}.")


def _picture_of(what: str, url: str | None, token: str | None) -> tuple[Json, Json, Json]:
    """(document, run or None, marks of patches or None)."""
    if what == "-" or what.endswith(SUFFIXES) or Path(what).is_file():
        return read_document(what), None, None
    api = connect(url, token)
    answer, run = api.get(f"/runs/{segment(what)}/workflow"), api.get(f"/runs/{segment(what)}")
    return document_in(answer), run, marks(api, what) if run.get("revision") else None


def marks(api: Api, run_id: str) -> dict[str, list[str]]:
    """What the run's patches have added and changed, taken together; what was removed again is gone."""
    added: set[str] = set()
    changed: set[str] = set()
    removed: set[str] = set()
    for patch in patches_of(api, run_id):
        fresh = {*patch["added"], *patch["edges_added"]}
        gone = {*patch["removed"], *patch["edges_removed"]}
        added, removed = (added | fresh) - gone, (removed | gone) - fresh
        changed |= {*patch["changed"], *patch["edges_changed"]}
    kept = {"added": added, "changed": changed - added - removed, "removed": removed}
    return {name: sorted(values) for name, values in kept.items()}


def document_in(answer: Json) -> Json:
    """The document in an answer that is it, or holds it under `workflow`."""
    return answer["workflow"] if isinstance(answer, dict) and isinstance(answer.get("workflow"), dict) else answer


def write(path: Path, text: str) -> None:
    """Write a file, and the folders above it. Raises CliError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror or error}.") from None


def _is_handler(name: str) -> bool:
    # Imported late: it runs the user's own modules.
    from chalicelib.functions import HANDLERS  # noqa: PLC0415

    allowed = (word.strip() for word in os.environ.get("GRAFT_LAMBDA_ALLOWLIST", "").split(","))
    return name in HANDLERS or name in allowed


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")
