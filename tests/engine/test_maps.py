"""Maps: one token per item, a window of them at a time, their outputs in order (HAZARDS 32)."""

from __future__ import annotations

import json
import random

import pytest

from chalicelib.domain.compiler import check
from chalicelib.domain.ids import job_id
from chalicelib.domain.limits import Limits
from chalicelib.domain.records import parse_began
from chalicelib.engine.approvals import Decision, decide
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.forks import ForkRequest, fork_run
from chalicelib.engine.history import load_state
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.redo import redrive_run, rerun_node
from chalicelib.engine.supervise import detect_timeouts, sweep
from tests.engine.harness import SECRET, Harness

DOUBLE = {"type": "function", "config": {"handler": "echo", "params": "${item * 2 + index}"}}


def mapped(body: dict | None = None, items: object = "${input}", **config: object) -> dict:
    node = {"id": "all", "type": "map", "config": {"items": items, "body": body or DOUBLE, **config}}
    return {"nodes": [node, {"id": "end", "type": "pass"}], "edges": [{"from": "all", "to": "end"}]}


def outcome(harness: Harness, document: dict, given: object) -> tuple[str, object]:
    run = harness.run(document, given)
    harness.assert_fold_equals_store(run["run_id"])
    if run["status"] != "COMPLETED":
        return run["status"], json.loads(run["error"])
    return run["status"], harness.output(run["run_id"])["end"]


@pytest.mark.parametrize("count", [0, 1, 2, 99, 100, 101, 257, 1000])
def test_32_the_outputs_are_in_the_order_of_the_items(harness: Harness, count: int) -> None:
    items = list(range(count))
    assert outcome(harness, mapped(), items) == ("COMPLETED", [n * 2 + n for n in items])
    assert [task["index"] for task in harness.tasks] == sorted(task["index"] for task in harness.tasks)


@pytest.mark.parametrize("window", [1, 3, 150])
def test_no_more_items_are_outstanding_than_the_window_allows(harness: Harness, window: int) -> None:
    most = 0

    def watch(task: dict) -> dict:
        nonlocal most
        tok = harness.store.snapshot(task["run_id"], ("tok",))["tok"]
        most = max(most, sum("[" in name for name in tok))
        return {"status": "completed", "result": task["config"]["params"]}

    harness.worker = watch
    assert outcome(harness, mapped(max_concurrency=window), list(range(200)))[0] == "COMPLETED"
    assert most == window


def test_answers_in_any_order_give_the_same_outputs(harness: Harness) -> None:
    run_id = harness.start(mapped(max_concurrency=20), list(range(60)))
    rng = random.Random(7)
    for _ in range(500):
        while harness.settle_batch():
            pass
        waiting = harness.queues.receive("tasks-function", 20)
        rng.shuffle(waiting)
        for message in waiting:
            task = json.loads(message.body)
            for _ in range(rng.choice([1, 1, 2])):
                harness.answer(task, harness.worker(task))
            harness.queues.delete("tasks-function", message.receipt)
        if not waiting:
            break
    harness.drain()
    assert harness.output(run_id)["end"] == [n * 3 for n in range(60)]
    harness.assert_fold_equals_store(run_id)


def failing(*broken: int, kind: str = "Boom", retryable: bool = True):
    def worker(task: dict) -> dict:
        if task["index"] in broken:
            return {"status": "failed", "error": {"type": kind, "message": "no", "retryable": retryable}}
        return {"status": "completed", "result": task["config"]["params"]}

    return worker


def test_a_failed_item_fails_the_map_with_the_first_error(harness: Harness) -> None:
    harness.worker = failing(3)
    status, error = outcome(harness, mapped(max_concurrency=2), list(range(50)))
    assert (status, error["type"], error["node_id"]) == ("FAILED", "Boom", "all")
    assert "Item 3" in error["message"]
    assert len(harness.tasks) < 8


