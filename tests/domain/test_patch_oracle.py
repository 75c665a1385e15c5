"""Our RFC 6902 operations against the `jsonpatch` library, which reads no node ids and no values strictly."""

from __future__ import annotations

import copy
import random

import jsonpatch
import pytest

from chalicelib.domain.errors import GraftError
from chalicelib.domain.patch_operations import apply_operations

#: Pointers below which both mean the same: free members, where no node or edge is named by its id.
DOCUMENT = {
    "name": "w",
    "metadata": {"a": {"b": [1, "x", None], "c~d": {"e/f": 2}}, "list": [{"k": 1}, {"k": 2}, []], "t": "text"},
    "nodes": [{"id": "n", "type": "pass"}],
}
POINTERS = [
    "", "/a", "/a/b", "/a/b/0", "/a/b/1", "/a/b/2", "/a/b/3", "/a/b/-", "/a/b/01", "/a/c~0d", "/a/c~0d/e~1f", "/list",
    "/list/0", "/list/0/k", "/list/1/k", "/list/2", "/list/2/0", "/list/2/-", "/t", "/t/x", "/new", "/new/deep",
    "/list/9",
]  # fmt: skip
VALUES = [0, 1, "x", None, [], {}, [1, "x"], {"k": 2}]


def operation(rng: random.Random) -> dict:
    op = {"op": rng.choice(["add", "remove", "replace", "move", "copy", "test"])}
    op["path"] = "/metadata" + rng.choice(POINTERS)
    if op["op"] in ("move", "copy"):
        op["from"] = "/metadata" + rng.choice(POINTERS)
    if op["op"] in ("add", "replace", "test"):
        op["value"] = copy.deepcopy(rng.choice(VALUES))
    return op


@pytest.mark.parametrize("seed", range(20))
def test_operations_do_what_the_library_does(seed: int) -> None:
    """The library takes a negative or unpadded index and a move into itself in ways of its own: none is drawn here but
    `01` and moves into self, which RFC 6902 refuses; there ours must refuse whatever the library does."""
    rng = random.Random(seed)
    applied = 0
    for _ in range(300):
        operations = [operation(rng) for _ in range(rng.randint(1, 4))]
        expected = None if _refused(operations) else _library(operations)
        try:
            found = apply_operations(copy.deepcopy(DOCUMENT), operations, max_bytes=1 << 20).document
        except GraftError:
            found = None
        assert found == expected, f"seed {seed}: {operations}"
        applied += found is not None
    assert applied > 20


def _library(operations: list[dict]) -> object:
    try:
        return jsonpatch.apply_patch(copy.deepcopy(DOCUMENT), copy.deepcopy(operations))
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, IndexError, KeyError):
        return None


def _refused(operations: list[dict]) -> bool:
    """Forms that RFC 6901 and 6902 forbid and the library lets through."""
    for op in operations:
        if any("/01" in op.get(name, "") for name in ("path", "from")):
            return True
        if op["op"] == "move" and op["path"].startswith(op["from"] + "/"):
            return True
    return False
