"""Writes docs/workflow-patterns.md from the table: `python -m tests.conformance.patterns.page`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.patterns.model import Pattern
from tests.conformance.patterns.table import TABLE

PAGE = Path(__file__).parents[3] / "docs" / "workflow-patterns.md"

HEAD = """\
# Workflow patterns

The 43 control-flow patterns of van der Aalst, Russell, ter Hofstede and Mulyar, "Workflow Control-Flow Patterns: A
Revised View" (2006), and how far Graft supports each.

- **supported**: runs of the engine show the whole pattern.
- **partly**: runs show a part of it; the note says what is missing.
- **not supported**: the note says why. "Not yet" names the node type that has to be built first.

The column "shown by" lists the runs. Each is a workflow and the end it must come to, in
`tests/conformance/patterns/`; `tests/conformance/test_workflow_patterns.py` runs them on the engine, and holds this
page to the same table.

"""


def page(table: Sequence[Pattern]) -> str:
    """The page's text."""
    count = Counter(pattern.verdict for pattern in table)
    lines = [
        f"{count['supported']} are supported, {count['partly']} partly, {count['not supported']} are not.",
        "",
        "| WCP | pattern | verdict | note | shown by |",
        "|---|---|---|---|---|",
        *(_row(pattern) for pattern in table),
    ]
    return HEAD + "\n".join(lines) + "\n"


def _row(pattern: Pattern) -> str:
    shown = "; ".join(show.title for show in pattern.shows)
    return f"| {pattern.number} | {pattern.name} | {pattern.verdict} | {pattern.why} | {shown} |"


if __name__ == "__main__":
    PAGE.write_text(page(TABLE), encoding="utf-8")