@pytest.mark.parametrize(("borne", "status"), [(2, "COMPLETED"), ("10%", "COMPLETED"), (1, "FAILED"), ("9%", "FAILED")])
def test_some_failures_are_borne(harness: Harness, borne: object, status: str) -> None:
    harness.worker = failing(3, 5)
    found, output = outcome(harness, mapped(tolerate_failures=borne), list(range(20)))
    assert found == status
    if status == "COMPLETED":
        assert output == [None if n in (3, 5) else n * 3 for n in range(20)]


def test_32_items_past_the_tolerance_are_cancelled_and_their_answers_change_nothing(harness: Harness) -> None:
    run_id = harness.start({**mapped(), "on_failure": "finish_branches"}, list(range(10)))
    harness.settle_batch()
    tasks = [json.loads(m.body) for m in harness.queues.receive("tasks-function", 10)]
    harness.answer(tasks[0], {"status": "failed", "error": {"type": "Boom", "message": "no"}})
    while harness.settle_batch():
        pass
    assert harness.meta(run_id)["status"] == "FAILED"
    for task in tasks[1:]:
        harness.answer(task, {"status": "completed", "result": 1})
    while harness.settle_batch():
        pass
    done = harness.store.snapshot(run_id, ("done",))["done"]
    assert sum("|CANCELLED|" in record for name, record in done.items() if "[" in name) == 9
    harness.assert_fold_equals_store(run_id)


def test_an_item_is_tried_again_by_itself(harness: Harness) -> None:
    tries: dict[int, int] = {}

    def worker(task: dict) -> dict:
        tries[task["index"]] = task["attempt"]
        if task["index"] % 3 == 0 and task["attempt"] < 3:
            return {"status": "failed", "error": {"type": "Boom", "message": "no"}}
        return {"status": "completed", "result": task["config"]["params"]}

    harness.worker = worker
    body = {**DOUBLE, "retry": {"max_attempts": 3, "backoff_ms": 10}}
    assert outcome(harness, mapped(body), list(range(7))) == ("COMPLETED", [n * 3 for n in range(7)])
    assert tries == {n: 3 if n % 3 == 0 else 1 for n in range(7)}


def test_a_body_may_run_inline_or_wait(harness: Harness) -> None:
    body = {"type": "transform", "config": {"value": {"n": "${item}", "of": "${size(input)}"}}}
    assert outcome(harness, mapped(body), [4, 5]) == ("COMPLETED", [{"n": 4, "of": 2}, {"n": 5, "of": 2}])
    wait = {"type": "wait", "config": {"seconds": "${item}"}}
    assert outcome(harness, mapped(wait, max_concurrency=1), [3, 1, 2]) == ("COMPLETED", [{}, {}, {}])


def test_a_person_answers_for_each_item(harness: Harness) -> None:
    body = {"type": "human", "config": {"message": "Take ${item}?", "on_reject": "continue"}}
    run_id = harness.start(mapped(body), ["a", "b"])
    harness.drain()
    for name, approved in (("b", True), ("a", False)):
        events = [e for e in harness.events(run_id) if e["type"] == "node_waiting" and "message" in e["data"]]
        index = next(e["index"] for e in events if e["data"]["message"] == f"Take {name}?")
        tok = harness.store.snapshot(run_id, ("tok",))["tok"]
        job = next(name for name in tok if f"[{index}]" in name)
        signed = job_id(parse_began(tok[job]).job(run_id, job), SECRET)
        decide(harness.services, Decision(run_id, "all", "ann", approved, job=signed))
        harness.drain()
    assert [item["approved"] for item in harness.output(run_id)["end"]] == [False, True]
    harness.assert_fold_equals_store(run_id)


def test_an_item_that_nobody_answers_times_out_alone(harness: Harness) -> None:
    run_id = harness.start(mapped({**DOUBLE, "timeout_ms": 5000}, tolerate_failures=1), [1, 2])
    while harness.settle_batch():
        pass
    first, _ = (json.loads(m.body) for m in harness.queues.receive("tasks-function", 10))
    harness.answer(first, harness.worker(first))
    while harness.settle_batch():
        pass
    harness.clock.now += 6000
    assert detect_timeouts(harness.services) >= 1
    while harness.settle_batch():
        pass
    assert harness.output(run_id)["end"] == [2, None]


