"""Reads the documentation pages as data: their sections, tables and JSON examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```json(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A JSON block. `kind` is what stands after `json`: `workflow`, `nodes`, or nothing."""

    where: str
    kind: str
    text: str


def examples() -> Iterator[Example]:
    """Every JSON block of every page."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        for block in _BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 1
            yield Example(f"{page.relative_to(DOCS)}:{line}", block["kind"].strip(), block["text"])


def sections(page: str) -> dict[str, str]:
    """The text below each heading of a page, up to the next one."""
    found: dict[str, str] = {}
    heading = ""
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").strip()
            found[heading] = ""
        else:
            found[heading] = found.get(heading, "") + line + "\n"
    return found


def rows(text: str, header: str) -> list[list[str]]:
    """The rows of the tables whose first header cell is `header`, cell by cell."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0].strip() == header:
            inside = True
        elif inside and not cells[0].startswith("---"):
            found.append([cell.strip(" |") for cell in cells])
    return found


def names(text: str, header: str) -> set[str]:
    """The first code span of each row's first cell."""
    return {match[1] for row in rows(text, header) if (match := re.search(r"`([^`]+)`", row[0]))}
