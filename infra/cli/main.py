"""The `graft` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from infra.cli import (
    approvals,
    bench,
    control,
    dead_letters,
    demo,
    files,
    local,
    patches,
    redo,
    runs,
    schedules,
    show,
    tokens,
    workflows,
)
from infra.cli.errors import OK, CliError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Graft: a serverless workflow engine whose runs can be changed while they run.",
)
app.command("run")(runs.run)
app.command("validate")(files.validate)
app.command("draw")(files.draw)
app.command("schema")(files.schema)
app.command("demo")(demo.demo)
app.command("bench")(bench.bench)
for verb in (control.cancel, control.pause, control.resume, control.explain, control.verify):
    runs.app.command(verb.__name__)(verb)
for change in (patches.patch, patches.patches, patches.revert, patches.diff):
    runs.app.command(change.__name__)(change)
for again in (redo.redrive, redo.rerun, redo.skip, redo.fork, redo.rollback):
    runs.app.command(again.__name__)(again)
runs.app.command("signal")(approvals.signal)
app.add_typer(runs.app, name="runs")
app.add_typer(approvals.app, name="approvals")
app.add_typer(workflows.app, name="workflows")
app.add_typer(schedules.app, name="schedules")
app.add_typer(local.app, name="local")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(tokens.app, name="token")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (SPEC 15)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        app(arguments, prog_name="graft")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else OK
    except CliError as error:
        report = show.error_json if "--json" in arguments else show.error_text
        report(error)
        return error.code
    return OK


if __name__ == "__main__":
    sys.exit(main())