def test_a_map_that_times_out_cancels_its_items(harness: Harness) -> None:
    document = mapped()
    document["nodes"][0]["timeout_ms"] = 1000
    run_id = harness.start(document, [1, 2, 3])
    while harness.settle_batch():
        pass
    harness.clock.now += 2000
    detect_timeouts(harness.services)
    harness.drain()
    assert json.loads(harness.meta(run_id)["error"])["type"] == "Timeout"
    harness.assert_fold_equals_store(run_id)


def test_maps_in_a_loop_begin_anew_each_time(harness: Harness) -> None:
    document = mapped()
    document["nodes"][1]["loop"] = {"condition": "iteration < 3", "loop_back_to": "all"}
    assert outcome(harness, document, [1, 2]) == ("COMPLETED", [2, 5])
    assert len(harness.tasks) == 6


@pytest.mark.parametrize("items", ["text", 5, None, {"a": 1}])
def test_what_is_no_list_fails_the_map(harness: Harness, items: object) -> None:
    status, error = outcome(harness, mapped(items="${input.x}"), {"x": items})
    assert (status, error["type"]) == ("FAILED", "TemplateError")
    assert "items" in error["message"]


def test_more_items_than_the_limit_fail_the_map(harness: Harness) -> None:
    status, error = outcome(harness, {**mapped(), "limits": {"map_items": 3}}, [1, 2, 3, 4])
    assert (status, error["type"]) == ("FAILED", "LimitExceeded")
    assert outcome(harness, {**mapped(), "limits": {"map_items": 3}}, [1, 2, 3])[0] == "COMPLETED"


def test_the_items_may_be_an_artifact(harness: Harness) -> None:
    ref = harness.artifacts.put(json.dumps([1, 2, 3]).encode())
    assert outcome(harness, mapped(items=ref), None) == ("COMPLETED", [2, 5, 8])


def test_large_results_of_items_are_kept_apart_and_given_back(harness: Harness) -> None:
    body = {"type": "function", "config": {"handler": "echo", "params": "${item}"}}
    items = [letter * 10_000 for letter in "abcdefghijklmnopqrst"]
    assert outcome(harness, mapped(body), items) == ("COMPLETED", items)


def test_32_nothing_grows_with_the_number_of_items(harness: Harness) -> None:
    longest: list[int] = []
    for count in (300, 3000):
        run_id = harness.start(mapped(max_concurrency=200), list(range(count)))
        harness.drain(limit=100_000)
        assert harness.output(run_id)["end"] == [n * 3 for n in range(count)]
        items = harness.journal.read(run_id, 0, 100_000)
        longest.append(max(len(item.text) for item in items[1:]))
        assert max(len(json.dumps(task)) for task in harness.tasks) < 3000
    assert max(longest) < 70_000  # the outputs all together stay inline up to 64 KiB


def test_a_paused_map_holds_its_next_items(harness: Harness) -> None:
    run_id = harness.start(mapped(max_concurrency=2), list(range(6)))
    while harness.settle_batch():
        pass
    pause_run(harness.services, run_id, "op")
    harness.work_batch()
    while harness.settle_batch():
        pass
    assert len(harness.tasks) == 2
    resume_run(harness.services, run_id, "op")
    harness.drain()
    assert harness.output(run_id)["end"] == [n * 3 for n in range(6)]


def test_32_a_map_survives_the_loss_of_the_store_at_any_time(harness: Harness) -> None:
    for cut in range(1, 14, 2):
        run_id = harness.start(mapped(max_concurrency=3), list(range(8)))
        for _ in range(cut):
            harness.settle_batch() or harness.work_batch()
        harness.client.flushall()
        for tick in range(15):
            sweep(harness.services, tick)
        harness.drain()
        meta = load_state(harness.services, run_id)["meta"]
        assert json.loads(meta["output"])["end"] == [n * 3 for n in range(8)], cut


