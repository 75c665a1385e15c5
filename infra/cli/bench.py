"""`graft bench`: what Graft costs on this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from infra.bench import suite
from infra.bench.results import Row, Section
from infra.bench.sizes import FULL, TINY
from infra.cli import show
from infra.cli.errors import CliError
from infra.cli.options import AsJson

Json = Any


def bench(
    parts: Annotated[list[str] | None, typer.Argument(help=f"Some of: {', '.join(suite.PARTS)}. All, if none.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: shows that it works, measures nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure: calls and round trips first, then times, beside the bare calls that cannot be avoided."""
    names = parts or []
    unknown = [name for name in names if name not in suite.PARTS]
    if unknown:
        raise CliError(f"There is no benchmark {', '.join(unknown)}; choose among {', '.join(suite.PARTS)}.")
    found: list[Section] = []
    for section in suite.run(TINY if quick else FULL, names):
        found.append(section)
        if not as_json:
            _tell(section)
    if as_json:
        show.print_json({"sections": [section.as_json() for section in found]})


def _tell(section: Section) -> None:
    """A line a row, never folded: these lines go into files."""
    show.say(section.name, "bold")
    show.say(section.note, "dim")
    rows = [("", "median", "lowest", "highest", "unit", "mark"), *map(_cells, section.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        show.say(f"  {row[0].ljust(widths[0])}  {first}  {'  '.join(rest[:2])}  {row[4].ljust(widths[4])}  {row[5]}")
    show.say("")


def _cells(row: Row) -> tuple[str, ...]:
    bound = "" if row.mark is None else f"{'≥' if row.at_least else '≤'} {_number(row.mark)}"
    kept = {None: "", True: " kept", False: " MISSED"}[row.met]
    return (row.what, _number(row.value), _number(row.low), _number(row.high), row.unit, bound + kept)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.3f}".rstrip("0").rstrip(".")
