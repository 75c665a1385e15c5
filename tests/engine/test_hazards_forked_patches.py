"""HAZARDS 1 and 8: the store loses a patch that is in the journal, or what its own step has just committed."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from chalicelib.domain.ids import parse_job_id
from chalicelib.engine.patches import patch_run
from tests.engine.harness import SECRET, Harness
from tests.engine.hazards import another, count, fall_back, handle_until_done, signal
from tests.engine.patching import add_edge, add_node, edges, function, request
from tests.engine.test_hazards_patches import begin, finish


def test_8_a_patch_repeated_after_the_store_lost_it_is_written_once_and_as_it_was(harness: Harness) -> None:
    """The journal has the patch, the store does not: its repeat is no later form of the same commit."""
    run_id, held = begin(harness, [function("a")], [])
    old = harness.store.snapshot(run_id)
    wish = request(run_id, [add_node(function("n")), add_edge("a>n"), add_node(function("m"))], once="key")
    first = patch_run(harness.services, wish)
    written = harness.journal.read(run_id)
    fall_back(harness, run_id, old)
    harness.clock.now += 5000
    assert patch_run(harness.services, wish) == first
    assert harness.journal.read(run_id)[: len(written)] == written
    assert count(harness, run_id, "patch_applied") == 1
    finish(harness, run_id, held)


def test_1_what_a_commit_began_that_the_store_lost_within_the_step_does_not_leave(harness: Harness) -> None:
    """a completes with a patch; the store falls back; x, decided again, is given the number of the commit of a."""
    run_id, held = begin(harness, [function("a"), function("x"), function("y")], edges("x>y"))
    old = harness.store.snapshot(run_id)
    wish = {"operations": [add_node(function("n")), add_edge("a>n")], "description": "more"}
    signals = [json.loads(signal(held.waiting.pop(node))) for node in "ax"]
    signals[0]["patch"] = wish
    commit = harness.store.commit

    def lose_after(calls: Any) -> Any:
        harness.store.commit = commit
        answers = commit(calls)
        fall_back(harness, run_id, old)
        return answers

    harness.store.commit = lose_after
    assert harness.coordinator.handle([json.dumps(body) for body in signals]) == {0, 1}
    items = harness.journal.read(run_id)
    sent = [json.loads(body) for body in harness.queues.bodies("tasks-function")]
    jobs = [parse_job_id(task["job_id"], SECRET) for task in sent]
    assert all(job.no <= len(items) and items[job.no - 1].id == job.commit for job in jobs)
    handle_until_done(harness, *(json.dumps(body) for body in signals))
    held.settle()
    assert set(held.waiting) == {"n", "y"}
    finish(harness, run_id, held)


def test_1_a_step_that_goes_on_from_another_s_commit_of_its_number_writes_neither(harness: Harness) -> None:
    """The store loses the step's first commit, another step makes it again and dies; the first goes on from there."""
    pause = {"id": "w", "type": "wait", "config": {"seconds": 60}}
    run_id, held = begin(harness, [function("a"), pause, function("b")], edges("a>w w>b"))
    old, text = harness.store.snapshot(run_id), signal(held.waiting.pop("a"))
    commit, calls = harness.store.commit, []

    def commits(batch: Any) -> Any:
        calls.append(batch)
        if len(calls) == 3:
            raise RuntimeError("the other step dies")
        answers = commit(batch)
        if len(calls) == 1:
            fall_back(harness, run_id, old)
            with contextlib.suppress(RuntimeError):
                another(harness).handle([text])
        return answers

    harness.store.commit = commits
    assert harness.coordinator.handle([text]) == {0}
    harness.store.commit = commit
    assert len(calls) == 4
    handle_until_done(harness, text)
    harness.drain()
    held.settle()
    finish(harness, run_id, held)
