"""Commits reach the journal in their order, whoever writes them and whoever dies (HAZARDS 1-3)."""

from __future__ import annotations

import dataclasses
import random
from itertools import pairwise

import pytest
import redis

from chalicelib.domain.commit import Draft, Event
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.fold import fold
from chalicelib.domain.ids import Token
from chalicelib.domain.journal import parse_item
from chalicelib.engine.controls import cancel_run
from chalicelib.engine.effects import RunWrites
from chalicelib.engine.flush import (
    WAIT_MS,
    Written,
    ending_records,
    flush_run,
    flush_upto,
    journal_item,
    write_items,
)
from chalicelib.engine.ports import JournalItem
from tests.doubles.journal import MemoryJournal
from tests.engine.harness import Harness
from tests.engine.hazards import lost
from tests.engine.test_step import edges, function
from tests.lua.boards import Board, begin, emits, said

SIGNALS = "completion-signals"


class World:
    """A run in the store and its journal, and steps by name that commit to it and write what they committed."""

    def __init__(self, harness: Harness, run_id: str = "r1") -> None:
        self.harness, self.services = harness, harness.services
        self.board = Board(harness.store, run_id)
        self.journal.append([journal_item(run_id, self.board.texts[0])])
        self.made: dict[str, RunWrites] = {}

    @property
    def journal(self) -> MemoryJournal:
        return self.services.journal

    def commit(self, owner: str, *names: str) -> None:
        """One commit of this step, not yet written."""
        draft = said(Draft(emits=emits(*names)))
        answer = self.board.commit(draft, owner=owner, now=self.services.clock.now_ms())
        assert answer.word == "OK"
        writes = self.made.setdefault(owner, RunWrites(mark=answer.mark, lease=answer.lease))
        writes.items[self.board.item.no] = journal_item(self.board.run_id, self.board.texts[-1])

    def write(self, owner: str) -> tuple[dict[str, Written], set[str]]:
        """This step writes what it committed, and notes it."""
        written, lost = write_items(self.services, owner, {self.board.run_id: self.made.pop(owner)})
        for run_id, last in written.items():
            self.services.store.acknowledge([(run_id, last.no, last.id, ())])
        return written, lost

    def written(self) -> list[str]:
        return [item.text for item in self.journal.read(self.board.run_id, 0, 10_000)]

    def mark(self) -> int:
        return int(self.board.stored()["meta"]["mark"])


@pytest.fixture
def world(harness: Harness) -> World:
    return World(harness)


def fresh(world: World, **parts: object) -> None:
    world.services = dataclasses.replace(world.services, **parts)


def test_a_look_at_a_run_does_not_wait_for_the_lease_of_a_step_that_has_written(harness: Harness) -> None:
    """Each read after a hop, and the sweep at each busy run, took until the lease ran out: two seconds."""
    run_id = harness.start({"nodes": [function("a"), function("b")], "edges": edges("a:b")})
    while harness.settle_batch() or harness.work_batch():
        meta = harness.meta(run_id)
        if meta["status"] == "RUNNING" and int(meta["mark"]) < int(meta["no"]):
            break
    else:
        raise AssertionError("no step left the mark behind")
    assert meta["lease"] and int(meta["lease_until"]) > harness.clock.now
    before = harness.clock.now
    flush_run(harness.services, run_id)
    assert harness.clock.now == before
    assert harness.meta(run_id)["mark"] == meta["no"] and harness.store.unwritten(run_id, "x", before)[2] == []


