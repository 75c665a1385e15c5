"""A short storm on a real local stack; `make chaos` is the long one."""

from __future__ import annotations

import pytest

from infra.chaos.judge import Verdict, judge
from infra.chaos.report import tell
from infra.chaos.storm import Plan, run_storm


@pytest.mark.stack
def test_no_kill_of_a_process_or_of_redis_with_its_data_costs_a_run_anything():
    plan = Plan(runs=24, seconds=10, seed=4, every_s=0.6)
    verdict: Verdict = run_storm(plan, judge)
    print(tell(verdict))
    assert verdict.breaches == []
    assert {kill.name.split("-")[0] for kill in verdict.storm.kills} >= {"pollers", "redis"}
    assert sum(verdict.ended.values()) == plan.runs and verdict.rebuilds > 0
