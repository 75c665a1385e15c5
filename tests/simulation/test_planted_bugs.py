"""The simulation finds every planted bug: a gate that could not fail would prove nothing."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.simulation.planted import BUGS, Bug, hunt

#: Each bug has to be found within so many worlds; two hunts go on at a time.
SEEDS = 120
AT_ONCE = 2

Hunts = dict[str, Future[CompletedProcess[str]]]


@pytest.fixture(scope="module")
def hunts(tmp_path_factory: pytest.TempPathFactory) -> Hunts:
    pool = ThreadPoolExecutor(AT_ONCE)
    folders: dict[str, Path] = {bug.name: tmp_path_factory.mktemp("engine") for bug in BUGS}
    found = {bug.name: pool.submit(hunt, bug, folders[bug.name], SEEDS) for bug in BUGS}
    pool.shutdown(wait=False)
    return found


@pytest.mark.xdist_group("planted")
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_simulation_finds(bug: Bug, hunts: Hunts) -> None:
    done = hunts[bug.name].result()
    assert done.returncode == 1, f"not found in {SEEDS} worlds: {bug.name}\n{done.stderr[-2000:]}"
    assert "replay: SIM_SEED=" in done.stdout, f"the hunt itself failed:\n{done.stdout}\n{done.stderr[-2000:]}"
