"""Each example runs through the local stack over HTTP and gives what its expected.json says."""

import json
import time
from pathlib import Path

import pytest

from examples.fan_out_200 import make
from infra.cli.client import Api
from infra.cli.documents import read_document
from infra.cli.errors import CliError
from infra.cli.watch import ENDED

FOLDER = Path(__file__).resolve().parents[2] / "examples"
CASES = [
    pytest.param(path.parent, case, id=f"{path.parent.name}-{number}")
    for path in sorted(FOLDER.glob("*/expected.json"))
    for number, case in enumerate(json.loads(path.read_text())["cases"])
]
#: Seconds for one run on a busy machine.
LIMIT_S = 60.0


def finish(api, run_id):
    deadline = time.monotonic() + LIMIT_S
    while (run := api.get(f"/runs/{run_id}"))["status"] not in ENDED:
        assert time.monotonic() < deadline, f"{run_id} is {run['status']}: {run['nodes']}"
        time.sleep(0.1)
    return run


def compensated(api, run_id):
    """The nodes that were undone, in that order."""
    events = api.get(f"/runs/{run_id}/events", limit=1000)["events"]
    undone = [event for event in events if event["data"].get("compensation")]
    return [event["node_id"] for event in undone if event["type"] == "node_completed"]


def meet(api, run_id, step):
    """What people and other programs do meanwhile: once a node waits, or at once, a POST below the run."""
    deadline = time.monotonic() + LIMIT_S
    while "waits" in step and api.get(f"/runs/{run_id}")["nodes"][step["waits"]]["status"] != "WAITING":
        assert time.monotonic() < deadline, f"{run_id} never waits at {step['waits']}"
        time.sleep(0.1)
    try:
        api.post(f"/runs/{run_id}/{step['post']}", step["body"])
    except CliError as error:
        assert error.status == step.get("refused"), error.message
    else:
        assert "refused" not in step


@pytest.mark.stack
@pytest.mark.parametrize(("folder", "case"), CASES)
def test_the_example_gives_the_expected_result(stack, folder, case):
    api = Api(stack.url, stack.token)
    for called in sorted(folder.glob("called-*")):  # what the example calls is saved first
        saved = read_document(str(called))
        api.post("/workflows", {"name": saved["name"], "workflow": saved})
    document = read_document(str(next(folder.glob("workflow.*"))))
    run_id = api.post("/runs", {"workflow": document, "input": case["input"]})["run_id"]
    for step in case.get("steps", []):
        meet(api, run_id, step)
    run = finish(api, run_id)
    assert run["status"] == case["status"], run["error"]
    if "output" in case:
        assert run["output"] == case["output"]
    if "error" in case:
        assert case["error"].items() <= run["error"].items()
    if "rollback" in case:
        assert run["rollback"] == case["rollback"]
    if "compensated" in case:
        assert compensated(api, run["run_id"]) == case["compensated"]
    for name, expected in case.get("nodes", {}).items():
        assert expected.items() <= run["nodes"][name].items(), name
    api.close()


def test_every_example_folder_has_a_workflow_and_is_in_the_readme():
    readme = (FOLDER / "README.md").read_text()
    for folder in (path for path in FOLDER.iterdir() if path.is_dir() and not path.name.startswith("__")):
        assert len(list(folder.glob("workflow.*"))) == 1, folder
        assert f"]({folder.name}/workflow" in readme, folder


def test_the_generated_example_is_what_its_generator_writes():
    assert read_document(str(FOLDER / "fan_out_200" / "workflow.json")) == make.document()