def test_a_step_that_dies_after_the_last_item_is_made_good_by_its_repeat(harness: Harness) -> None:
    run_id = harness.start(mapped(), [1])
    while harness.settle_batch():
        pass
    task = json.loads(harness.queues.receive("tasks-function", 1)[0].body)
    harness.answer(task, harness.worker(task))
    message = harness.queues.receive("completion-signals", 1)[0]
    real = harness.store.snapshot

    def dies(run: str, hashes: object = ()):
        raise RuntimeError("died")

    harness.store.snapshot = dies
    with pytest.raises(RuntimeError):
        harness.coordinator.handle([message.body])
    harness.store.snapshot = real
    assert harness.coordinator.handle([message.body]) == set()
    harness.drain()
    assert harness.output(run_id)["end"] == [2]
    harness.assert_fold_equals_store(run_id)


def test_cancelling_the_run_cancels_the_items(harness: Harness) -> None:
    run_id = harness.start(mapped(), [1, 2, 3])
    while harness.settle_batch():
        pass
    cancel_run(harness.services, run_id, "op")
    harness.drain()
    assert harness.meta(run_id)["status"] == "CANCELLED"
    harness.assert_fold_equals_store(run_id)


def test_a_failed_map_begins_anew_on_a_redrive(harness: Harness) -> None:
    harness.worker = failing(1)
    run_id = harness.start(mapped(), [1, 2, 3])
    harness.drain()
    assert harness.meta(run_id)["status"] == "FAILED"
    harness.worker = failing()
    redrive_run(harness.services, run_id, "op")
    harness.drain()
    assert harness.output(run_id)["end"] == [2, 5, 8]
    harness.assert_fold_equals_store(run_id)


def test_repeated_signals_of_items_change_nothing(harness: Harness) -> None:
    run_id = harness.run(mapped(max_concurrency=2), list(range(5)))["run_id"]
    before = harness.store.snapshot(run_id)
    for task in harness.tasks:
        harness.queues.send([Outgoing("completion-signals", json.dumps({
            "version": "1.0", "job_id": task["job_id"], "run_id": run_id, "node_id": "all", "status": "completed",
            "result": 1}))])  # fmt: skip
    harness.drain()
    after = harness.store.snapshot(run_id)
    assert after["done"] == before["done"] and after["box"] == before["box"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"retry": {"max_attempts": 2}}, "/nodes/0/retry"),
        ({"config": {"items": []}}, "/nodes/0/config"),
        ({"config": {"items": [], "body": DOUBLE, "workflow": "w"}}, "/nodes/0/config"),
        ({"config": {"items": [], "body": DOUBLE, "input": 1}}, "/nodes/0/config/input"),
        ({"config": {"items": [], "workflow": "w@1@2"}}, "/nodes/0/config/workflow"),
        ({"config": {"items": [], "workflow": "w", "input": "${nope.x}"}}, "/nodes/0/config/input"),
        ({"config": {"items": [], "body": {"type": "map"}}}, "/nodes/0/config/body/type"),
        ({"config": {"items": [], "body": {"type": "function"}}}, "/nodes/0/config/body/config"),
        ({"config": {"items": [], "body": {"type": "function", "config": {"handler": "echo", "params": "${nope.x}"}}}},
         "/nodes/0/config/body/config/params"),
        ({"config": {"items": [], "body": DOUBLE, "max_concurrency": 0}}, "/nodes/0/config/max_concurrency"),
        ({"config": {"items": [], "body": {**DOUBLE, "join": "any"}}}, "/nodes/0/config/body/join"),
    ],
)  # fmt: skip
def test_a_wrong_map_is_refused_at_its_place(change: dict, path: str) -> None:
    document = mapped()
    document["nodes"][0].update(change)
    _, problems, _ = check(document, limits=Limits())
    assert path in [problem.path for problem in problems]


def wide(harness: Harness, count: int = 700, **more: object) -> str:
    """A run whose map has begun two hundred of its items; the messages that begin the others are on their way."""
    document = mapped(**more)
    document["nodes"] += [{"id": "after", "type": "pass"}]
    document["edges"] += [{"from": "all", "to": "after", "on": "failure"}]
    run_id = harness.start(document, list(range(count)))
    while len(begun(harness, run_id)) < 200:
        harness.settle_batch()
    return run_id


