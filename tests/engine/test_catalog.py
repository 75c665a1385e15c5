from __future__ import annotations

import contextlib
import itertools

import pytest

from chalicelib.domain.errors import Conflict, InvalidInput, NotFound
from chalicelib.engine.catalog import Catalog
from tests.doubles import MemoryDirectory


class Died(BaseException):
    pass


def catalog(directory: MemoryDirectory | None = None, tenant: str = "acme") -> Catalog:
    return Catalog(directory or MemoryDirectory(), tenant)


def save(catalog: Catalog, content: str, name: str = "w") -> int:
    return catalog.save(name, content, by="ann", at=1).version


def test_new_content_gets_the_next_number_and_known_content_keeps_its_own() -> None:
    saved = catalog()
    assert [save(saved, content) for content in "abacb"] == [1, 2, 1, 3, 2]
    assert saved.find("w").hash == "c"
    assert saved.find("w", version=2).hash == "b"
    assert save(saved, "a", "other") == 1


def test_tenants_have_their_own_workflows() -> None:
    directory = MemoryDirectory()
    save(catalog(directory), "a")
    assert save(catalog(directory, "other"), "b") == 1
    with pytest.raises(NotFound):
        catalog(directory, "third").find("w")


@pytest.mark.parametrize("effects", range(1, 8))
def test_a_save_that_dies_anywhere_leaves_no_content_with_two_numbers(effects: int) -> None:
    """The writer of version 2 dies at each of its writes in turn; others save, then its content is saved again."""
    count = itertools.count(1)
    armed = [False]

    def fault(operation: str) -> None:
        if armed[0] and operation.endswith((".before", ".after")) and next(count) == effects:
            raise Died

    directory = MemoryDirectory(fault)
    saved = catalog(directory)
    save(saved, "a")
    armed[0] = True
    died = True
    try:
        save(saved, "b")
        died = False
    except Died:
        pass
    armed[0] = False
    assert died == (effects <= 6)
    other = save(saved, "c")
    again = save(saved, "b")
    assert {save(saved, "a"), other, again} == {1, 2, 3}
    assert saved.version("w", again).hash == "b"
    assert saved.version("w", other).hash == "c"
    assert saved.find("w").version == 3
    with pytest.raises(NotFound, match="no version 4"):
        saved.version("w", 4)


def test_two_writers_of_the_same_content_meet_in_one_version() -> None:
    """The other saves b and c between this writer's reads and its write."""
    directory = MemoryDirectory()
    save(catalog(directory), "a")
    put_new = directory.put_new
    calls = []

    def overtaken(key, record):
        if not calls:
            calls.append(key)
            save(catalog(directory), "c")
            save(catalog(directory), "b")
        return put_new(key, record)

    directory.put_new = overtaken
    assert save(catalog(directory), "b") == 3
    assert catalog(directory).find("w").version == 3


def test_tags_move_and_keep_their_history() -> None:
    directory = MemoryDirectory()
    saved = catalog(directory)
    for content in "abc":
        save(saved, content)
    for version in (1, 3, 3, 2):
        saved.tag("w", "prod", version, by="bob", at=version)
    assert saved.tags("w") == {"prod": 2}
    assert saved.find("w", tag="prod").version == 2
    assert [(move["version"], move["at"], move["by"]) for move in saved.moves("w", "prod", 9)] == [
        (2, 2, "bob"), (3, 3, "bob"), (1, 1, "bob"),
    ]  # fmt: skip
    assert [move["version"] for move in saved.moves("w", "prod", 2)] == [2, 3]
    assert [move["version"] for move in saved.moves("w", "prod", 2, before=2)] == [1]
    with pytest.raises(NotFound):
        saved.tag("w", "prod", 9, by="bob", at=1)


