"""Limits of runs per workflow: who begins when, races between starts and ends, deaths between any two calls."""

from __future__ import annotations

import contextlib
import itertools
import json

import pytest
import redis

from chalicelib.domain.errors import NotFound
from chalicelib.engine.catalog import Catalog
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.directory_keys import LIVE_SHARDS, places
from chalicelib.engine.explaining import explain_run
from chalicelib.engine.forks import ForkRequest, fork_run
from chalicelib.engine.patch_planning import Change
from chalicelib.engine.patches import PatchRequest, patch_run
from chalicelib.engine.places import admit, usage
from chalicelib.engine.redo import redrive_run
from chalicelib.engine.runs import StartRequest, start_run
from chalicelib.engine.supervise import GRACE_MS, UNSENT_MS, detect_timeouts, sweep
from chalicelib.engine.verify import verify_run
from tests.engine.harness import Harness
from tests.engine.test_schedules import SLOW, Dead, Mortal, die, runs, save, unavailable


def limit(harness: Harness, number: int | None) -> None:
    Catalog(harness.directory, "acme").set_limit("w", number, by="ann", at=harness.clock.now)
    admit(harness.services, "acme", "w")


def start(harness: Harness, run_id: str, priority: int = 0, version: int = 1, **more: object) -> str:
    found = Catalog(harness.directory, "acme").find("w", version=version)
    workflow = {"name": "w", "version": version}
    request = StartRequest(
        "acme", "ann", harness.services.plans.load(found.hash), workflow, {}, run_id,
        limited=found.limited, priority=priority, **more,
    )  # fmt: skip
    return start_run(harness.services, request)


def settle(harness: Harness) -> None:
    while harness.settle_batch():
        pass


def status(harness: Harness, run_id: str) -> str:
    return harness.meta(run_id)["status"]


def begun(harness: Harness) -> list[str]:
    """The runs whose work is at work, in the order of their beginning."""
    settle(harness)
    return [run["run_id"] for run in runs(harness) if harness.store.snapshot(run["run_id"], ("meta",)) is not None
            and status(harness, run["run_id"]) == "RUNNING"]  # fmt: skip


def sweep_all(harness: Harness) -> None:
    harness.clock.now += UNSENT_MS + 1
    for tick in range(LIVE_SHARDS):
        sweep(harness.services, tick)
    settle(harness)


@pytest.fixture
def limited(harness: Harness) -> Harness:
    save(harness, SLOW)
    limit(harness, 2)
    return harness


def three(harness: Harness) -> None:
    """Runs r0, r1 and r2, one after the other, as far as they come by themselves."""
    for number in range(3):
        start(harness, f"r{number}")
        harness.clock.now += 1
    settle(harness)


def test_forks_and_children_go_on_at_once_and_take_no_place(limited: Harness) -> None:
    """A parent with a place could wait for its own child for good, and a fork has no start that could wait."""
    three(limited)
    fork_run(limited.services, ForkRequest("acme", "ann", "r0"), "fork")
    calls = {"items": [1, 2], "workflow": "w"}
    parent = limited.start({"nodes": [{"id": "batch", "type": "map", "config": calls}]})
    settle(limited)
    going = begun(limited)
    assert {"r0", "r1", "fork", parent} < set(going) and len(going) == 6
    assert usage(limited.directory, "acme", "w") == (["r0", "r1"], ["r2"])
    limited.drain()
    assert {run["status"] for run in runs(limited)} == {"COMPLETED"}


def test_runs_past_the_limit_wait_pending_and_begin_as_others_end(limited: Harness) -> None:
    for number in range(5):
        start(limited, f"r{number}")
        limited.clock.now += 1
    assert begun(limited) == ["r0", "r1"]
    assert [status(limited, f"r{number}") for number in range(5)] == ["RUNNING"] * 2 + ["PENDING"] * 3
    limited.drain()
    assert [run["status"] for run in runs(limited)] == ["COMPLETED"] * 5
    assert usage(limited.directory, "acme", "w") == ([], [])