def begun(harness: Harness, run_id: str, epoch: int = 0) -> list[str]:
    names = harness.store.snapshot(run_id, ("dis",))["dis"]
    return [name for name in names if name.startswith("all@[") and f"#{epoch}." in name]


def parts(harness: Harness, run_id: str) -> list[str]:
    return [name for name in harness.store.snapshot(run_id, ("tok",))["tok"] if name.startswith("$fan:")]


@pytest.mark.parametrize("end", ["fails", "is skipped", "times out"])
def test_32_items_of_a_map_that_is_over_begin_no_more(harness: Harness, end: str) -> None:
    """The parts of a wide map that were still to begin did so after it: their tasks were sent, and the run waited."""
    run_id = wide(harness)
    token, ended = "all@#0.1", {"status": "completed", "result": ["instead"]}
    if end == "fails":
        token, ended = "all@[0]#0.1", {"status": "failed", "error": {"type": "Boom", "message": "no"}}
    if end == "times out":
        ended = {"status": "failed", "error": {"type": "Timeout", "message": "late", "retryable": False}}
    record = harness.store.snapshot(run_id, ("tok",))["tok"][token]
    job = job_id(parse_began(record).job(run_id, token), SECRET)
    harness.coordinator.handle(
        [json.dumps({"version": "1.0", "job_id": job, "run_id": run_id, "node_id": "all", **ended})]
    )
    assert parts(harness, run_id) == []
    before = len(begun(harness, run_id))
    while harness.settle_batch():
        pass
    assert len(begun(harness, run_id)) == before
    assert harness.meta(run_id)["status"] == "COMPLETED", "nothing is waited for"
    harness.drain()
    harness.assert_fold_equals_store(run_id)


def test_32_a_wide_map_that_loses_begins_no_further_items(harness: Harness) -> None:
    nodes = [*mapped()["nodes"], {"id": "fast", "type": "queue", "config": {"queue": "tasks-own"}}]
    nodes[1] |= {"join": {"any": True, "cancel_losers": True}}
    ways = [{"from": "all", "to": "end"}, {"from": "fast", "to": "end"}]
    run_id = harness.start({"nodes": nodes, "edges": ways}, list(range(500)))
    while len(begun(harness, run_id)) < 200:
        harness.settle_batch()
    (message,) = harness.queues.receive("tasks-own")
    task = json.loads(message.body)
    harness.coordinator.handle([json.dumps({
        "version": "1.0", "job_id": task["job_id"], "run_id": run_id, "node_id": "fast", "status": "completed",
        "result": "fast"})])  # fmt: skip
    assert parts(harness, run_id) == []
    while harness.settle_batch():
        pass
    assert len(begun(harness, run_id)) == 200
    assert harness.output(run_id)["end"] == "fast"
    harness.assert_fold_equals_store(run_id)


def test_32_a_map_that_is_run_again_begins_each_item_once(harness: Harness) -> None:
    """Parts that were still to begin items of its first try did so beside those of the second."""
    run_id = wide(harness, 500)
    before = len(begun(harness, run_id))
    rerun_node(harness.services, run_id, "all", "op")
    assert parts(harness, run_id) == []
    harness.drain()
    assert len(begun(harness, run_id)) == before
    assert len(begun(harness, run_id, 1)) == 500
    assert harness.output(run_id)["end"] == [n * 3 for n in range(500)]
    harness.assert_fold_equals_store(run_id)


def test_32_a_fork_from_the_middle_of_a_wide_map_begins_each_item_once(harness: Harness) -> None:
    """The fork took over the parts that were still to begin, beside the map that begins anew with all its items."""
    run_id = wide(harness, 500)
    seq = int(harness.meta(run_id)["seq"])
    forked = fork_run(harness.services, ForkRequest("acme", "ann", run_id, from_seq=seq), "forked")
    harness.drain()
    assert len(begun(harness, forked, 1)) == 500
    assert harness.output(forked)["end"] == [n * 3 for n in range(500)]
    harness.assert_fold_equals_store(forked)
