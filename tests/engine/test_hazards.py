"""HAZARDS 1 to 6, one interleaving each: forks, slow steps, rebuilds, duplicates, generations."""

from __future__ import annotations

import contextlib

from chalicelib.domain.errors import Unavailable
from chalicelib.engine.controls import pause_run, resume_run
from chalicelib.engine.rebuild import rebuild
from chalicelib.engine.supervise import UNSENT_MS
from tests.engine.harness import Harness
from tests.engine.hazards import (
    another,
    assert_whole,
    count,
    fall_back,
    handle_until_done,
    lost,
    recover,
    signal,
    tasks,
)
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import sweep_all

FOUR = {"nodes": [function(name) for name in "abcd"]}
CHAIN = {"nodes": [function("a", {"n": 1}), function("b", {"n": 2})], "edges": edges("a:b")}


def test_1_an_append_past_a_fork_is_refused_and_a_late_acknowledgement_trims_nothing_of_it(harness: Harness) -> None:
    run_id = harness.start(FOUR)
    held = tasks(harness)
    old = harness.store.snapshot(run_id)
    for node in "ab":
        assert harness.coordinator.handle([signal(held[node])]) == set()
    written = harness.journal.read(run_id)
    fall_back(harness, run_id, old)
    install, harness.store.install = harness.store.install, lost  # nobody can rebuild it yet
    assert another(harness).handle([signal(held["c"])]) == {0}
    forked = harness.store.snapshot(run_id)
    harness.store.acknowledge([(run_id, item.no, item.id, ()) for item in written[-2:]])
    assert harness.store.snapshot(run_id) == forked
    assert another(harness).handle([signal(held["d"])]) == {0}
    assert harness.journal.read(run_id) == written
    harness.store.install = install
    harness.clock.now += UNSENT_MS
    sweep_all(harness)
    assert count(harness, run_id, "run_rebuilt") == 1
    handle_until_done(harness, signal(held["c"]), signal(held["d"]))
    recover(harness)
    assert harness.journal.read(run_id)[: len(written)] == written
    assert count(harness, run_id, "node_completed") == 4
    assert_whole(harness, run_id)


def test_1_a_refusal_makes_the_store_give_way_at_once(harness: Harness) -> None:
    run_id = harness.start(FOUR)
    held = tasks(harness)
    old = harness.store.snapshot(run_id)
    handle_until_done(harness, signal(held["a"]))
    fall_back(harness, run_id, old)
    assert harness.coordinator.handle([signal(held["b"])]) == {0}
    assert harness.coordinator.handle([signal(held["b"])]) == set()
    assert [count(harness, run_id, type_) for type_ in ("run_rebuilt", "node_completed")] == [1, 2]
    handle_until_done(harness, signal(held["c"]), signal(held["d"]))
    recover(harness)
    assert_whole(harness, run_id)


def test_2_a_takeover_rewrites_the_items_byte_for_byte_and_never_regroups_them(harness: Harness) -> None:
    run_id = harness.start(FOUR)
    held = tasks(harness)
    append, late = harness.journal.append, []

    def slow(items, records=()):
        late.extend(items)
        raise Unavailable("The step is slow; it will write these later.")

    harness.journal.append = slow
    for node in "ab":
        with contextlib.suppress(Unavailable):
            assert harness.coordinator.handle([signal(held[node])]) == {0}
        harness.clock.now += 3000
    harness.journal.append = append
    handle_until_done(harness, signal(held["c"]))
    for item in late:  # the slow steps wake up: the same bytes, in the same places
        assert append([item]) == []
    items = harness.journal.read(run_id)
    assert [item.no for item in items] == list(range(1, len(items) + 1))
    handle_until_done(harness, *(signal(held[node]) for node in "abd"))
    harness.drain()
    assert_whole(harness, run_id)