def test_a_look_at_a_commit_that_is_not_written_waits_for_the_lease_and_writes_it(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a")]})
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        harness.settle_batch()
    harness.journal.append = append
    meta, before = harness.meta(run_id), harness.clock.now
    assert harness.journal.read(run_id)[-1].no < int(meta["no"])
    flush_run(harness.services, run_id)
    assert 1000 < harness.clock.now - before <= 2500
    assert harness.journal.read(run_id)[-1].no == int(meta["no"]) == int(harness.meta(run_id)["mark"])


def test_a_step_alone_writes_its_own_items_in_one_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.commit("A", "a")
    world.commit("A", "b")
    monkeypatch.setattr(world.services.store, "unwritten", None)
    assert world.write("A") == ({"r1": Written(3, "c3")}, set())
    assert world.written() == world.board.texts
    assert world.mark() == 3


def test_the_second_owner_waits_until_the_first_has_written(world: World) -> None:
    world.commit("A", "a")
    world.commit("B", "b")
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            world.write("A")

    fresh(world, pause=pause)
    assert world.write("B") == ({"r1": Written(3, "c3")}, set())
    assert len(waits) == 3
    assert world.written() == world.board.texts


def test_the_second_owner_finds_its_item_written_by_the_first(world: World) -> None:
    """The first saw the whole tail because it came late to its own item."""
    world.commit("A", "a")
    world.commit("B", "b")
    world.made["A"].lease = False
    world.write("A")
    assert world.written() == world.board.texts
    assert world.write("B") == ({"r1": Written(3, "c3")}, set())
    assert world.written() == world.board.texts


def test_a_dead_owners_items_are_written_once_its_lease_has_run_out(world: World) -> None:
    world.commit("dead", "a")
    world.commit("dead", "b")
    world.commit("B", "c")
    before = world.services.clock.now_ms()
    world.write("B")
    assert 2000 <= world.services.clock.now_ms() - before < WAIT_MS
    assert world.written() == world.board.texts
    assert world.mark() == 4


def test_a_slow_writer_that_was_taken_over_writes_the_same_bytes_again(world: World) -> None:
    world.commit("slow", "a")
    world.commit("B", "b")
    world.write("B")
    world.commit("B", "c")
    world.write("B")
    assert world.write("slow") == ({"r1": Written(2, "c2")}, set())
    assert world.written() == world.board.texts
    assert world.mark() == 4


def test_a_lease_that_never_comes_free_fails_its_run_and_no_neighbour(world: World) -> None:
    world.commit("A", "a")
    world.commit("B", "b")
    other = World(world.harness, "r2")
    other.commit("B", "x")

    def renew(seconds: float) -> None:
        world.harness.clock.now += max(1, int(seconds * 1000))
        world.services.store.unwritten("r1", "A", world.harness.clock.now)

    fresh(world, pause=renew)
    pending = {"r1": world.made["B"], "r2": other.made["B"]}
    written, lost = write_items(world.services, "B", pending)
    assert (written, lost) == ({"r2": Written(2, "c2")}, {"r1"})
    assert other.written() == other.board.texts
    assert world.written() == world.board.texts[:1]


def fork(world: World, at: int, id: str = "other") -> JournalItem:
    """Another commit in the journal where the store will put its own: Redis fell behind and moved on."""
    mine = journal_item("r1", world.board.texts[at - 1])
    text = mine.text.replace(f'"id":"{mine.id}"', f'"id":"{id}"')
    item = dataclasses.replace(mine, id=id, text=text)
    assert world.journal.append([item]) == []
    return item


def test_a_refused_item_takes_all_later_ones_of_its_run_with_it_and_no_other_run(world: World) -> None:
    world.commit("A", "a")
    world.commit("A", "b")
    other = World(world.harness, "r2")
    other.commit("A", "x")
    forked = fork(world, 2)
    written, lost = write_items(world.services, "A", {"r1": world.made["A"], "r2": other.made["A"]})
    assert (written, lost) == ({"r2": Written(2, "c2")}, {"r1"})
    assert world.written() == [world.board.texts[0], forked.text]
    assert other.written() == other.board.texts


def test_an_item_past_a_fork_is_refused_though_its_place_is_free(world: World) -> None:
    """The journal checks the predecessor: a new number alone would let it grow a branch (HAZARDS 1)."""
    world.commit("A", "a")
    fork(world, 2)
    world.services.store.acknowledge([("r1", 2, "c2", ())])
    world.made.clear()
    world.commit("A", "b")
    assert world.write("A") == ({}, {"r1"})
    assert len(world.written()) == 2


@pytest.mark.parametrize("own", [True, False], ids=["its own commit", "one it found"])
def test_a_number_that_another_commit_took_meanwhile_is_no_proof(own: bool, world: World, client: redis.Redis) -> None:
    """The store lost two commits and was rebuilt while a step waited for them; what it has to send belongs to none."""
    world.commit("A", "a")
    world.commit("B", "b")
    if not own:
        world.made["B"] = RunWrites(needs=[Written(3, "c3", world.board.item.seq)])

    def rebuild(_: float) -> None:
        lost, world.board.texts = world.board.texts, world.board.texts[:1]
        client.flushall()
        state = fold([parse_item(lost[0])])
        assert world.services.store.install("r1", state)
        for name in ("x", "y"):
            call = world.board.call(said(Draft(emits=emits(name))), owner="C")
            call = dataclasses.replace(call, body=call.body.replace('"id":"c', '"id":"other'))
            world.board.accept(call, world.services.store.commit([call])[0])
        flush_run(world.harness.services, "r1")

    fresh(world, pause=rebuild)
    assert world.write("B") == ({}, {"r1"})
    assert world.written() == world.board.texts


def test_what_a_dead_step_left_is_written_by_the_step_that_needs_it(world: World) -> None:
    world.commit("dead", "a")
    world.commit("dead", "b")
    world.made["B"] = RunWrites(needs=[Written(3, "c3")])
    assert world.write("B") == ({"r1": Written(3, "c3")}, set())
    assert world.written() == world.board.texts


def test_what_is_needed_may_be_above_what_the_step_committed_itself(world: World) -> None:
    world.commit("A", "a")
    world.commit("dead", "b")
    world.made["A"].needs = [Written(3, "c3")]
    assert world.write("A") == ({"r1": Written(3, "c3")}, set())
    assert world.written() == world.board.texts


def test_flushing_a_run_brings_its_tail_into_the_journal_or_touches_nothing(world: World, client: redis.Redis) -> None:
    world.commit("dead", "a")
    world.commit("dead", "b")
    flush_run(world.services, "r1")
    assert world.written() == world.board.texts
    assert world.mark() == 3
    before = client.hgetall("graft:{r1}:meta")
    flush_run(world.services, "r1")
    flush_run(world.services, "no such run")
    assert client.hgetall("graft:{r1}:meta") == before


def test_flushing_a_run_that_fell_behind_its_journal_is_unavailable(world: World) -> None:
    world.commit("A", "a")
    fork(world, 2)
    with pytest.raises(Unavailable, match="behind its journal"):
        flush_upto(world.services, "r1", 2)
    assert world.mark() == 1


def test_only_items_that_end_a_run_bring_records(world: World) -> None:
    world.commit("A", "final")
    shown = {"tenant": "t", "workflow": "w", "version": "", "created_at": "1800000000000", "status": "CANCELLED"}
    world.board.commit(
        Draft(cancel_all=True, final=True, meta=shown, events=[Event("run_cancelled", data={"final": 1})])
    )
    items = [journal_item("r1", text) for text in world.board.texts]
    records = ending_records(items)
    assert {record.run_id for record in records} == {"r1"}
    assert ending_records(items[:-1]) == []
    assert all(record.record["status"] == "CANCELLED" for record in records)


def test_an_event_that_quotes_an_end_does_not_end_a_run(world: World) -> None:
    world.board.commit(Draft(events=[Event("patch_applied", data={"description": '"final":1'})], vars={"final": 1}))
    assert ending_records([journal_item("r1", world.board.texts[-1])]) == []


@pytest.mark.parametrize("seed", range(12))
def test_owners_interleaved_at_random_leave_one_gapless_chain(seed: int, world: World) -> None:
    """Some die with their items unwritten; what they left is written by others, byte for byte."""
    rng = random.Random(seed)
    begin(world.board, "start")
    world.made["first"] = RunWrites({2: journal_item("r1", world.board.texts[1])}, mark=1, lease=False)
    for step in range(40):
        owner = rng.choice("ABC")
        if rng.random() < 0.5 or owner not in world.made:
            world.commit(f"{owner}", f"n{step}")
        elif rng.random() < 0.2:
            del world.made[owner]  # it died
        else:
            world.write(owner)
        world.harness.clock.now += rng.choice([0, 1, 300, 2100])
        held = world.written()
        assert held == world.board.texts[: len(held)]
        assert world.mark() <= len(held)
    flush_run(world.services, "r1")
    assert world.written() == world.board.texts
    items = [parse_item(text) for text in world.written()]
    assert all((b.prev_seq, b.prev_id) == (a.seq, a.id) for a, b in pairwise(items))


DIAMOND = {
    "nodes": [function("a"), function("b", 1), function("c", 2), function("d", "${[ctx.b.output, ctx.c.output]}")],
    "edges": edges("a:b", "a:c", "b:d", "c:d"),
}


class Meeting(MemoryJournal):
    """A journal before whose next write something else happens."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness.directory)
        self.meanwhile = None

    def append(self, items, records=()):
        if self.meanwhile:
            happen, self.meanwhile = self.meanwhile, None
            happen()
        return super().append(items, records)


def two_tasks(harness: Harness) -> tuple[str, Meeting, list[str]]:
    """A diamond whose two branches are answered and not yet settled; the journal can be met in the middle."""
    harness.journal = Meeting(harness)
    harness.services = dataclasses.replace(harness.services, journal=harness.journal)
    harness.coordinator = type(harness.coordinator)(harness.services)
    run_id = harness.start(DIAMOND)
    harness.settle_batch()
    harness.work_batch()
    harness.settle_batch()
    harness.work_batch()
    batch = harness.queues.receive(SIGNALS)
    assert len(batch) == 2
    for message in batch:
        harness.queues.delete(SIGNALS, message.receipt)
    return run_id, harness.journal, [message.body for message in batch]


def test_two_coordinators_at_one_join_both_get_through(harness: Harness) -> None:
    """The second commits while the first is at its journal; it waits for the lease, and writes both items."""
    run_id, journal, (first, second) = two_tasks(harness)
    other = type(harness.coordinator)(harness.services)
    journal.meanwhile = lambda: results.append(other.handle([second]))
    results: list[set[int]] = []
    assert harness.coordinator.handle([first]) == set()
    assert results == [set()]
    harness.drain()
    assert harness.output(run_id) == {"d": [1, 2]}
    assert [task["node_id"] for task in harness.tasks].count("d") == 1
    harness.assert_fold_equals_store(run_id)


def test_a_coordinator_that_dies_at_its_journal_is_made_good_by_the_next(harness: Harness) -> None:
    run_id, journal, (first, second) = two_tasks(harness)

    def die() -> None:
        raise KeyboardInterrupt

    journal.meanwhile = die
    with pytest.raises(KeyboardInterrupt):
        harness.coordinator.handle([first])
    other = type(harness.coordinator)(harness.services)
    assert other.handle([second]) == set()
    assert other.handle([first]) == set()
    harness.drain()
    assert harness.output(run_id) == {"d": [1, 2]}
    harness.assert_fold_equals_store(run_id)


def test_a_journal_that_refuses_holds_back_the_messages_and_the_run_is_rebuilt(
    harness: Harness, client: redis.Redis
) -> None:
    """Redis comes back as it was before the join fired; what it says then must not leave the step."""
    run_id, _, (first, second) = two_tasks(harness)
    before = harness.store.snapshot(run_id)
    assert harness.coordinator.handle([first]) == set()
    client.flushall()
    assert harness.store.install(run_id, before)
    sent = harness.queues.depth("tasks-function")
    assert harness.coordinator.handle([second]) == {0}
    assert harness.queues.depth("tasks-function") == sent
    for _ in range(5):
        if harness.coordinator.handle([second]) == set():
            break
    harness.drain()
    assert harness.output(run_id) == {"d": [1, 2]}
    completed = [event["node_id"] for event in harness.events(run_id) if event["type"] == "node_completed"]
    assert sorted(completed) == ["a", "b", "c", "d"]
    harness.assert_fold_equals_store(run_id)


def test_a_journal_that_does_not_answer_delays_and_loses_nothing(harness: Harness) -> None:
    run_id, journal, signals = two_tasks(harness)

    def fail() -> None:
        raise Unavailable("throttled")

    journal.meanwhile = fail
    try:
        failed = harness.coordinator.handle(signals)
    except Unavailable:
        failed = {0, 1}
    assert failed == {0, 1}
    assert harness.queues.depth("tasks-function") == 0
    assert harness.coordinator.handle(signals) == set()
    harness.drain()
    assert harness.output(run_id) == {"d": [1, 2]}
    harness.assert_fold_equals_store(run_id)


def test_a_token_that_is_outstanding_is_settled_by_whoever_comes(world: World) -> None:
    begin(world.board, "a")
    answer = world.board.commit(said(Draft(settle=Token("a"))), owner="B")
    assert (answer.word, answer.lease) == ("OK", False)


def test_a_control_action_that_finds_unwritten_commits_does_not_wait_for_its_own_lease(harness: Harness) -> None:
    """It took the lease by its commit, asked for it under another name, and waited two seconds until it expired."""
    run_id = harness.start({"nodes": [{"id": "ask", "type": "human", "config": {"message": "?"}}]})
    harness.store.acknowledge, acknowledge = lambda acks: None, harness.store.acknowledge
    harness.settle_batch()
    harness.store.acknowledge = acknowledge
    harness.clock.now += 3000
    before = harness.clock.now
    cancel_run(harness.services, run_id, "ann")
    assert harness.clock.now == before
    harness.assert_fold_equals_store(run_id)
