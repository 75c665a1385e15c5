"""What every Notes store does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.stub import Stubber

from chalicelib.adapters.s3_notes import S3Notes
from chalicelib.domain.errors import Unavailable
from tests.contract.conftest import BUCKET, Aws, World


def test_a_note_is_written_once_and_whoever_comes_later_is_told_what_is_there(world: World):
    assert world.notes.get("agents/a/turn-0001") is None
    assert world.notes.create("agents/a/turn-0001", b"first") is None
    assert world.notes.create("agents/a/turn-0001", b"second") == b"first"
    assert world.notes.get("agents/a/turn-0001") == b"first"
    assert world.notes.get("agents/b/turn-0001") is None


def test_of_many_at_once_one_writes_and_all_agree(world: World):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: world.notes.create("agents/a/x", str(n).encode()), range(8)))
    [winner] = [n for n, answer in enumerate(answers) if answer is None]
    assert {answer for answer in answers if answer is not None} == {str(winner).encode()}
    assert world.notes.get("agents/a/x") == str(winner).encode()


def test_notes_lie_apart_from_artifacts_and_are_made_on_condition(aws: Aws):
    notes = S3Notes(aws.client("s3"), BUCKET)
    notes.create("agents/a/x", b"{}")
    [(_, params)] = [request for request in aws.requests if request[0] == "PutObject"]
    assert (params["Key"], params["IfNoneMatch"]) == ("notes/agents/a/x", "*")


@pytest.mark.parametrize(("code", "status"), [("ConditionalRequestConflict", 409), ("SlowDown", 503)])
def test_a_write_that_raced_or_was_slowed_down_is_to_be_repeated(aws: Aws, code: str, status: int):
    client = aws.client("s3")
    with Stubber(client) as stub:
        stub.add_client_error("put_object", code, http_status_code=status)
        with pytest.raises(Unavailable):
            S3Notes(client, BUCKET).create("agents/a/x", b"{}")