def test_an_end_lets_the_next_begin_without_the_sweep_by_priority_then_by_age(limited: Harness) -> None:
    order = [("r0", 0), ("r1", 0), ("old", 0), ("low", -100), ("new", 0), ("high", 100)]
    for run_id, priority in order:
        start(limited, run_id, priority)
        limited.clock.now += 1
    settle(limited)
    assert usage(limited.directory, "acme", "w") == (["r0", "r1"], ["high", "old", "new", "low"])
    seen = ["r0", "r1"]
    while seen:
        cancel_run(limited.services, seen.pop(0), actor="ann")
        settle(limited)
        going = begun(limited)
        assert len(going) <= 2
        seen += [run_id for run_id in going if run_id not in seen]
        waiting = usage(limited.directory, "acme", "w")[1]
        assert not waiting or len(going) == 2
    assert [run["status"] for run in runs(limited)] == ["CANCELLED"] * 6


def test_a_workflow_without_a_limit_has_no_records_of_places(harness: Harness) -> None:
    """Neither a start nor an end makes a call more than before."""
    save(harness, SLOW)
    calls: list[str] = []
    harness.directory._fault = calls.append
    start(harness, "r0")
    harness.drain()
    asked = [call for call in calls if call in ("directory.query", "directory.delete.before")]
    assert asked == [] and harness.directory.query(places("acme", "w")) == []
    assert "limited" not in harness.meta("r0")


def test_every_version_is_limited_those_saved_later_too(limited: Harness) -> None:
    assert save(limited, {**SLOW, "metadata": {"n": 2}}) == 2
    for number, version in enumerate((1, 2, 2, 1)):
        start(limited, f"r{number}", version=version)
    assert begun(limited) == ["r0", "r1"]


def test_a_limit_of_a_workflow_that_is_not_there_is_refused(harness: Harness) -> None:
    with pytest.raises(NotFound):
        limit(harness, 1)


def test_raising_or_lifting_a_limit_lets_runs_begin_and_lowering_it_ends_none(limited: Harness) -> None:
    for number in range(6):
        start(limited, f"r{number}")
        limited.clock.now += 1
    limit(limited, 3)
    assert begun(limited) == ["r0", "r1", "r2"]
    limit(limited, 1)
    cancel_run(limited.services, "r0", actor="ann")
    assert begun(limited) == ["r1", "r2"]
    for run_id in ("r1", "r2"):
        cancel_run(limited.services, run_id, actor="ann")
    assert begun(limited) == ["r3"]
    limit(limited, None)
    assert begun(limited) == ["r3", "r4", "r5"]


def test_a_waiting_run_is_cancelled_times_out_and_explains_itself(limited: Harness) -> None:
    for number in range(5):
        start(limited, f"r{number}", timeout_ms=1000 if number == 3 else None)
        limited.clock.now += 1
    settle(limited)
    explained = explain_run(limited.services, "acme", "r2")
    assert [entry["waits_for"] for entry in explained["waiting"]] == ["place"]
    cancel_run(limited.services, "r2", actor="ann")
    limited.clock.now += 1000
    detect_timeouts(limited.services)
    settle(limited)
    assert (status(limited, "r2"), status(limited, "r3")) == ("CANCELLED", "TIMED_OUT")
    assert usage(limited.directory, "acme", "w") == (["r0", "r1"], ["r4"])
    limited.clock.now += UNSENT_MS * 3
    assert explain_run(limited.services, "acme", "r4")["problems"] == []
    cancel_run(limited.services, "r0", actor="ann")
    assert begun(limited) == ["r1", "r4"]


def test_a_waiting_run_that_is_paused_lets_others_by_and_takes_its_turn_when_resumed(limited: Harness) -> None:
    for number in range(4):
        start(limited, f"r{number}")
        limited.clock.now += 1
    settle(limited)
    pause_run(limited.services, "r2", actor="ann")
    cancel_run(limited.services, "r0", actor="ann")
    assert begun(limited) == ["r1", "r3"]
    resume_run(limited.services, "r2", actor="ann")
    settle(limited)
    assert "started_at" not in limited.meta("r2")
    cancel_run(limited.services, "r1", actor="ann")
    settle(limited)
    assert "started_at" in limited.meta("r2")


