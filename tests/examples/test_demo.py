"""`graft demo` on a stack of its own; its numbers are compared with an independent computation."""

import contextlib
import csv
import json
import os
import signal
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from chalicelib.functions import HANDLERS, Context, TaskError
from infra.cli.demo_data import DATA, read_rows

ROOT = Path(__file__).resolve().parents[2]
MEASURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm")


def table():
    with DATA.open(newline="") as file:
        return list(csv.DictReader(file))


def expected():
    """The demo's result by the csv and statistics modules alone."""
    rows = table()
    measured = [row for row in rows if row["body_mass_g"] != "NA"]
    species = {name: [row for row in measured if row["species"] == name] for name in ("Adelie", "Chinstrap", "Gentoo")}
    spread = {m: statistics.pstdev(float(row[m]) for row in measured) for m in MEASURES}
    centres = {
        n: {m: statistics.mean(float(row[m]) for row in found) for m in MEASURES} for n, found in species.items()
    }

    def nearest(row):
        away = {n: sum(((float(row[m]) - c[m]) / spread[m]) ** 2 for m in MEASURES) for n, c in centres.items()}
        return min(away, key=away.get)

    masses = {name: [float(row["body_mass_g"]) for row in found] for name, found in species.items()}
    right = sum(nearest(row) == row["species"] for row in measured)
    heaviest = sorted((int(row["body_mass_g"]) for row in measured), reverse=True)[:3]
    return {
        "right": right,
        "of": len(measured),
        "species": [
            {
                "species": name,
                "count": len(found),
                "mean_mass_g": round(statistics.mean(found), 1),
                "spread_mass_g": round(statistics.stdev(found), 1),
            }
            for name, found in masses.items()
        ],
        "islands": dict(Counter(row["island"] for row in rows)),
        "penguins": len(rows),
        "mean_mass_g": statistics.mean(float(row["body_mass_g"]) for row in measured),
        "total_mass_kg": sum(int(row["body_mass_g"]) for row in measured) / 1000,
        "heaviest": heaviest,
    }


@pytest.mark.stack
def test_the_demo_gives_the_numbers_of_an_independent_computation(tmp_path):
    argv = [sys.executable, "-m", "infra.cli.main", "demo", "--json", "-o", str(tmp_path / "demo.svg")]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFT_", "AWS_", "REDIS_"))}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    run, want = json.loads(done.stdout), expected()
    found = run["output"]
    assert found["species"] == want["species"]
    assert found["percent"] == round(100 * want["right"] / want["of"], 1) >= 95
    assert found["verdict"] == f"Yes: bill and flipper tell the species of {want['right']} of {want['of']} penguins."
    assert {one["island"]: one["penguins"] for one in found["islands"]} == want["islands"]
    overall = found["overall"]
    assert overall["penguins"] == want["penguins"] and overall["years"] == [2007, 2008, 2009]
    assert overall["mean_mass_g"] == pytest.approx(want["mean_mass_g"])
    assert overall["total_mass_kg"] == pytest.approx(want["total_mass_kg"])
    assert [one["body_mass_g"] for one in overall["heaviest"]] == want["heaviest"]
    assert (run["nodes"]["fetch"]["iteration"], run["nodes"]["unclear"]["status"]) == (6, "SKIPPED")
    assert "<svg" in (tmp_path / "demo.svg").read_text()


@pytest.mark.stack
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_and_no_file(tmp_path, number):
    argv = [sys.executable, "-m", "infra.cli.main", "demo", "-o", str(tmp_path / "demo.svg")]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFT_", "AWS_", "REDIS_"))}
    env |= {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1", "GRAFT_TEST_MARK": str(tmp_path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        assert "Graft runs on" in process.stdout.readline()
        assert len(children_of(process.pid)) > 0
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "everything is stopped" in errors
    assert marked(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def marked(mark):
    """Processes that were started with this mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"GRAFT_TEST_MARK={mark}".encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def call(name, params):
    return HANDLERS[name](params, Context("r", "n", "j"))


def test_the_demos_functions_agree_with_the_statistics_module():
    rows = [row for row in read_rows() if row["body_mass_g"] is not None]
    groups = {name: [row for row in rows if row["species"] == name] for name in ("Adelie", "Chinstrap", "Gentoo")}
    stats = [call("penguin_stats", {"rows": group}) for group in groups.values()]
    want = expected()
    assert [{k: one[k] for k in ("species", "count", "mean_mass_g", "spread_mass_g")} for one in stats] == want[
        "species"
    ]
    score = call("penguin_score", {"groups": groups, "stats": stats})
    assert (score["right"], score["of"]) == (want["right"], want["of"])


@pytest.mark.parametrize("params", [None, {}, {"rows": []}, {"rows": 3, "groups": {}}])
@pytest.mark.parametrize("name", ["penguin_stats", "penguin_score"])
def test_the_demos_functions_refuse_what_is_not_there(name, params):
    with pytest.raises(TaskError) as caught:
        call(name, params)
    assert (caught.value.type, caught.value.retryable) == ("NoRows", False)