@pytest.mark.parametrize("effects", range(1, 6))
def test_a_move_of_a_tag_that_dies_anywhere_never_happened_or_is_in_the_history(effects: int) -> None:
    """Ann dies at each of her writes in turn, Bob moves the tag elsewhere, then Ann tries again."""
    count, armed = itertools.count(1), [False]

    def fault(operation: str) -> None:
        if armed[0] and operation.endswith((".before", ".after")) and next(count) == effects:
            raise Died

    directory = MemoryDirectory(fault)
    saved = catalog(directory)
    for content in "abc":
        save(saved, content)
    saved.tag("w", "prod", 1, by="zoe", at=1)
    armed[0] = True
    with contextlib.suppress(Died):
        saved.tag("w", "prod", 2, by="ann", at=2)
    armed[0] = False
    happened = saved.find("w", tag="prod").version == 2
    saved.tag("w", "prod", 3, by="bob", at=3)
    saved.tag("w", "prod", 2, by="ann", at=4)
    assert happened == (effects >= 4)
    told = [(move["version"], move["by"]) for move in saved.moves("w", "prod", 9)]
    assert told == [(2, "ann"), (3, "bob"), *([(2, "ann")] if happened else []), (1, "zoe")]


def test_two_who_move_a_tag_at_once_are_both_in_its_history() -> None:
    """Bob's move comes between Ann's writing of the history and her move."""
    directory = MemoryDirectory()
    saved = catalog(directory)
    for content in "abc":
        save(saved, content)
    saved.tag("w", "prod", 1, by="zoe", at=1)
    replace, calls = directory.replace, []

    def overtaken(key, record, expect):
        if not calls:
            calls.append(key)
            saved.tag("w", "prod", 3, by="bob", at=2)
        return replace(key, record, expect)

    directory.replace = overtaken
    saved.tag("w", "prod", 2, by="ann", at=3)
    assert [(move["version"], move["by"]) for move in saved.moves("w", "prod", 9)] == [
        (2, "ann"), (3, "bob"), (1, "zoe"),
    ]  # fmt: skip


@pytest.mark.parametrize("effects", range(1, 7))
def test_a_save_repeated_after_a_death_anywhere_is_the_latest(effects: int) -> None:
    count, armed = itertools.count(1), [False]

    def fault(operation: str) -> None:
        if armed[0] and operation.endswith((".before", ".after")) and next(count) == effects:
            raise Died

    saved = catalog(MemoryDirectory(fault))
    save(saved, "a")
    armed[0] = True
    with pytest.raises(Died):
        save(saved, "b")
    armed[0] = False
    assert save(saved, "b") == 2
    assert saved.find("w").version == 2


def test_a_version_after_another_is_that_one_s_next_or_none() -> None:
    saved = catalog()
    save(saved, "a")
    assert saved.save("w", "b", by="ann", at=1, after=1).version == 2
    with pytest.raises(Conflict) as refused:
        saved.save("w", "c", by="ann", at=1, after=1)
    assert refused.value.extra == {"version": 2}
    assert saved.save("w", "b", by="ann", at=1, after=1).version == 2, "a repeat finds its version"
    assert [version.version for version in saved.versions("w", 9)] == [2, 1]


def test_a_version_after_one_whose_writer_died_is_refused_and_tells_of_it() -> None:
    directory = MemoryDirectory()
    saved = catalog(directory)
    save(saved, "a")
    record = {"version": 2, "hash": "b", "created_at": 1, "created_by": "bob"}
    directory.put_new(("workflow#acme#w", "v#00000002"), record)
    with pytest.raises(Conflict):
        saved.save("w", "c", by="ann", at=1, after=1)
    assert saved.find("w").hash == "b"


def test_references_name_a_version_by_number_or_tag() -> None:
    saved = catalog()
    save(saved, "a")
    save(saved, "b")
    saved.tag("w", "prod", 1, by="bob", at=1)
    assert [saved.named(text).version for text in ("w", "w@1", "w@prod", "w@2")] == [2, 1, 1, 2]
    for text in ("x", "w@3", "w@x", "@1", "", "w@999999999"):
        with pytest.raises(NotFound):
            saved.named(text)
    with pytest.raises(InvalidInput):
        saved.find("w", version=1, tag="prod")
