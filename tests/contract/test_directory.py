"""What every Directory does."""

from __future__ import annotations

import pytest

from tests.contract.conftest import World


def test_records_come_back_as_json_values(world: World):
    record = {
        "n": 1,
        "f": 1.5,
        "deep": {"list": [None, True, "ä \ud800"]},
        "empty": {},
        "big": 2**60,
        "long": "x" * 9000,
    }
    world.directory.put(("t", "k"), record)
    assert world.directory.get(("t", "k")) == record
    assert world.directory.get(("t", "other")) is None


def test_only_the_first_creation_wins_and_the_others_see_its_record(world: World):
    assert world.directory.put_new(("t", "k"), {"by": "first"}) is None
    assert world.directory.put_new(("t", "k"), {"by": "second"}) == {"by": "first"}
    assert world.directory.get(("t", "k")) == {"by": "first"}


def test_put_overwrites_and_delete_is_harmless_twice(world: World):
    world.directory.put(("t", "k"), {"v": 1})
    world.directory.put(("t", "k"), {"v": 2})
    assert world.directory.get(("t", "k")) == {"v": 2}
    world.directory.delete(("t", "k"))
    world.directory.delete(("t", "k"))
    assert world.directory.get(("t", "k")) is None
    assert world.directory.put_new(("t", "k"), {"v": 3}) is None


def test_replace_writes_only_when_the_expected_members_are_there(world: World):
    replace = world.directory.replace
    assert replace(("t", "k"), {"v": 1}, {}) is False
    world.directory.put(("t", "k"), {"v": 1, "other": [1, {"a": None}]})
    assert replace(("t", "k"), {"v": 9}, {"v": 2}) is False
    assert replace(("t", "k"), {"v": 9}, {"missing": None}) is False
    assert replace(("t", "k"), {"v": 9}, {"v": True}) is False
    assert replace(("t", "k"), {"v": 2}, {"v": 1, "other": [1, {"a": None}]}) is True
    assert world.directory.get(("t", "k")) == {"v": 2}
    assert replace(("t", "k"), {"v": 3}, {"v": 1}) is False


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ["a#1", "a#2", "a#3", "b#1", "b#2", "c"]),
        ({"descending": True}, ["c", "b#2", "b#1", "a#3", "a#2", "a#1"]),
        ({"limit": 2}, ["a#1", "a#2"]),
        ({"limit": 0}, []),
        ({"prefix": "a#"}, ["a#1", "a#2", "a#3"]),
        ({"prefix": "a#", "descending": True, "limit": 2}, ["a#3", "a#2"]),
        ({"prefix": "a#", "start": "a#1"}, ["a#2", "a#3"]),
        ({"prefix": "a#", "start": "a#1", "limit": 1}, ["a#2"]),
        ({"prefix": "b#", "start": "b#2", "descending": True}, ["b#1"]),
        ({"start": "a#25"}, ["a#3", "b#1", "b#2", "c"]),
        ({"start": "b", "descending": True}, ["a#3", "a#2", "a#1"]),
        ({"prefix": "b#", "start": "a#2"}, ["b#1", "b#2"]),
        ({"prefix": "b#", "start": "c", "descending": True}, ["b#2", "b#1"]),
        ({"prefix": "b#", "start": "c"}, []),
        ({"prefix": "b#", "start": "a", "descending": True}, []),
        ({"prefix": "z"}, []),
    ],
)
def test_a_partition_is_read_in_order_within_a_range(world: World, arguments: dict, expected: list[str]):
    for key in ("b#2", "a#3", "c", "a#1", "b#1", "a#2"):
        world.directory.put(("t", key), {"key": key})
    world.directory.put(("u", "a#9"), {"key": "another tenant's"})
    found = world.directory.query("t", **arguments)
    assert [key for key, _ in found] == expected
    assert all(record == {"key": key} for key, record in found)


def test_the_stored_record_is_not_the_callers_object(world: World):
    record = {"list": [1]}
    world.directory.put(("t", "k"), record)
    record["list"].append(2)
    assert world.directory.get(("t", "k")) == {"list": [1]}


def test_a_conditional_delete_leaves_a_record_that_has_changed(world: World):
    world.directory.delete(("t", "k"), expect={"v": 1})
    world.directory.put(("t", "k"), {"v": 2, "other": [1]})
    world.directory.delete(("t", "k"), expect={"v": 1})
    world.directory.delete(("t", "k"), expect={"v": 2, "missing": None})
    assert world.directory.get(("t", "k")) == {"v": 2, "other": [1]}
    world.directory.delete(("t", "k"), expect={"v": 2, "other": [1]})
    assert world.directory.get(("t", "k")) is None
