"""The self-editing example: a run patched from outside by the command line, and one that its own function patches."""

from __future__ import annotations

import json
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from chalicelib.functions import HANDLERS, Context, TaskError
from examples.self_editing import make
from examples.self_editing.make import load, patched
from infra.cli.main import main
from tests.e2e.client import Api, check_gapless, check_problem
from tests.e2e.conftest import eventually

EXPECTED = load("expected.json")
PATCHES = [f"patch-{number}.json" for number in range(1, 5)]
SHOWN = ("added", "removed", "changed", "edges_added", "edges_removed")


@pytest.fixture
def api(stack):
    return Api(SimpleNamespace(port=urlsplit(stack.url).port), token=stack.token)


@pytest.fixture
def graft(stack, capsys):
    """The command line, as the page tells to call it; returns the exit code and what it printed."""

    def call(*words):
        code = main([*words, "--url", stack.url, "--token", stack.token, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


def part(whole, expected):
    """Those members of `whole` that `expected` has."""
    return {name: whole[name] for name in expected}


def stands(api, run_id, expected):
    """Wait until the run and all its nodes are as expected."""

    def reached():
        run = api.run(run_id)
        same = {name: node["status"] for name, node in run["nodes"].items()} == {
            name: node["status"] for name, node in expected["nodes"].items()
        }
        return same and (run["status"], run["revision"]) == (expected["status"], expected["revision"])

    return eventually(reached, 40.0, f"the run being {expected}")


def graph(api, run_id):
    """(ETag, the workflow of the run)"""
    reply = api.get(f"/runs/{run_id}/workflow")
    document = reply.json.get("workflow", reply.json)
    return reply.headers["ETag"], {name: document[name] for name in ("name", "nodes", "edges")}


def by_id(document):
    """A workflow whatever the order of its nodes and edges."""
    nodes = {node["id"]: node for node in document["nodes"]}
    return document["name"], nodes, sorted(json.dumps(edge, sort_keys=True) for edge in document["edges"])


@pytest.mark.stack
def test_a_waiting_run_is_patched_four_times_and_one_patch_is_reverted(api, graft):
    run_id = api.start(load("workflow.json"), load("input.json"))
    stands(api, run_id, EXPECTED["before"])
    code, drawn = graft("draw", run_id)
    assert (code, drawn["svg"].replace(run_id, "RUN")) == (0, make.pictures()["before.svg"])
    document = load("workflow.json")
    tag, found = graph(api, run_id)
    assert (tag, by_id(found)) == ('"0"', by_id(document))
    kept = None
    for number, (name, expected) in enumerate(zip(PATCHES, EXPECTED["answers"], strict=True)):
        file = ("--file", str(make.HERE / name), "--base", str(number))
        code, dry = graft("runs", "patch", run_id, *file, "--dry-run")
        assert (code, part(dry, expected)) == (0, expected)
        code, answer = graft("runs", "patch", run_id, *file)
        assert (code, answer) == (0, dry)
        kept, document = document, patched(document, load(name)["operations"])
        tag, found = graph(api, run_id)
        assert (tag, by_id(found)) == (f'"{number + 1}"', by_id(document))
    api.waits(run_id, "archive_orders", "COMPLETED")
    assert api.run(run_id)["nodes"]["shop_closes"]["status"] == "WAITING"
    refuse_what_cannot_be_undone(api, run_id)
    code, answer = graft("runs", "revert", run_id, "4")
    assert (code, part(answer, EXPECTED["reverted"])) == (0, EXPECTED["reverted"])
    tag, found = graph(api, run_id)
    assert (tag, by_id(found)) == ('"5"', by_id(kept))
    stands(api, run_id, EXPECTED["after"])
    assert api.post(f"/runs/{run_id}/nodes/shop_closes/skip", {"output": {}}).status == 200
    run = api.finish(run_id)
    assert part(run, EXPECTED["end"]) == EXPECTED["end"], run["error"]
    assert {node["status"] for node in run["nodes"].values()} == {"COMPLETED"}
    assert {node["attempts"] for node in run["nodes"].values()} == {1}
    check_history(api, run_id)
    check_problem(api.post(f"/runs/{run_id}/patch", load("patch-4.json")), 409)


def refuse_what_cannot_be_undone(api, run_id):
    """A patch whose node has run stays, and so does one made for an older graph; neither changes anything."""
    problem = check_problem(api.post(f"/runs/{run_id}/patches/3/revert"), 422)
    assert {error["code"] for error in problem["errors"]} == {"node_started"}
    stale = check_problem(api.post(f"/runs/{run_id}/patch", {**load("patch-1.json"), "base_revision": 0}), 409)
    assert stale["revision"] == 4
    assert api.run(run_id)["revision"] == 4


def check_history(api, run_id):
    """Every patch is told with who, why, and what exactly."""
    listed = api.get(f"/runs/{run_id}/patches").json["items"]
    assert [item["patch"] for item in listed] == [1, 2, 3, 4, 5]
    assert {item["author"] for item in listed} == {"local"}
    sent = [load(name) for name in PATCHES]
    for item, body, answer in zip(listed, [*sent, None], [*EXPECTED["answers"], EXPECTED["reverted"]], strict=True):
        assert part(item, answer) == answer
        if body is not None:
            assert (item["description"], item["operations"], item["reverts"]) == (
                body["description"], body["operations"], None
            )  # fmt: skip
    assert (listed[4]["description"], listed[4]["reverts"]) == ("Revert patch 4", 4)
    events = api.events(run_id)
    check_gapless(events)
    kinds = [event["type"] for event in events if event["type"].startswith("patch_")]
    assert kinds == ["patch_applied"] * 4 + ["patch_reverted"]


@pytest.mark.stack
@pytest.mark.parametrize("case", EXPECTED["analyst"], ids=["outliers", "nothing_odd"])
def test_a_function_adds_an_analysis_to_its_own_run_where_it_is_needed(api, case):
    document = load("analyst.json")
    run_id = api.start(document, case["input"])
    run = api.finish(run_id)
    assert (run["status"], run["revision"]) == ("COMPLETED", case["revision"]), run["error"]
    assert run["output"] == case["output"]
    assert {node["attempts"] for node in run["nodes"].values()} == {1}
    operations = make.analysis("look", "send_report")
    expected = patched(document, operations) if case["patches"] else document
    tag, found = graph(api, run_id)
    assert (tag, by_id(found)) == (f'"{case["revision"]}"', by_id(expected))
    listed = api.get(f"/runs/{run_id}/patches").json["items"]
    assert [part(item, ("author", "description", *SHOWN)) for item in listed] == case["patches"]
    assert [item["operations"] for item in listed] == [operations] * case["revision"]
    events = api.events(run_id)
    check_gapless(events)
    kinds = [event["type"] for event in events if event.get("node_id") == "look" or event["type"] == "patch_applied"]
    assert kinds == ["node_dispatched", *["patch_applied"] * case["revision"], "node_completed"]


@pytest.mark.parametrize(
    "params",
    [None, {}, {"orders": []}, {"orders": [{"id": "A"}], "before": "b"}, {"orders": [{"id": "A", "amount": 1}]}],
)
def test_the_analyst_refuses_what_are_no_orders(params):
    with pytest.raises(TaskError) as caught:
        HANDLERS["find_outliers"](params, Context("r", "n", "j"))
    assert (caught.value.type, caught.value.retryable) == ("TaskFailed", False)


@pytest.mark.parametrize("name", ["before.svg", "after.svg", "analyst.svg"])
def test_the_pictures_are_those_of_the_files(name):
    text = (make.HERE / name).read_text(encoding="utf-8")
    assert text == make.pictures()[name], "run python -m examples.self_editing.make"
