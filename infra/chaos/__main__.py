"""Runs a storm: `python -m infra.chaos [--seconds 120] [--seed N] [--runs 200]`; exits with 1 on any breach."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from infra.chaos.judge import Verdict, judge
from infra.chaos.report import tell
from infra.chaos.storm import Plan, run_storm


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run, tell; returns the exit code."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m infra.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="how long processes are killed")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="decides what is killed and when")
    parser.add_argument("--runs", type=int, default=usual.runs, help="runs started meanwhile")
    parser.add_argument("--every", type=float, default=usual.every_s, help="mean seconds between two kills")
    given = parser.parse_args(argv)
    print(f"seed {given.seed}", flush=True)
    verdict: Verdict = run_storm(Plan(given.runs, given.seconds, given.seed, given.every), judge)
    print(tell(verdict), flush=True)
    return 1 if verdict.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
