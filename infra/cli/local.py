"""`graft local`: the whole of Graft on loopback."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.errors import CliError
from infra.cli.options import AsJson
from infra.local.aws import KINDS
from infra.local.supervisor import DEFAULT_STATE, Options
from infra.local.supervisor import up as run_stack

app = typer.Typer(no_args_is_help=True, help="The whole of Graft on loopback.")


@app.callback()
def local() -> None:
    """The whole of Graft on loopback: no Docker, no account."""


@app.command("up")
def up(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The API's port; by default a free one.")] = None,
    state: Annotated[Path, typer.Option(help="Where the ready line is kept.")] = DEFAULT_STATE,
    aws: Annotated[str, typer.Option(help=f"The stand-in for AWS: {', '.join(KINDS)}.")] = "ministack",
    as_json: AsJson = False,
) -> None:
    """Start everything, print one JSON line when it serves, and run until Ctrl-C."""
    if aws not in KINDS:
        raise CliError(f"--aws must be one of {', '.join(KINDS)}, not {aws!r}.")
    if sys.stderr.isatty() and not as_json:
        print("Starting; Ctrl-C stops everything.", file=sys.stderr)
    raise typer.Exit(run_stack(Options(port=port, state=state, aws=aws)))
