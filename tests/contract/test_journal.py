"""What every Journal does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.engine.ports import RunRecord
from tests.contract.chains import chain, item
from tests.contract.conftest import World


def test_items_come_back_in_order_and_unchanged(world: World):
    items = chain("r", 1, 3, 2)
    assert world.journal.append(items) == []
    assert world.journal.read("r") == items


def test_a_run_without_items_reads_as_empty(world: World):
    assert world.journal.read("nobody") == []
    assert world.journal.append([]) == []


def test_long_and_awkward_texts_survive(world: World):
    texts = ["x" * 100_000, '"\ud800 lone"', "ä" * 5000, "é\u0000\u2028"]
    items = chain("r", 1, 1, 1, 1)
    items = [replace(one, text=text) for one, text in zip(items, texts, strict=True)]
    assert world.journal.append(items) == []
    assert [one.text for one in world.journal.read("r")] == texts


def test_the_same_commit_may_write_its_item_again(world: World):
    items = chain("r", 1, 1, 1)
    world.journal.append(items)
    assert world.journal.append(items[:1]) == []
    assert world.journal.append(items[1:]) == []
    assert world.journal.append(items) == []
    assert world.journal.read("r") == items


def test_a_second_first_item_by_another_commit_is_refused(world: World):
    [first] = chain("r", 1)
    other = chain("r", 1, tag="z")
    assert world.journal.append([first]) == []
    assert world.journal.append(other) == other
    assert world.journal.read("r") == [first]


def test_an_item_at_a_place_taken_by_another_commit_is_refused(world: World):
    first, second = chain("r", 1, 1)
    world.journal.append([first, second])
    fork = chain("r", 1, after=first, tag="z")
    assert world.journal.append(fork) == fork
    assert world.journal.read("r") == [first, second]


def test_an_append_past_a_fork_is_refused_although_its_place_is_free(world: World):
    """The store fell back to seq 6 and went on as 7C, 8D, 9E, while the journal holds 7A, 8B: (run, 9) is new."""
    six, seven_a, eight_b = chain("r", 6, 1, 1)
    world.journal.append([six, seven_a, eight_b])
    seven_c, eight_d, nine_e = chain("r", 1, 1, 1, after=six, tag="z")
    assert world.journal.append([nine_e]) == [nine_e]
    assert world.journal.append([eight_d, nine_e]) == [eight_d, nine_e]
    assert world.journal.append([seven_c, eight_d, nine_e]) == [seven_c, eight_d, nine_e]
    assert world.journal.read("r") == [six, seven_a, eight_b]


def test_an_item_without_its_predecessor_is_refused(world: World):
    first, second, third = chain("r", 1, 1, 1)
    world.journal.append([first])
    assert world.journal.append([third]) == [third]
    assert world.journal.append([second, third]) == []
    assert world.journal.read("r") == [first, second, third]


def test_an_item_that_starts_inside_its_predecessor_or_past_its_end_is_refused(world: World):
    [first] = chain("r", 5)
    world.journal.append([first])
    inside = item("r", 2, "c2", 4, 1, (1, first.id))
    beyond = item("r", 2, "c2", 7, 1, (1, first.id))
    assert world.journal.append([inside]) == [inside]
    assert world.journal.append([beyond]) == [beyond]


def test_one_runs_refusal_leaves_its_neighbours_written(world: World):
    good, bad, new = chain("good", 1, 1), chain("bad", 1, 1), chain("new", 1, 1)
    world.journal.append([good[0], bad[0]])
    fork = chain("bad", 1, 1, after=replace(bad[0], id="other"), tag="z")
    assert world.journal.append([fork[0], good[1], fork[1], *new]) == fork
    assert world.journal.read("good") == good
    assert world.journal.read("bad") == bad[:1]
    assert world.journal.read("new") == new


def test_items_that_do_not_follow_each_other_are_an_error_of_the_caller(world: World):
    first, _, third = chain("r", 1, 1, 1)
    with pytest.raises(ValueError, match="does not follow item 1"):
        world.journal.append([first, third])
    with pytest.raises(ValueError, match="has no place in a chain"):
        world.journal.append([item(seq=5)])
    with pytest.raises(ValueError, match="has no place in a chain"):
        world.journal.append([item(events=0)])
    assert world.journal.read("r") == []


def test_reading_after_a_seq_starts_with_the_item_that_holds_the_next_event(world: World):
    a, b, c = chain("r", 4, 4, 4)
    world.journal.append([a, b, c])
    assert world.journal.read("r", 0) == [a, b, c]
    assert world.journal.read("r", 2) == [a, b, c]
    assert world.journal.read("r", 4) == [b, c]
    assert world.journal.read("r", 7) == [b, c]
    assert world.journal.read("r", 11) == [c]
    assert world.journal.read("r", 12) == []
    assert world.journal.read("r", 99) == []


def test_a_page_is_bounded_and_the_next_one_goes_on_where_it_ended(world: World):
    items = chain("r", 2, 1, 3, 1, 2)
    world.journal.append(items)
    seen, after = [], 0
    while page := world.journal.read("r", after, limit=2):
        assert len(page) <= 2
        seen.extend(page)
        after = page[-1].seq + page[-1].events - 1
    assert seen == items
    assert world.journal.read("r", 3, limit=1) == items[2:3]
    assert world.journal.read("r", 4, limit=1) == items[2:3]
    assert world.journal.read("r", 0, limit=0) == []


@pytest.mark.parametrize(
    "sizes", [[1000, 20, 10, 1, 1, 300, 1, 7, 200, 1], [1024, 1, 1, 1], [1023, 1, 1, 8, 8, 8], [5000]]
)
def test_long_runs_are_read_across_partitions_from_every_place(world: World, sizes: list[int]):
    items = chain("r", *sizes)
    assert world.journal.append(items) == []
    assert world.journal.read("r") == items
    starts = sorted({after for one in items for after in (one.seq - 1, one.seq, one.seq + one.events // 2)})
    for after in starts:
        expected = [one for one in items if one.seq + one.events - 1 > after]
        assert world.journal.read("r", after) == expected, after
        assert world.journal.read("r", after, limit=2) == expected[:2], after


def test_a_long_run_of_small_commits_is_read_in_order(world: World):
    items = chain("r", 1020, *[1, 2, 3] * 30)
    for first in range(0, len(items), 45):
        assert world.journal.append(items[first : first + 45]) == []
    assert world.journal.read("r") == items
    assert world.journal.read("r", 1100, limit=7) == [one for one in items if one.seq + one.events - 1 > 1100][:7]
    end = items[-1].seq + items[-1].events - 1
    assert world.journal.read("r", end) == []
    [more] = chain("r", 1, after=items[-1])
    world.journal.append([more])
    assert world.journal.read("r", end) == [more]


def test_a_runs_record_is_written_with_its_item_and_not_with_a_refused_one(world: World):
    def record(run: str, status: str) -> RunRecord:
        return RunRecord(run, ("tenant#runs", run), {"status": status})

    good, bad = chain("good", 1, 1), chain("bad", 1, 1)
    records = [record("good", "RUNNING"), record("bad", "RUNNING")]
    assert world.journal.append([good[0], bad[0]], records) == []
    assert world.directory.get(("tenant#runs", "good")) == {"status": "RUNNING"}
    fork = chain("bad", 1, after=replace(bad[0], id="other"), tag="z")
    records = [record("bad", "FAILED"), record("good", "COMPLETED")]
    assert world.journal.append([*fork, good[1]], records) == fork
    assert world.directory.get(("tenant#runs", "good")) == {"status": "COMPLETED"}
    assert world.directory.get(("tenant#runs", "bad")) == {"status": "RUNNING"}


def test_a_slow_repeat_does_not_put_an_old_record_over_a_newer_one(world: World):
    """A step writes the run's start, stalls, and writes it again after another step has written the run's end."""
    first, second = chain("r", 1, 1)
    running = RunRecord("r", ("tenant#runs", "r"), {"status": "RUNNING"})
    ended = RunRecord("r", ("tenant#runs", "r"), {"status": "COMPLETED"})
    world.journal.append([first], [running])
    world.journal.append([second], [ended])
    assert world.journal.append([first], [running]) == []
    assert world.directory.get(("tenant#runs", "r")) == {"status": "COMPLETED"}
    assert world.journal.append([second], [ended]) == []


def test_a_record_without_an_item_of_its_run_is_an_error_of_the_caller(world: World):
    with pytest.raises(ValueError, match="without an item"):
        world.journal.append(chain("r", 1), [RunRecord("other", ("t", "k"), {})])
    assert world.journal.read("r") == []
