"""The 43 workflow control-flow patterns on the engine: what is claimed is shown, and the page says the same."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from chalicelib.domain.compiler import check
from chalicelib.domain.limits import Limits
from tests.conformance.patterns.model import Pattern, Refused, Show
from tests.conformance.patterns.page import PAGE, page
from tests.conformance.patterns.table import TABLE
from tests.conformance.playing import moments, play
from tests.simulation.small import nodes_of, runs_of


def shown(kind: type) -> list:
    return [
        pytest.param(show, id=f"WCP-{pattern.number} {show.title}")
        for pattern in TABLE
        for show in pattern.shows
        if isinstance(show, kind)
    ]


@pytest.mark.parametrize("show", shown(Show))
def test_the_run_behaves_as_the_pattern_asks(harness, show: Show):
    outside = {"cancel": show.cancel, "early": show.early, "later": show.later}
    engine = play(harness, show.document, show.input, show.behave, **outside)
    wanted = nodes_of(show.nodes)
    assert {name: engine["nodes"][name] for name in wanted} == wanted
    for name, value in show.more.items():
        got = runs_of(SimpleNamespace(**engine), name) if name in engine["nodes"] else engine[name]
        assert got == value, name
    for word in show.order.split():
        assert holds(word, *moments(harness)), word


def holds(word: str, began: dict[str, int], ended: dict[str, int]) -> bool:
    """Whether `a<b`, `a<b$` or `a~b` is true of these moments."""
    if "~" in word:
        one, other = word.split("~")
        return max(began[one], began[other]) < min(ended[one], ended[other])
    first, second = word.removesuffix("$").split("<")
    return ended[first] < (ended if word.endswith("$") else began)[second]


@pytest.mark.parametrize("refused", shown(Refused))
def test_what_is_not_supported_is_refused(refused: Refused):
    plan, problems, _ = check(refused.document, limits=Limits())
    assert plan is None
    assert {problem.code for problem in problems} == set(refused.codes)


def test_the_table_has_every_pattern_once():
    assert [pattern.number for pattern in TABLE] == list(range(1, 44))
    assert len({pattern.name for pattern in TABLE}) == 43


@pytest.mark.parametrize("pattern", TABLE, ids=lambda pattern: f"WCP-{pattern.number}")
def test_nothing_is_claimed_without_a_run_that_shows_it(pattern: Pattern):
    runs = [show for show in pattern.shows if isinstance(show, Show)]
    assert bool(runs) == (pattern.verdict != "not supported")
    assert pattern.why.endswith(".")


def test_the_page_says_what_the_table_says():
    """Mend it with `python -m tests.conformance.patterns.page`."""
    assert PAGE.read_text(encoding="utf-8") == page(TABLE)
