"""Every test that the guarantees and patching pages name exists; every promise, hazard and rule names some."""

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
    assert len(named) > 100
    assert sorted(set(named) - existing()) == []


def test_every_promise_names_tests() -> None:
    sections = PAGE.split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections if "`test_" not in section] == []


#: Hazards of the design, by number.
HAZARDS = range(1, 43)


def rows() -> dict[int, list[str]]:
    """The tests that the table of hazards names, by the hazard's number."""
    table = PAGE.split("\n## Hazards\n")[1]
    found = re.findall(r"^\| (\d+) \| .+ \| .+ \|(.*)\|$", table, re.MULTILINE)
    return {int(number): re.findall(r"`(test_\w+)`", tests) for number, tests in found}


def test_every_hazard_has_a_row_and_every_row_names_all_tests_of_its_number() -> None:
    assert list(rows()) == list(HAZARDS)
    for number, named in rows().items():
        there = {name for name in existing() if name.startswith(f"test_{number}_")}
        assert set(named) >= there, f"row {number} does not name {sorted(there - set(named))}"


def test_a_hazard_without_tests_says_that_its_part_is_not_there_yet() -> None:
    open_ = [number for number, named in rows().items() if not named]
    assert open_ == [int(n) for n in re.findall(r"^\| (\d+) \|.*not there yet\. \| +\|$", PAGE, re.MULTILINE)]


PATCHING = (ROOT / "docs" / "patching.md").read_text()


def test_every_rule_of_patching_names_tests_that_exist() -> None:
    table = PATCHING.split("\n## The rules and their tests\n")[1].split("\n## ")[0]
    rules = re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE)[1:]
    assert len(rules) > 50
    assert [rule for rule, tests in rules if not re.findall(r"`test_\w+`", tests)] == []
    assert sorted(set(re.findall(r"`(test_\w+)`", table)) - existing()) == []