def test_3_a_step_waits_for_the_one_that_writes_and_writes_only_its_own(harness: Harness) -> None:
    run_id = harness.start(FOUR)
    held = tasks(harness)
    append, pause = harness.journal.append, harness.services.pause
    written: list[list[int]] = []
    on_its_way: list = []

    def write(items, records=()):
        written.append([item.no for item in items])
        return append(items, records)

    def arrive(seconds: float) -> None:
        """The second step looks again; meanwhile the first one's write arrives."""
        if on_its_way:
            items = on_its_way.pop()
            write(items)
            harness.store.acknowledge([(run_id, items[-1].no, items[-1].id, ())])
        pause(seconds)

    def slow(items, records=()):
        """Before the first step's write arrives, a second step of the run commits, and has to wait for it."""
        on_its_way.append(list(items))
        harness.journal.append = write
        assert another(harness).handle([signal(held["b"])]) == set()
        return []

    object.__setattr__(harness.services, "pause", arrive)
    harness.journal.append = slow
    begun = harness.clock.now
    assert harness.coordinator.handle([signal(held["a"])]) == set()
    assert len(written) == 2 and set(written[0]).isdisjoint(written[1])
    assert harness.clock.now - begun < 2000  # the lease was handed on, not waited out
    handle_until_done(harness, signal(held["c"]), signal(held["d"]))
    harness.drain()
    assert_whole(harness, run_id)


def test_4_a_rebuild_of_a_healthy_run_keeps_its_unjournaled_commits(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    held = tasks(harness)
    append, harness.journal.append = harness.journal.append, lost
    with contextlib.suppress(Unavailable):
        harness.coordinator.handle([signal(held["a"], {"n": 1})])
    harness.journal.append = append
    stored, journaled = harness.meta(run_id)["no"], len(harness.journal.read(run_id))
    assert int(stored) > journaled
    harness.clock.now += 3000
    folded = rebuild(harness.services, run_id)
    assert folded["meta"]["no"] == stored == harness.meta(run_id)["no"]
    handle_until_done(harness, signal(held["a"], {"n": 1}))
    harness.drain()
    assert_whole(harness, run_id)


def test_4_a_rebuild_that_is_stale_on_arrival_installs_nothing(harness: Harness) -> None:
    run_id = harness.start(FOUR)
    held = tasks(harness)
    old = harness.store.snapshot(run_id)
    harness.coordinator.handle([signal(held["a"])])
    fall_back(harness, run_id, old)
    install, moved = harness.store.install, []

    def late(name, state, replaces=""):
        if not moved:  # before it arrives, another process has rebuilt the run and gone on
            moved.append(True)
            rebuild(harness.services, name)
            handle_until_done(harness, signal(held["b"]))
        return install(name, state, replaces)

    harness.store.install = late
    rebuild(harness.services, run_id)
    harness.store.install = install
    assert count(harness, run_id, "node_completed") == 2
    handle_until_done(harness, *(signal(held[node]) for node in "abcd"))
    recover(harness)
    assert_whole(harness, run_id)


def test_5_a_duplicate_is_known_as_settled_even_where_the_store_is_gone(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    first = tasks(harness)["a"]
    handle_until_done(harness, signal(first, {"n": 1}))
    harness.client.flushall()
    handle_until_done(harness, signal(first, {"n": 99}))
    recover(harness)
    assert count(harness, run_id, "node_completed") == 2
    assert harness.output(run_id) == {"b": {"n": 2}}
    assert_whole(harness, run_id)


def test_5_a_forged_job_id_costs_no_rebuild_and_goes_to_the_dead_letters(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    first = tasks(harness)["a"]
    harness.client.flushall()
    body, _, mac = first["job_id"].rpartition(".")
    forged = {**first, "job_id": f"{body}.{'0' * len(mac)}"}
    read, harness.journal.read = harness.journal.read, lost
    assert harness.coordinator.handle([signal(forged)]) == set()
    harness.journal.read = read
    assert harness.queues.depth("completion-signals-dlq") == 1
    assert harness.store.snapshot(run_id) is None


def test_6_generations_of_a_lost_and_a_later_change_never_meet(harness: Harness) -> None:
    run_id = harness.start(FOUR)
    held = tasks(harness)
    old = harness.store.snapshot(run_id)
    pause_run(harness.services, run_id, "ann")
    first = harness.meta(run_id)["gen"]
    fall_back(harness, run_id, old)
    commit, seen = harness.store.commit, []

    def noting(calls: list) -> list:
        answers = commit(calls)
        seen.append(harness.meta(run_id)["gen"])
        return answers

    harness.store.commit = noting
    pause_run(harness.services, run_id, "bob")  # refused by the journal, and the run rebuilt as ann has paused it
    harness.store.commit = commit
    assert seen[-1] == harness.meta(run_id)["gen"] and len(seen) == 2
    assert len({first, old["meta"]["gen"], *seen}) == 4
    resume_run(harness.services, run_id, "ann")
    handle_until_done(harness, *(signal(held[node]) for node in "abcd"))
    recover(harness)
    assert_whole(harness, run_id)
