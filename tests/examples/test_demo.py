"""`graft demo` on a stack of its own; its numbers are compared with an independent computation."""

import contextlib
import csv
import json
import os
import re
import signal
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from chalicelib.functions import HANDLERS, Context, TaskError
from infra.cli.client import Api
from infra.cli.demo_data import DATA, WORKFLOW, read_rows
from infra.cli.demo_story import COMMENT
from infra.cli.documents import read_document
from tests.agents.models import Wire
from tests.workers.servers import JSON, serving

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


def clean_environment(**more):
    taken = ("GRAFT_", "AWS_", "REDIS_", "OPENAI_")
    return {name: value for name, value in os.environ.items() if not name.startswith(taken)} | more


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo that keeps its stack: its run, its API, and its picture."""
    folder = tmp_path_factory.mktemp("demo")
    argv = [sys.executable, "-m", "infra.cli.main", "demo", "--json", "--keep", "-o", "demo.svg"]
    env = clean_environment(PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1")
    with subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.PIPE, text=True) as process:
        run = json.loads(process.stdout.readline())
        ready = json.loads((folder / ".graft" / "local.json").read_text())
        api = Api(ready["api_url"], ready["token"])
        yield SimpleNamespace(run=run, api=api, picture=(folder / "demo.svg").read_text())
        api.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.mark.stack
def test_the_demo_gives_the_numbers_of_an_independent_computation(demo):
    run, want = demo.run, expected()
    found = run["output"]
    assert run["status"] == "COMPLETED"
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


@pytest.mark.stack
def test_the_finding_that_the_agent_added_is_right(demo):
    rows = demo.run["output"]["finding"]["rows"]
    masses = mass_by_sex()
    assert [(row["species"], row["sex"]) for row in rows] == sorted(masses)
    for row in rows:
        found = masses[row["species"], row["sex"]]
        assert (row["count"], row["mean_mass_g"]) == (len(found), pytest.approx(statistics.mean(found)))


@pytest.mark.stack
def test_the_agent_looked_then_patched_the_demos_run_then_answered(demo):
    path = f"/runs/{demo.run['run_id']}"
    (patch,) = demo.api.get(f"{path}/patches")["items"]
    assert (patch["author"], patch["patch"], demo.run["revision"]) == ("node:analyst", 1, 1)
    assert (sorted(patch["added"]), patch["changed"]) == (["by_sex", "publish"], ["report"])
    assert patch["description"].startswith("Mass differs by sex")
    assert {"by_sex", "publish"}.isdisjoint(node["id"] for node in read_document(str(WORKFLOW))["nodes"])
    events = demo.api.get(f"{path}/events", limit=1000)["events"]
    kinds = ("agent_turn", "tool_called", "patch_applied")
    told = [(event["type"], (event["data"] or {}).get("tool")) for event in events if event["type"] in kinds]
    assert [kind for kind, _ in told if kind != "patch_applied"] == ["agent_turn", "tool_called"] * 2 + ["agent_turn"]
    assert [tool for kind, tool in told if kind == "tool_called"] == ["execute_pipeline", "patch_workflow"]


@pytest.mark.stack
def test_the_demos_user_approved_what_the_agent_asked(demo):
    (asked,) = demo.api.get(f"/runs/{demo.run['run_id']}/nodes/publish")["executions"]
    assert asked["output"]["approved"] is True
    assert (asked["output"]["by"], asked["output"]["comment"]) == ("local", COMMENT)
    unknown = sum(row["sex"] == "NA" and row["body_mass_g"] != "NA" for row in table())
    assert asked["input"]["message"].startswith(f"{unknown} weighed penguins")
    assert demo.api.get("/approvals")["items"] == []


@pytest.mark.stack
def test_the_demo_maps_the_species_in_parallel(demo):
    node = demo.api.get(f"/runs/{demo.run['run_id']}/nodes/species")
    items = [one for one in node["executions"] if one.get("index") is not None]
    assert sorted((one["index"], one["output"]["species"]) for one in items) == [
        (0, "Adelie"),
        (1, "Chinstrap"),
        (2, "Gentoo"),
    ]


@pytest.mark.stack
def test_the_demos_picture_marks_what_the_patch_added(demo):
    marked = set(
        re.findall(
            r'data-id="(\w+)"[^>]*>\n<title>[^<]*</title>\n<rect[^\n]*\n<rect[^>]*stroke-dasharray', demo.picture
        )
    )
    assert marked == {"by_sex", "publish", "report"}


def mass_by_sex():
    masses = {}
    for row in table():
        if "NA" not in (row["body_mass_g"], row["sex"]):
            masses.setdefault((row["species"], row["sex"]), []).append(int(row["body_mass_g"]))
    return masses


@pytest.mark.stack
@pytest.mark.parametrize("provider", ["openai", "bedrock"])
def test_the_same_demo_runs_with_a_real_providers_wire_format(tmp_path, provider):
    """The model's server plays the turns of the script, having read the table's address in its prompt."""
    argv = [sys.executable, "-m", "infra.cli.main", "demo", "--json", "-o", str(tmp_path / "demo.svg")]
    with serving(Player(Wire(provider))) as model:
        address = f"http://127.0.0.1:{model.server_port}"
        env = clean_environment(
            OPENAI_API_KEY="sk-demo", OPENAI_BASE_URL=f"{address}/v1", GRAFT_BEDROCK_ENDPOINT_URL=address
        )
        env |= {"AWS_ACCESS_KEY_ID": "AKIDDEMO", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-west-1"}
        argv += ["--real", provider, "--model", "some-model"]
        done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert (run["status"], run["revision"], run["nodes"]["publish"]["status"]) == ("COMPLETED", 1, "COMPLETED")
    assert len(run["output"]["finding"]["rows"]) == len(mass_by_sex())
    assert run["usage"]["tokens"] == 3 * 15
    assert len(model.seen) == 3
    for _, path, headers, body in model.seen:
        assert ("sk-demo" if provider == "openai" else "Credential=AKIDDEMO/") in headers["authorization"]
        assert "some-model" in (body.decode() if provider == "openai" else path)


class Player:
    """A model behind a provider's wire format that says what the demo's script says."""

    def __init__(self, wire):
        self.wire, self.asked = wire, 0

    def __call__(self, handler):
        url = re.search(r"http://127\.0\.0\.1:\d+/penguins", self.wire.first(handler.body)).group()
        (agent,) = (node for node in read_document(str(WORKFLOW))["nodes"] if node["id"] == "analyst")
        turn = agent["config"]["turns"][self.asked]
        self.asked += 1
        calls = json.loads(
            json.dumps(turn.get("calls", [])).replace("$${", "$\0").replace("${input.url}", url).replace("$\0", "${")
        )
        named = tuple((f"c{self.asked}", call["tool"], call["arguments"]) for call in calls)
        handler.reply(200, self.wire.turn(turn["text"], named), Content_Type=JSON)


@pytest.mark.stack
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_and_no_file(tmp_path, number):
    argv = [sys.executable, "-m", "infra.cli.main", "demo", "-o", str(tmp_path / "demo.svg")]
    env = clean_environment(TMPDIR=str(tmp_path), PYTHONUNBUFFERED="1", GRAFT_TEST_MARK=str(tmp_path))
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
