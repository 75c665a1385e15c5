"""Graphs as large as the limits allow: they compile, run to their end, and can be read without waiting."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.client import REAL, Api, check_gapless, document, function

pytestmark = pytest.mark.stack
#: Seconds for one answer. A quiet machine needs one; a busy one with two cores is given more.
ANSWER_S = 15.0
RUN_S = 200.0
#: Kilobytes of memory that no process of the stack may pass.
MEMORY_KB = 600_000


@pytest.fixture(scope="module")
def stack(start_stack):
    running = start_stack(*REAL)
    yield running
    assert running.stop() == 0


@pytest.fixture
def api(stack):
    return Api(stack)


def peaks_kb(stack):
    """The most memory each process ever had."""
    lines = {name: Path(f"/proc/{pid}/status").read_text().splitlines() for name, pid in stack.pids.items()}
    return {name: next(int(line.split()[1]) for line in of if line.startswith("VmHWM")) for name, of in lines.items()}


def check_reading(api, run_id, nodes):
    """The ended run can be read by all routes, and its events are whole."""
    run = api.run(run_id)
    assert run["status"] == "COMPLETED", run["error"]
    assert run["counts"] == {"COMPLETED": nodes}
    events = api.events(run_id)
    check_gapless(events)
    done = Counter(event["node_id"] for event in events if event["type"] == "node_completed")
    assert len(done) == nodes
    assert set(done.values()) == {1}
    assert [event["type"] for event in events][-1] == "run_completed"
    assert len(api.get(f"/runs/{run_id}/workflow").json["nodes"]) == nodes
    assert api.get("/runs").json["items"][0]["run_id"] == run_id
    assert api.slowest_s < ANSWER_S
    assert max(peaks_kb(api.stack).values()) < MEMORY_KB, peaks_kb(api.stack)


def test_ten_thousand_nodes_in_a_hundred_layers(api):
    nodes = [{"id": f"n{layer}_{i}", "type": "pass"} for layer in range(100) for i in range(100)]
    edges = [(f"n{layer}_{i}", f"n{layer + 1}_{i}") for layer in range(99) for i in range(100)]
    wide = document(*nodes, edges=edges)
    checked = api.post("/workflows/validate", wide).json
    assert checked["valid"] is True
    assert len(checked["graph"]["nodes"]) == 10_000
    run_id = api.start(wide, {"x": 1})
    api.finish(run_id, RUN_S)
    check_reading(api, run_id, 10_000)
    assert api.get(f"/runs/{run_id}/nodes/n99_99").json["executions"][0]["output"] == {"x": 1}


def test_one_node_more_than_the_limit_is_refused(api):
    reply = api.post("/workflows/validate", document(*[{"id": f"n{i}", "type": "pass"} for i in range(10_001)]))
    assert reply.json["valid"] is False
    assert any("10,000" in error["message"] or "10000" in error["message"] for error in reply.json["errors"])


def test_a_fan_of_two_thousand_functions_comes_together(api):
    nodes = [function(f"f{i}", params=i) for i in range(2000)]
    edges = [("s", f"f{i}") for i in range(2000)] + [(f"f{i}", "e") for i in range(2000)]
    fan = document({"id": "s", "type": "pass"}, *nodes, {"id": "e", "type": "pass"}, edges=edges)
    run_id = api.start(fan)
    run = api.finish(run_id, RUN_S)
    check_reading(api, run_id, 2002)
    assert run["output"]["e"] == {f"f{i}": i for i in range(2000)}


def test_a_chain_of_a_thousand_inline_nodes_ends(api):
    nodes = [{"id": f"n{i}", "type": "transform", "config": {"value": i}} for i in range(1000)]
    run_id = api.start(document(*nodes, edges=[(f"n{i}", f"n{i + 1}") for i in range(999)]))
    assert api.finish(run_id, RUN_S)["output"] == {"n999": 999}
    check_reading(api, run_id, 1000)
