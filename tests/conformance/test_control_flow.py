"""The hand-worked control-flow cases, run on the engine and compared with the reference interpreter."""

from __future__ import annotations

import pytest

from tests.conformance.playing import play
from tests.simulation import reference
from tests.simulation.agreement import differences
from tests.simulation.test_reference import CASES

INPUT = {"x": 2, "items": []}


@pytest.mark.parametrize(("document", "behave"), [case[1:3] for case in CASES], ids=[case[0] for case in CASES])
def test_the_engine_ends_as_the_reference_does(harness, document, behave):
    engine = play(harness, document, INPUT, behave)
    wanted = reference.run(document, INPUT, behave)
    assert differences(engine, wanted, document) == []
