"""The hand-worked control-flow cases, run on the engine and compared with the reference interpreter."""

from __future__ import annotations

import pytest

from tests.conformance.playing import play
from tests.simulation import reference
from tests.simulation.agreement import differences
from tests.simulation.small import nodes_of
from tests.simulation.test_reference import CASES

INPUT = {"x": 2, "items": []}


@pytest.mark.parametrize(("document", "behave", "nodes", "more"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_the_engine_ends_as_the_reference_does(harness, document, behave, nodes, more):
    engine = play(harness, document, INPUT, behave)
    wanted = reference.run(document, INPUT, behave)
    assert not differences(engine, wanted, document)


@pytest.mark.parametrize(("document", "behave", "nodes", "more"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_the_engine_ends_as_worked_out_by_hand(harness, document, behave, nodes, more):
    engine = play(harness, document, INPUT, behave)
    wanted = nodes_of(nodes)
    assert {name: engine["nodes"][name] for name in wanted} == wanted