def test_a_run_that_was_paused_while_it_waits_for_a_place_is_pending_again_when_resumed(limited: Harness) -> None:
    three(limited)
    pause_run(limited.services, "r2", actor="ann")
    limited.clock.now += 1
    for _ in range(2):  # again: nothing is left to resume
        resume_run(limited.services, "r2", actor="ann")
    settle(limited)
    assert (status(limited, "r2"), "started_at" in limited.meta("r2")) == ("PENDING", False)
    assert [event["type"] for event in limited.events("r2")] == ["run_created", "run_paused", "run_resumed"]
    limited.assert_fold_equals_store("r2")
    explained = explain_run(limited.services, "acme", "r2")
    assert (explained["status"], [entry["waits_for"] for entry in explained["waiting"]]) == ("PENDING", ["place"])
    cancel_run(limited.services, "r0", actor="ann")
    settle(limited)
    assert status(limited, "r2") == "RUNNING"
    limited.drain()
    limited.assert_fold_equals_store("r2")


def test_a_run_that_began_by_a_redrive_has_begun_and_is_running_when_resumed(limited: Harness) -> None:
    three(limited)
    cancel_run(limited.services, "r2", actor="ann")
    begun_at = limited.clock.now
    redrive_run(limited.services, "r2", "ann")
    limited.clock.now += 1
    pause_run(limited.services, "r2", actor="ann")
    resume_run(limited.services, "r2", actor="ann")
    assert (status(limited, "r2"), limited.meta("r2")["started_at"]) == ("RUNNING", str(begun_at))
    limited.drain()
    limited.assert_fold_equals_store("r2")


def test_a_waiting_run_is_patched_and_does_not_begin_by_that(limited: Harness) -> None:
    three(limited)
    node = {"id": "b", "type": "pass"}
    patch = [{"op": "add", "path": "/nodes/-", "value": node}]
    patch_run(limited.services, PatchRequest("acme", "ann", "r2", Change(lambda plan: patch, "more")))
    settle(limited)
    assert (status(limited, "r2"), "started_at" in limited.meta("r2")) == ("PENDING", False)
    limited.drain()
    assert limited.output("r2").keys() == {"a", "b"}


def test_a_run_that_is_set_going_again_by_hand_goes_on_at_once_and_does_not_count(limited: Harness) -> None:
    for number in range(4):
        start(limited, f"r{number}")
        limited.clock.now += 1
    settle(limited)
    cancel_run(limited.services, "r0", actor="ann")
    redrive_run(limited.services, "r0", "ann")
    assert begun(limited) == ["r0", "r1", "r2"]
    assert usage(limited.directory, "acme", "w") == (["r2", "r1"], ["r3"])
    limited.drain()
    assert [run["status"] for run in runs(limited)] == ["COMPLETED"] * 4


def test_a_repeated_start_takes_no_second_place_and_waits_once(limited: Harness) -> None:
    for _ in range(3):
        start(limited, "r0")
    settle(limited)
    for _ in range(2):
        start(limited, "r0")
        start(limited, "r1")
        start(limited, "r2")
    settle(limited)
    assert usage(limited.directory, "acme", "w") == (["r0", "r1"], ["r2"])
    tasks = {json.loads(message.body)["job_id"] for message in limited.queues.receive("tasks-function")}
    assert len(tasks) == 2


