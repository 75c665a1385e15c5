"""Snapshots of long runs: a rebuild starts at the newest one, whatever became of it (HAZARDS 4)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from copy import deepcopy

import pytest

from chalicelib.domain.errors import Unavailable
from chalicelib.domain.fold import fold
from chalicelib.engine.directory_keys import snapshot_key
from chalicelib.engine.forks import ForkRequest, fork_run
from chalicelib.engine.history import FIRST_PAGE, PAGE, advance_snapshot, catch_up, load_items, load_state
from chalicelib.engine.snapshots import EVERY, newest, recorded, spacing_of
from chalicelib.engine.verify import verify_run
from tests.engine.harness import Harness
from tests.engine.hazards import assert_whole, lost
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import sweep_all

#: Loops side by side, so that batches are full; two commits a round: the task's settlement, and the loop's.
LANES, ROUNDS = 10, 160


def document() -> dict:
    lanes = range(LANES)
    loop = {"condition": "iteration < input.rounds", "max_iterations": 9000}
    return {
        "vars": {f"sum{i}": 0 for i in lanes},
        "nodes": [
            *[
                function(f"work{i}", {"i": "${iteration}"}, set={f"sum{i}": f"${{vars.sum{i} + output.i}}"})
                for i in lanes
            ],
            *[{"id": f"again{i}", "type": "loop", "loop": {**loop, "loop_back_to": f"work{i}"}} for i in lanes],
            function("end", {"sum": "${vars.sum0 + vars.sum9}"}),
        ],
        "edges": edges(*[f"work{i}:again{i}" for i in lanes], *[f"again{i}:end" for i in lanes]),
    }


def drive(harness: Harness, run_id: str, stop: int) -> None:
    """Go on until the run has so many commits, or has ended."""
    while (harness.settle_batch() or harness.work_batch()) and int(harness.meta(run_id)["no"]) < stop:
        pass


def long_run(harness: Harness, rounds: int = ROUNDS, stop: int = 10**9) -> str:
    run_id = harness.start(document(), {"rounds": rounds})
    drive(harness, run_id, stop)
    return run_id


def copied(harness: Harness, ours: Harness, run_id: str) -> None:
    """Give one harness another's run, journal and values, without running it again."""
    harness.journal._chains[run_id] = list(ours.journal._chains[run_id])
    harness.artifacts._bodies.update(ours.artifacts._bodies)
    harness.directory._texts.update(ours.directory._texts)
    harness.directory._keys.update(deepcopy(ours.directory._keys))
    assert harness.store.install(run_id, load_state(harness.services, run_id))
    harness.ids.new()
    for _ in range(next(ours.ids._count)):  # no commit may have the id of an old one
        harness.ids.new()


@pytest.fixture(scope="module")
def made(redis_server) -> Iterator[tuple[Harness, str]]:
    """One live run of more than 3,000 commits, which tests copy."""
    import redis

    client = redis.Redis(port=redis_server.port, db=1, decode_responses=True)
    client.flushdb()
    ours = Harness(client)
    run_id = long_run(ours, stop=3100)
    yield ours, run_id
    client.close()


@pytest.fixture
def long(harness: Harness, made: tuple[Harness, str]) -> str:
    ours, run_id = made
    copied(harness, ours, run_id)
    return run_id


def count_reads(harness: Harness) -> list[int]:
    """The number of items of each journal read from now on."""
    found: list[int] = []
    read = harness.journal.read

    def counted(*arguments, **named):
        items = read(*arguments, **named)
        found.append(len(items))
        return items

    harness.journal.read = counted
    return found


def whole_fold(harness: Harness, run_id: str) -> dict:
    return fold(load_items(harness.services, run_id))


