"""The hand-worked control-flow cases, run on the engine and compared with the reference interpreter."""

from __future__ import annotations

import pytest

from tests.conformance.playing import play
from tests.simulation import reference
from tests.simulation.agreement import differences
from tests.simulation.test_reference import CASES

INPUT = {"x": 2, "items": []}
#: Cases in which the engine is known to be wrong, and what it does instead.
WRONG = {
    "not a loser with another way": "a loser that was skipped before it began is started by a source that is no loser",
    "fail_fast keeps always": "the edges of cancelled nodes stay open, so a join behind the always edge never runs",
}


def cases() -> list:
    marks = {name: pytest.mark.xfail(strict=True, reason=reason) for name, reason in WRONG.items()}
    return [pytest.param(*case[1:3], id=case[0], marks=marks.get(case[0], ())) for case in CASES]


@pytest.mark.parametrize(("document", "behave"), cases())
def test_the_engine_ends_as_the_reference_does(harness, document, behave):
    engine = play(harness, document, INPUT, behave)
    wanted = reference.run(document, INPUT, behave)
    assert differences(engine, wanted, document) == []