def test_a_loss_of_redis_begins_no_waiting_run_and_loses_none(limited: Harness) -> None:
    for number in range(4):
        start(limited, f"r{number}")
        limited.clock.now += 1
    settle(limited)
    limited.client.flushall()
    sweep_all(limited)
    assert begun(limited) == ["r0", "r1"]
    assert [verify_run(limited.services, "acme", f"r{number}")["ok"] for number in range(4)] == [True] * 4
    limited.client.flushall()
    cancel_run(limited.services, "r0", actor="ann")
    assert status(limited, "r2") in ("PENDING", "RUNNING")
    sweep_all(limited)
    assert begun(limited) == ["r1", "r2"]
    limited.drain()
    assert {run["status"] for run in runs(limited)} == {"CANCELLED", "COMPLETED"}


def test_a_place_whose_run_ended_unseen_is_passed_on_by_the_sweep(limited: Harness) -> None:
    three(limited)

    def broken(operation: str) -> None:
        if operation.startswith(("directory.replace", "directory.delete")):
            unavailable()

    limited.directory._fault = broken
    cancel_run(limited.services, "r0", actor="ann")
    limited.directory._fault = lambda _: None
    assert begun(limited) == ["r1"]
    sweep_all(limited)
    assert begun(limited) == ["r1", "r2"]
    limited.clock.now += GRACE_MS
    sweep_all(limited)
    assert sorted(usage(limited.directory, "acme", "w")[0]) == ["r1", "r2"]


# --- Deaths and races -----------------------------------------------------------------------------------------------


def start_with_room(harness: Harness) -> None:
    for run_id in ("r2", "r1"):
        cancel_run(harness.services, run_id, actor="ann")
    start(harness, "new")


#: What is disturbed: with two places, r0 and r1 have them, r2 waits.
ACTS = {
    "a start that waits": lambda h: start(h, "new"),
    "a start with room": start_with_room,
    "an end": lambda h: cancel_run(h.services, "r0", actor="ann"),
    "the sweep": lambda h: (h.client.flushall(), sweep_all(h)),
    "a limit": lambda h: limit(h, 3),
}  # fmt: skip
OTHERS = {
    "death": lambda h: die(),
    "lost call or answer": lambda h: unavailable(),
    "a start": lambda h: start(h, "other"),
    "an end": lambda h: cancel_run(h.services, "r1", actor="bob"),
    "the same end": lambda h: cancel_run(h.services, "r0", actor="bob"),
    "the sweep": sweep_all,
    "another look": lambda h: admit(h.services, "acme", "w"),
}


#: Those that show most; together all 35 pairs take over a minute.
PAIRS = [
    *((act, other) for act in ("a start that waits", "an end") for other in OTHERS if other != "the sweep"),
    ("the sweep", "death"),
    ("a limit", "an end"),
    ("a start with room", "a start"),
]


@pytest.mark.parametrize(("act", "other"), PAIRS)
def test_no_run_is_lost_and_no_limit_passed_whatever_happens_between_any_two_calls(
    client: redis.Redis, act: str, other: str
) -> None:
    most = 3 if act == "a limit" else 2
    for at in itertools.count():
        client.flushall()
        harness = Harness(client)
        save(harness, SLOW)
        limit(harness, 2)
        three(harness)
        mortal = Mortal(harness)
        mortal.once(at, lambda h=harness: OTHERS[other](h))
        with contextlib.suppress(Dead, Exception):
            ACTS[act](harness)
        over = mortal.at is not None
        mortal.at = None
        check(harness, most, f"{act}, met by {other} at call {at}")
        if over:
            assert at > 5
            return


def check(harness: Harness, most: int, what: str) -> None:
    """Never more than `most` at a time; after the sweep as many as there can be; in the end all runs have ended."""
    assert len(begun(harness)) <= most, what
    for _ in range(10):
        sweep_all(harness)
        going = begun(harness)
        open_ = [run["run_id"] for run in runs(harness) if run["status"] in ("PENDING", "RUNNING")]
        assert len(going) <= most, what
        assert len(going) >= min(2, len(open_)), what
        if not open_:
            assert usage(harness.directory, "acme", "w") == ([], []), what
            return
        cancel_run(harness.services, going[0], actor="ann")
    raise AssertionError(f"{what}: runs never end")
