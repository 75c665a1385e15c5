"""What the reference makes of people and events, against ends known by hand, and that no order changes them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.simulation import generate_kinds
from tests.simulation.drawn import SimulatedRun
from tests.simulation.family import Family
from tests.simulation.generate import behaviour, run_input, workflow
from tests.simulation.generate_people import add_crowd, add_event, add_human
from tests.simulation.opinions import event_name, payload, votes
from tests.simulation.reference import run
from tests.simulation.reference_people import Foreseen, by_votes, verdict, without_people
from tests.simulation.reference_state import Unit
from tests.simulation.small import doc, loop, workers
from tests.simulation.unsaid import with_unsaid

THREE = {"approvers": ["ann", "bob", "cy"], "quorum": 2}
# (config, votes in their order, what they come to)
VERDICTS: list[tuple[dict[str, Any], list[bool], bool | None]] = [
    ({}, [], None),
    ({}, [True], True),
    ({}, [False, True], False),
    ({"quorum": 2}, [True], None),
    ({"quorum": 2}, [True, False, True], False),
    (THREE, [False], None),
    (THREE, [False, False], False),
    (THREE, [False, True, True], True),
    ({"approvers": ["ann"]}, [False], False),
]
# (on_reject, on_timeout, votes in their order, status, output or error type)
ENDS: list[tuple[str | None, str | None, list[bool], str, Any]] = [
    (None, None, [True, True], "completed", {"approved": True}),
    (None, None, [False, False], "failed", "Rejected"),
    ("continue", None, [False, False], "completed", {"approved": False}),
    (None, None, [True], "failed", "Timeout"),
    (None, "approve", [False], "completed", {"approved": True}),
    (None, "reject", [True], "failed", "Rejected"),
    ("continue", "reject", [], "completed", {"approved": False}),
]


@pytest.mark.parametrize(("config", "cast", "wanted"), VERDICTS)
def test_a_verdict_stands_as_soon_as_it_is_sure(config: dict[str, Any], cast: list[bool], wanted: bool | None) -> None:
    assert verdict(config, cast) is wanted
    assert wanted is None or verdict(config, [*cast, not wanted]) is wanted


@pytest.mark.parametrize(("on_reject", "on_timeout", "cast", "status", "wanted"), ENDS)
def test_votes_and_policies_come_to(
    on_reject: str | None, on_timeout: str | None, cast: list[bool], status: str, wanted: Any
) -> None:
    policies = {"on_reject": on_reject, "on_timeout": on_timeout}
    found = by_votes({**THREE, **{name: policy for name, policy in policies.items() if policy}}, cast)
    assert (found.status, found.output if status == "completed" else found.error) == (status, wanted)
    assert status == "completed" or found.retryable == (wanted == "Timeout")


def human(unsaid: float = 0.0, yes: float = 1.0, **config: Any) -> dict[str, Any]:
    plan = {"people": {"seed": 1, "yes": yes, "unsaid": unsaid, "mixed": False}}
    return {"id": "h", "type": "human", "config": {"message": "?", **config}, "metadata": {"sim": plan}}


@pytest.mark.parametrize("config", [{}, {"quorum": 2}, THREE, {"approvers": ["ann"]}])
@pytest.mark.parametrize("unsaid", [0.0, 1.0])
def test_what_people_say_decides_an_execution_in_every_order_or_in_none(config: dict[str, Any], unsaid: float) -> None:
    for iteration in range(40):
        cast = votes(human(unsaid, 0.5, **config), (("L", iteration),), 1)
        assert set(cast) <= set(config.get("approvers", cast))
        seen = set()
        for seed in range(6):
            order = list(cast.values())
            random.Random(seed).shuffle(order)
            seen.add(verdict(config, order))
        assert len(seen) == 1 and (None in seen) == bool(unsaid), cast


def event(name: str = "e", most: int | None = None, same: bool = False) -> dict[str, Any]:
    mail = {"most": most, "same": same, "loose": most is not None}
    return {"type": "event", "config": {"name": name}, "metadata": {"sim": {"mail": mail}}}


def test_each_iteration_takes_the_next_event_as_long_as_there_are_some() -> None:
    document = doc("e>L", {"e": event("e-${input.x}", most=2), "L": loop("e", "iteration < 3")})
    result = run(document, {"x": 4}, workers())
    assert event_name(document["nodes"][0], {"x": 4}) == "e-4"
    assert (result.status, result.error) == ("FAILED", {"type": "Timeout", "node_id": "e"})
    endless = run(doc("e>L", {"e": event(), "L": loop("e", "iteration < 3")}, output="${ctx.e.output}"), {}, workers())
    assert (endless.status, endless.output) == ("COMPLETED", payload("e", 3))


def test_an_execution_that_people_reject_fails_at_once_and_one_whose_time_is_up_is_tried_again() -> None:
    node = {**human(1.0), "retry": {"max_attempts": 2}}
    assert run(doc("h", {"h": node}), {}, workers()).executions == {
        ("h", (), 1, "FAILED"): 1,
        ("h", (), 2, "FAILED"): 1,
    }
    rejected = run(doc("h", {"h": {**node, **human(0.0, 0.0)}}), {}, workers())
    assert rejected.executions == {("h", (), 1, "FAILED"): 1}


def test_events_of_one_content_are_the_same_for_whoever_takes_them() -> None:
    gives = Foreseen()
    units = [Unit("e", (("L", n),), 1, {}, {"name": "e"}) for n in (2, 1)]
    assert [gives({**event(same=True), "id": "e"}, unit).output for unit in units] == [payload("e", 1, same=True)] * 2


def test_who_came_first_is_left_out_wherever_it_stands() -> None:
    said = {"approved": True, "by": "ann", "comment": None, "data": None, "decisions": []}
    assert without_people({"a": [said, 1], "approved": said}) == {
        "a": [{"approved": True}, 1],
        "approved": {"approved": True},
    }


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_documents_with_people_and_events_end_the_same_under_every_schedule(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    met, family = 0, Family.drawn(1)
    monkeypatch.setattr(generate_kinds, "KINDS", (add_human, add_event, add_crowd))
    for seed in range(first, first + 50):
        rng = random.Random(seed)
        document = workflow(rng, mixed=True)
        drawn = SimulatedRun("r", document, run_input(rng, document), behaviour(rng, document), ())
        made = with_unsaid(drawn, rng, racing=False)
        wanted = run(document, made.input, made.behave, calls=family.anyone())
        met += any(node["type"] in ("human", "hitl", "event") for node in document["nodes"])
        for schedule in range(8):
            found = run(document, made.input, made.behave, random.Random(schedule), calls=family.anyone())
            assert found.agreed() == wanted.agreed(), f"seed {seed}, schedule {schedule}"
    assert met > 20