def test_a_long_run_is_rebuilt_from_its_snapshot_and_goes_on(harness: Harness, long: str) -> None:
    harness.client.flushall()
    reads = count_reads(harness)
    assert load_state(harness.services, long)["meta"]["no"] == str(load_items(harness.services, long)[-1].no)
    reads.clear()
    sweep_all(harness)
    assert 0 < sum(reads) <= EVERY + FIRST_PAGE + 1
    assert harness.meta(long)["status"] == "RUNNING"
    harness.drain()
    assert harness.output(long) == {"end": {"sum": ROUNDS * (ROUNDS + 1)}}
    harness.assert_fold_equals_store(long)
    assert_whole(harness, long)


def test_the_snapshots_follow_each_other_at_about_a_thousand_commits(harness: Harness, long: str) -> None:
    kept = newest(harness.services, long)
    assert kept is not None and 3000 <= kept.no < 3000 + EVERY
    assert kept.state == fold(item for item in load_items(harness.services, long) if item.no <= kept.no)
    assert load_state(harness.services, long) == whole_fold(harness, long)


def test_a_short_run_has_no_snapshot_and_its_rebuild_asks_for_none(harness: Harness) -> None:
    run_id = long_run(harness, 2)
    assert recorded(harness.services, run_id) is None
    harness.directory.get = lost
    reads = count_reads(harness)
    assert load_state(harness.services, run_id)["meta"]["status"] == "COMPLETED"
    assert len(reads) == 1


def corrupt_bytes(harness: Harness, run_id: str) -> None:
    ref = recorded(harness.services, run_id)["ref"]
    harness.artifacts._bodies[ref.rpartition("/")[2]] = b"no snapshot"


def missing_artifact(harness: Harness, run_id: str) -> None:
    ref = recorded(harness.services, run_id)["ref"]
    del harness.artifacts._bodies[ref.rpartition("/")[2]]


def missing_record(harness: Harness, run_id: str) -> None:
    harness.directory.delete(snapshot_key(run_id))


def other_form(harness: Harness, run_id: str) -> None:
    harness.directory.put(snapshot_key(run_id), {**recorded(harness.services, run_id), "form": 99})


def half_a_record(harness: Harness, run_id: str) -> None:
    harness.directory.put(snapshot_key(run_id), {"form": 1, "no": 3000})


def another_commit(harness: Harness, run_id: str) -> None:
    """As if it had been made of a journal that is not this one."""
    record = recorded(harness.services, run_id)
    state = newest(harness.services, run_id).state
    state["meta"]["cid"] = "elsewhere"
    ref = harness.artifacts.put(zlib.compress(json.dumps(state).encode()))
    harness.directory.put(snapshot_key(run_id), {**record, "id": "elsewhere", "ref": ref})


def no_state(harness: Harness, run_id: str) -> None:
    ref = harness.artifacts.put(zlib.compress(b"[1, 2]"))
    harness.directory.put(snapshot_key(run_id), {**recorded(harness.services, run_id), "ref": ref})


BREAKS = [corrupt_bytes, missing_artifact, missing_record, other_form, half_a_record, another_commit, no_state]


@pytest.mark.parametrize("break_it", BREAKS)
def test_without_a_snapshot_that_can_be_trusted_the_whole_journal_is_folded(
    harness: Harness, long: str, break_it
) -> None:
    break_it(harness, long)
    items = len(load_items(harness.services, long))
    reads = count_reads(harness)
    assert load_state(harness.services, long) == whole_fold(harness, long)
    assert sum(reads) >= 2 * items
    harness.client.flushall()
    sweep_all(harness)
    assert harness.meta(long)["status"] == "RUNNING"


@pytest.mark.parametrize("break_it", [corrupt_bytes, missing_record, another_commit])
def test_a_broken_snapshot_is_made_anew_in_bounded_steps(harness: Harness, long: str, break_it) -> None:
    break_it(harness, long)
    reads, kept = count_reads(harness), None
    for _ in range(3):
        reads.clear()
        advance_snapshot(harness.services, long)
        assert sum(reads) <= 2 * EVERY + FIRST_PAGE + 2 * PAGE
        kept = newest(harness.services, long)
    assert kept is not None and kept.no >= 3000
    assert verify_run(harness.services, "acme", long)["ok"]


