from __future__ import annotations

import itertools

import pytest

from chalicelib.domain.errors import InvalidInput, NotFound
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
    moves = directory.query("workflow#acme#w", prefix="m#prod#")
    assert [record["version"] for _, record in moves] == [1, 3, 2]
    with pytest.raises(NotFound):
        saved.tag("w", "prod", 9, by="bob", at=1)


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
