"""Tells the figures of a storm as text."""

from __future__ import annotations

import statistics
from collections import Counter

from infra.chaos.judge import Verdict

#: Breaches that are told; one cause may make many.
MOST = 100


def tell(verdict: Verdict) -> str:
    """Everything, breaches last."""
    lines = [*_runs(verdict), *_kills(verdict), *_recovery(verdict), *_answers(verdict)]
    lines += ["", f"{len(verdict.breaches)} breaches" if verdict.breaches else "no breach"]
    return "\n".join([*lines, *(f"  {text}" for text in verdict.breaches[:MOST])])


def _runs(verdict: Verdict) -> list[str]:
    storm = verdict.storm
    ended = [f"  {count:4d}  {name} {status}" for (name, status), count in sorted(verdict.ended.items())]
    verified = sum(bool(run.verified and run.verified["ok"]) for run in storm.runs)
    return [
        f"seed {storm.plan.seed}: {storm.plan.seconds:.0f} s of kills, {storm.took_s:.0f} s until the last run's end",
        "",
        f"runs: {sum(bool(run.run_id) for run in storm.runs)} of {len(storm.runs)} started, "
        f"{sum(verdict.ended.values())} ended, {verified} verified, {verdict.compared} of them against Redis",
        *ended,
        "",
    ]


def _kills(verdict: Verdict) -> list[str]:
    kills = verdict.storm.kills
    began = min((kill.at for kill in kills), default=0.0)
    lines = ["kills           at s      pid   live runs   with a commit within 1 s   unfinished commit cut off"]
    for kill, near in zip(kills, verdict.near, strict=True):
        cut = f"{len(kill.cut):5d}  {' '.join(kill.cut[:2])}".rstrip()
        lines.append(f"  {kill.name:<11}{kill.at - began:7.2f}  {kill.pid:7d}   {kill.live:9d}   {near:24d}   {cut}")
    by_name = Counter(kill.name for kill in kills)
    lines.append(f"  {len(kills)} in all: " + ", ".join(f"{name} {count}" for name, count in sorted(by_name.items())))
    lines.append(f"  unfinished commits cut off: {sum(len(kill.cut) for kill in kills)}")
    return lines


def _recovery(verdict: Verdict) -> list[str]:
    lines = [
        "",
        f"rebuilt runs (run_rebuilt events): {verdict.rebuilds}",
        f"redelivered messages: {verdict.redeliveries}",
    ]
    if verdict.recoveries:
        middle = statistics.median(seconds for seconds, _ in verdict.recoveries)
        longest, which = max(verdict.recoveries)
        text = f"median {middle:.2f} s, longest {longest:.2f} s ({which})"
        lines.append(f"from the loss of Redis to the rebuilt run: {text}")
    return lines


def _answers(verdict: Verdict) -> list[str]:
    answers = verdict.storm.answers
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(answers.statuses.items()))
    broken = f"broken by a kill of the API: {len(answers.broken)}"
    return [f"API answers {statuses}; {broken}; slowest {answers.slowest_s:.2f} s"]