def test_the_sweep_makes_the_snapshot_that_no_step_made(harness: Harness, long: str) -> None:
    missing_record(harness, long)
    for _ in range(2):
        sweep_all(harness)
    assert newest(harness.services, long).no >= 2000
    before = recorded(harness.services, long)
    sweep_all(harness)
    assert recorded(harness.services, long) == before


def test_a_look_at_a_run_whose_snapshot_is_there_reads_no_journal(harness: Harness, long: str) -> None:
    reads = count_reads(harness)
    catch_up(harness.services, long, harness.meta(long))
    assert reads == []


@pytest.mark.parametrize("port", ["artifacts.put", "directory.put", "directory.get", "journal.read"])
def test_a_step_that_cannot_make_its_snapshot_settles_all_the_same(harness: Harness, port: str) -> None:
    from dataclasses import replace

    from chalicelib.engine.step import Coordinator

    name, method = port.split(".")

    class Broken:
        def __init__(self, inner):
            self._inner = inner

        def __getattr__(self, asked):
            return lost if asked == method else getattr(self._inner, asked)

    run_id = long_run(harness, stop=980)
    harness.services = replace(harness.services, **{name: Broken(getattr(harness.services, name))})
    harness.coordinator = Coordinator(harness.services)
    with pytest.raises(Unavailable):
        getattr(getattr(harness.services, name), method)()
    drive(harness, run_id, 1020)
    harness.services = replace(harness.services, **{name: getattr(harness, name)})
    assert recorded(harness.services, run_id) is None
    assert_whole(harness, run_id, "RUNNING")


def test_a_snapshot_that_is_stored_and_not_named_changes_nothing(harness: Harness, long: str) -> None:
    named = recorded(harness.services, long)
    put, harness.directory.put = harness.directory.put, lost
    advance_snapshot(harness.services, long)
    harness.directory.put = put
    assert recorded(harness.services, long) == named
    assert load_state(harness.services, long) == whole_fold(harness, long)


def test_verify_compares_the_snapshot_with_the_fold_at_its_commit(harness: Harness, long: str) -> None:
    assert verify_run(harness.services, "acme", long)["ok"]
    record, kept = recorded(harness.services, long), newest(harness.services, long)
    kept.state["vars"]["sum3"] = "1||1"
    ref = harness.artifacts.put(zlib.compress(json.dumps(kept.state).encode()))
    harness.directory.put(snapshot_key(long), {**record, "ref": ref})
    [finding] = verify_run(harness.services, "acme", long)["differences"]
    assert (finding["code"], finding["where"], finding["snapshot"]) == ("snapshot_differs", "vars/sum3", "1||1")
    missing_artifact(harness, long)
    [finding] = verify_run(harness.services, "acme", long)["differences"]
    assert (finding["code"], finding["where"]) == ("snapshot_unreadable", str(kept.no))


def test_a_fork_of_a_long_run_has_snapshots_of_its_own(harness: Harness, long: str) -> None:
    middle = next(item for item in load_items(harness.services, long) if item.no == 1000)
    fork_run(harness.services, ForkRequest("acme", "ann", long, from_seq=middle.seq), "fork-1")
    drive(harness, "fork-1", 2100)
    kept = newest(harness.services, "fork-1")
    assert kept is not None and 2000 <= kept.no <= 2100
    assert recorded(harness.services, "fork-1") != recorded(harness.services, long)
    assert load_state(harness.services, "fork-1") == whole_fold(harness, "fork-1")
    harness.client.flushall()
    reads = count_reads(harness)
    sweep_all(harness)
    assert sum(reads) <= 2 * (EVERY + FIRST_PAGE + 1) + EVERY  # the fork's journal and the other run's
    assert_whole(harness, "fork-1", "RUNNING")


def test_larger_snapshots_are_further_apart() -> None:
    assert spacing_of(0) == spacing_of(4_096_000) == EVERY
    assert spacing_of(40_960_000) == 10 * EVERY
