"""Every test that the page of guarantees names exists, and every promise names some."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()


def existing() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found |= set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE))
    return found


def test_every_test_on_the_page_exists() -> None:
    named = re.findall(r"`(test_\w+)`", PAGE)
    assert len(named) > 30
    assert sorted(set(named) - existing()) == []


def test_every_promise_names_tests() -> None:
    sections = PAGE.split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections if "`test_" not in section] == []
