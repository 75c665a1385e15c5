"""The storm's judge sees what it must see: a judge that finds nothing proves nothing."""

from __future__ import annotations

import json
import random
from collections import Counter
from types import SimpleNamespace

import pytest

from chalicelib.domain.journal import parse_item
from infra.chaos import judge
from infra.chaos.cases import EXAMPLES, LEFT_OUT, Case, all_cases, mix
from infra.chaos.client import Answers
from infra.chaos.judge import Verdict, settlements
from infra.chaos.killer import Kill
from infra.chaos.report import tell
from infra.chaos.storm import Plan, Started, Storm

CASE = Case("abc", {}, {}, "COMPLETED", {"output": {"n": 1}}, nodes={"a": {"attempts": 1}})
ENDED = {"status": "COMPLETED", "output": {"n": 1}, "error": None, "nodes": {"a": {"attempts": 1}}}
VERIFIED = {"ok": True, "differences": [], "store": "compared"}


def item(no: int, at: int = 1_700_000_000_000, **body):
    head = {"no": no, "id": f"c{no}", "seq": no, "n": 1, "prev": [no - 1, ""], "out": {}}
    return parse_item(json.dumps({**head, "c": {"at": at, **body}}))


ITEMS = [item(1), item(2, settle=["a@#0.1", "COMPLETED", ""]), item(3, settle=["$end@#2.0", "COMPLETED", ""], final=1)]


def storm(*runs: Started, kills=(), seen=None, answers=None) -> Storm:
    return Storm(Plan(), list(runs), answers or Answers(), list(kills), seen or {})


def found(run: Started, items=ITEMS) -> list[str]:
    verdict = Verdict(storm(run))
    judge._run(verdict, run, items)
    return verdict.breaches


def run(**changes) -> Started:
    return Started(CASE, "r1", **{"ended": ENDED, "verified": VERIFIED, **changes})


def test_a_run_that_is_as_it_must_be_has_no_breach():
    assert found(run()) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ended": {**ENDED, "output": {"n": 2}}}, 'output is {"n": 2} and must be {"n": 1}'),
        ({"ended": {**ENDED, "status": "FAILED"}}, 'status is "FAILED"'),
        ({"ended": {**ENDED, "nodes": {}}}, "nodes/a/attempts is null"),
        ({"verified": {**VERIFIED, "ok": False, "differences": ["seq_gap"]}}, "does not verify"),
        ({"ended": None, "trouble": ["it has not ended"]}, "it has not ended"),
    ],
)
def test_a_run_that_is_not_as_it_must_be_is_named(changed, said):
    [text] = found(run(**changed))
    assert "run r1 of abc" in text and said in text


def test_an_execution_that_was_settled_twice_is_named_and_a_retry_is_not():
    retried = item(2, settle=["a@#0.1", "RETRIED", ""])
    again = item(4, settle=["a@#0.2", "COMPLETED", ""])
    assert settlements([retried, again]) == Counter({("a", "", 0): 1})
    [text] = found(run(), [*ITEMS[:2], again, ITEMS[2]])
    assert "a in its only scope, epoch 0, was settled 2 times" in text
    assert "2 ends" in found(run(), [*ITEMS, item(4, final=1)])[0]


def test_iterations_and_epochs_are_executions_of_their_own():
    tokens = ["a@l=1#0.1", "a@l=2#0.1", "a@l=2#1.1"]
    items = [item(no, settle=[token, "COMPLETED", ""]) for no, token in enumerate(tokens, 1)]
    assert set(settlements(items).values()) == {1} and len(settlements(items)) == 3


def test_a_storm_that_cut_off_no_commit_has_failed():
    for cut, breaches in (((), 1), (("r1",), 0)):
        verdict = Verdict(storm(run(), kills=[Kill(1_700_000_000.5, "pollers", 7, cut, 1)]))
        judge._kills(verdict, {"r1": ITEMS})
        assert len(verdict.breaches) == breaches and verdict.near == [1]
    assert "unfinished commits cut off: 1" in tell(verdict)


def test_an_event_that_was_shown_and_taken_back_is_named():
    event = {"seq": 2, "at": "2023-11-14T22:13:20.000Z", "type": "node_completed"}
    for seen, breaches in (
        ({("r1", 2): event}, 0),
        ({("r1", 9): event}, 1),
        ({("r1", 2): {**event, "at": "…20.001Z"}}, 1),
    ):
        verdict = Verdict(storm(run(), seen=seen))
        judge._feeds(verdict, {"r1": ITEMS})
        assert len(verdict.breaches) == breaches


@pytest.mark.parametrize(
    ("status", "retry_after", "took_s", "breaches"),
    [
        (200, None, 1, 0),
        (503, "1", 1, 0),
        (503, None, 1, 1),
        (429, None, 1, 1),
        (500, None, 1, 1),
        (502, "1", 1, 1),
        (200, None, 30, 1),
    ],
)
def test_an_answer_that_nobody_may_get_is_a_breach(status, retry_after, took_s, breaches):
    answers = Answers()
    answers.note("GET /runs/r1", status, retry_after, took_s, b"{}")
    assert len(answers.breaches) == breaches and answers.statuses == Counter({status: 1})


def test_only_a_kill_of_the_api_excuses_a_broken_connection():
    answers = Answers()
    answers.broke("GET /runs/r1", 100.0, ConnectionResetError("reset"))
    answers.broken[0] = SimpleNamespace(begun=100.0, ended=101.0, call="GET /runs/r1", error="reset")
    assert answers.unexcused([100.5]) == [] and answers.unexcused([101.4]) == []
    assert len(answers.unexcused([])) == len(answers.unexcused([98.0, 103.0])) == 1


def test_the_time_from_a_loss_of_redis_to_the_rebuilt_run_is_told():
    rebuilt = item(4, at=1_700_000_002_000, ev='[{"t":"run_rebuilt"}]')
    kills = [Kill(1_700_000_000.5, "redis", 7, ("r1",), 1), Kill(1_700_000_001.9, "api", 8, (), 1)]
    verdict = Verdict(storm(run(), kills=kills))
    judge._recoveries(verdict, {"r1": [*ITEMS, rebuilt]})
    assert (verdict.rebuilds, verdict.recoveries) == (1, [(1.5, "r1 abc")])


def test_every_example_is_part_of_a_storm():
    cases = all_cases(8000)
    drawn = mix(cases, 200, random.Random(1))
    assert len(drawn) == 200 and {case.name for case in drawn} == {case.name for case in cases}
    assert {path.parent.name for path in EXAMPLES.glob("*/workflow.*")} - LEFT_OUT <= {case.name for case in cases}
    assert len(mix(cases, 3, random.Random(1))) == 3
