"""Prints answers: tables and sentences for people, JSON for programs."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.cli.errors import CliError

Json = Any

#: Status -> style; also the console's own legend.
STYLES = {
    "PENDING": "dim",
    "RUNNING": "bold blue",
    "WAITING": "yellow",
    "RETRYING": "dark_orange",
    "PAUSED": "yellow",
    "COMPLETED": "green",
    "FAILED": "bold red",
    "TIMED_OUT": "bold red",
    "SKIPPED": "dim",
    "CANCELLED": "dim",
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def out() -> Console:
    """The console on standard output."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def say(text: str, style: str = "") -> None:
    """Print one paragraph."""
    out().print(clean(text), style=style)


def clean(value: Json, style: str = "") -> Text:
    """Text of a value from elsewhere, with nothing in it that could steer the terminal."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text), style=style)


def status(value: Json) -> Text:
    """A status in its colour."""
    return clean(value, STYLES.get(str(value), ""))


def print_json(value: Json) -> None:
    """Print a value as JSON: indented for people, one line for programs."""
    people = sys.stdout.isatty()
    print(json.dumps(value, indent=2 if people else None, ensure_ascii=not people))


def table(columns: Sequence[str], rows: Sequence[Sequence[Json]]) -> None:
    """Print rows under columns; cells are Text or values."""
    shown = Table(box=None, header_style="bold dim", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*[cell if isinstance(cell, Text) else clean(cell) for cell in row])
    out().print(shown)


def page(
    found: Mapping[str, Json], columns: Sequence[str], row: Callable[[Json], Sequence[Json]], *, as_json: bool
) -> None:
    """Print a page of a list: as it is, or a row for each item, and how to go on."""
    if as_json:
        print_json(found)
        return
    table(columns, [row(item) for item in found["items"]])
    if found.get("next_cursor"):
        say(f"There are more: --cursor {shlex.quote(found['next_cursor'])}", "dim")


def value(label: str, content: Json) -> None:
    """Print a labelled JSON value, indented."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    out().print(Text(f"{label}: ", style="bold dim") + clean_lines(text))


def clean_lines(text: str) -> Text:
    """As `clean`, keeping line ends."""
    return Text("\n").join(clean(line) for line in text.split("\n"))


def moment(text: Json) -> str:
    """An RFC 3339 time as the local clock shows it."""
    found = parse_time(text)
    return "" if found is None else found.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def parse_time(text: Json) -> datetime | None:
    """The time an answer names; None where there is none."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else None


def error_json(error: CliError) -> None:
    """The error as JSON on standard error."""
    print(json.dumps(error.as_json()), file=sys.stderr)


def error_text(error: CliError) -> None:
    """The error as sentences on standard error: what, and each finding with code, path and message."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text("Error: ", style="bold red") + clean_lines(error.message))
    for problem in error.problems:
        console.print(problem_line(problem, "red"))


def problem_line(problem: Mapping[str, Json], style: str) -> Text:
    """One finding on a line: where, what, and the way out."""
    where = clean(problem.get("path") or "/", "bold")
    code = clean(f"  {problem.get('code', '')}  ", style)
    return Text("  ") + where + code + clean(problem.get("message"))
