"""What every Artifacts store does."""

from __future__ import annotations

import hashlib

import pytest

from chalicelib.domain.errors import InvalidInput, NotFound
from tests.contract.conftest import World

BODY = b'{"a": 1}'
HASH = hashlib.sha256(BODY).hexdigest()


def test_a_value_is_found_under_the_hash_of_its_bytes(world: World):
    ref = world.artifacts.put(BODY)
    assert ref == f"artifact://sha256/{HASH}"
    assert world.artifacts.exists(ref)
    assert world.artifacts.get(ref) == BODY
    assert world.artifacts.put(BODY) == ref


def test_large_and_empty_values_are_kept_too(world: World):
    for body in (b"", b"x" * 1_500_000):
        ref = world.artifacts.put(body, "application/octet-stream")
        assert world.artifacts.put(body) == ref
        assert world.artifacts.get(ref) == body


@pytest.mark.parametrize("ref", [f"artifact://sha256/{HASH}", "artifact://sha256/../x", HASH, "", "s3://b/k"])
def test_an_unknown_id_is_not_found(world: World, ref: str):
    assert not world.artifacts.exists(ref)
    with pytest.raises(NotFound):
        world.artifacts.get(ref)


def test_bytes_sent_to_an_upload_url_can_be_read_by_id_and_by_url(world: World):
    world.upload(world.artifacts.upload_url(HASH, len(BODY)), BODY)
    assert world.artifacts.get(f"artifact://sha256/{HASH}") == BODY
    assert world.download(world.artifacts.download_url(HASH)) == BODY


def test_urls_are_not_made_for_what_is_not_there_or_is_no_hash(world: World):
    with pytest.raises(NotFound):
        world.artifacts.download_url(HASH)
    with pytest.raises(NotFound):
        world.artifacts.download_url("../secrets")
    for bad in ("../secrets", HASH.upper(), HASH[:-1]):
        with pytest.raises(InvalidInput):
            world.artifacts.upload_url(bad, 1)
