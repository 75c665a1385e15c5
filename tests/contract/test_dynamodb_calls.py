"""What the journal and the directory ask of DynamoDB: how often, in what pieces, and what they make of refusals."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from chalicelib.adapters.dynamodb import BACKOFF_S, DynamoJournal
from chalicelib.adapters.dynamodb_directory import DynamoDirectory
from chalicelib.adapters.dynamodb_items import TTL
from chalicelib.domain.errors import TooLarge, Unavailable
from chalicelib.engine.ports import JournalItem, RunRecord
from tests.contract.chains import chain
from tests.contract.conftest import TABLE, Aws


@pytest.fixture
def journal(aws: Aws) -> DynamoJournal:
    return DynamoJournal(aws.client("dynamodb"), TABLE, sleep=_no_sleep)


def _no_sleep(_: float) -> None:
    raise AssertionError("nothing here has a reason to wait")


def _started(journal: DynamoJournal, aws: Aws, count: int) -> list[JournalItem]:
    """The second items of so many runs, whose first items are in the journal."""
    runs = [chain(f"run{n}", 1, 1) for n in range(count)]
    assert journal.append([run[0] for run in runs]) == []
    aws.calls.clear()
    aws.requests.clear()
    return [run[1] for run in runs]


# Journal


def test_ten_one_item_appends_of_ten_runs_are_one_transaction(journal: DynamoJournal, aws: Aws):
    items = _started(journal, aws, 10)
    assert journal.append(items) == []
    assert aws.calls == {"TransactWriteItems": 1}


def test_a_runs_creation_alone_is_one_conditional_put(journal: DynamoJournal, aws: Aws):
    assert journal.append(chain("r", 1)) == []
    assert journal.append(chain("r", 1, tag="z")) != []
    assert aws.calls == {"PutItem": 2}


def test_a_creation_with_its_record_is_one_transaction(journal: DynamoJournal, aws: Aws):
    assert journal.append(chain("r", 1), [RunRecord("r", ("t", "k"), {})]) == []
    assert aws.calls == {"TransactWriteItems": 1}


def test_a_refused_run_costs_one_more_transaction(journal: DynamoJournal, aws: Aws):
    items = _started(journal, aws, 10)
    fork = chain("run3", 1, 1, tag="z")[1]
    assert journal.append([*items[:3], fork, *items[4:]]) == [fork]
    assert aws.calls == {"TransactWriteItems": 2}


def test_a_small_run_is_read_by_one_query(journal: DynamoJournal, aws: Aws):
    _started(journal, aws, 1)
    assert len(journal.read("run0")) == 1
    assert aws.calls == {"Query": 1}


def test_a_look_for_news_at_the_end_of_a_long_run_costs_two_queries(journal: DynamoJournal, aws: Aws):
    items = chain("r", 1024, *[1] * 20)
    journal.append(items)
    aws.calls.clear()
    assert journal.read("r", 1044) == []
    assert aws.calls == {"Query": 2}


def test_more_actions_than_a_transaction_takes_go_in_several_with_the_chain_checked_between(
    journal: DynamoJournal, aws: Aws
):
    first, *rest = chain("r", *[1] * 251)
    journal.append([first])
    aws.calls.clear()
    assert journal.append(rest) == []
    assert aws.calls == {"TransactWriteItems": 3}
    checks = [
        sum("ConditionCheck" in action for action in params["TransactItems"])
        for name, params in aws.requests
        if name == "TransactWriteItems"
    ]
    assert checks == [1, 1, 1]
    assert journal.read("r") == [first, *rest]


def test_more_bytes_than_a_transaction_takes_go_in_several(journal: DynamoJournal, aws: Aws):
    """moto does not enforce the 4 MB limit: the sizes of the requests are looked at instead."""
    noise = base64.b64encode(random.Random(1).randbytes(360_000)).decode()
    items = chain("r", *[1] * 15, text=noise)
    assert journal.append(items) == []
    assert journal.read("r") == items
    sizes = [
        sum(len(action["Put"]["Item"]["text"]["B"]) for action in params["TransactItems"] if "Put" in action)
        for name, params in aws.requests
        if name == "TransactWriteItems"
    ]
    assert len(sizes) == 2
    assert max(sizes) < 3_500_000


def test_later_pieces_of_a_run_are_not_tried_once_an_earlier_one_was_refused(journal: DynamoJournal, aws: Aws):
    first, *_ = mine = chain("r", 1, *[1] * 150)
    journal.append([first, *chain("r", 1, after=first, tag="z")])
    other = chain("other", 1)
    aws.calls.clear()
    assert journal.append([*mine[1:], *other]) == mine[1:]
    assert aws.calls == {"TransactWriteItems": 1, "PutItem": 1}
    assert journal.read("other") == other


def test_a_refused_item_behind_a_written_piece_is_refused_alone_with_what_follows(journal: DynamoJournal):
    mine = chain("r", *[1] * 130)
    journal.append(mine[:110])
    journal.append(chain("r", 1, after=mine[109], tag="z"))
    assert journal.append(mine) == mine[100:]
    assert [one.id for one in journal.read("r")[:110]] == [one.id for one in mine[:110]]


def test_an_item_over_400_kb_is_named_and_nothing_is_written(journal: DynamoJournal, aws: Aws):
    noise = base64.b64encode(random.Random(1).randbytes(500_000)).decode()
    good, bad = chain("good", 1), chain("bad", 1, text=noise)
    with pytest.raises(TooLarge, match="Commit 1 of run bad"):
        journal.append([*good, *bad])
    assert aws.calls == {}


def _cancelled(*codes: str) -> dict[str, Any]:
    return {
        "service_error_code": "TransactionCanceledException",
        "http_status_code": 400,
        "modeled_fields": {"CancellationReasons": [{"Code": code} for code in codes]},
    }


def test_a_conflict_with_another_transaction_is_tried_again_after_a_pause(aws: Aws):
    waits: list[float] = []
    journal = DynamoJournal(aws.client("dynamodb"), TABLE, sleep=waits.append)
    with Stubber(aws.client("dynamodb")) as stub:
        stub.add_client_error("transact_write_items", **_cancelled("None", "TransactionConflict"))
        stub.add_client_error("transact_write_items", **_cancelled("None", "ThrottlingError"))
        stub.add_response("transact_write_items", {})
        assert journal.append(chain("r", 1, 1)) == []
        stub.assert_no_pending_responses()
    assert waits == list(BACKOFF_S[:2])


def test_a_conflict_that_lasts_is_unavailable(aws: Aws):
    waits: list[float] = []
    journal = DynamoJournal(aws.client("dynamodb"), TABLE, sleep=waits.append)
    with Stubber(aws.client("dynamodb")) as stub:
        for _ in range(len(BACKOFF_S) + 1):
            stub.add_client_error("transact_write_items", **_cancelled("TransactionConflict", "None"))
        with pytest.raises(Unavailable, match="TransactionConflict"):
            journal.append(chain("r", 1, 1))
    assert waits == list(BACKOFF_S)


def test_a_refusal_beside_a_conflict_leaves_the_conflict_to_the_next_try(journal: DynamoJournal, aws: Aws):
    with Stubber(aws.client("dynamodb")) as stub:
        stub.add_client_error(
            "transact_write_items", **_cancelled("ConditionalCheckFailed", "None", "TransactionConflict", "None")
        )
        stub.add_response("transact_write_items", {})
        bad, good = chain("bad", 1, 1), chain("good", 1, 1)
        assert journal.append([*bad, *good]) == bad
        stub.assert_no_pending_responses()


def test_a_cancellation_that_no_repetition_mends_is_raised(journal: DynamoJournal, aws: Aws):
    with Stubber(aws.client("dynamodb")) as stub:
        stub.add_client_error("transact_write_items", **_cancelled("ValidationError", "None"))
        with pytest.raises(ClientError):
            journal.append(chain("r", 1, 1))


@pytest.mark.parametrize(
    ("code", "status"), [("ProvisionedThroughputExceededException", 400), ("InternalServerError", 500), ("Odd", 503)]
)
def test_throttles_and_server_errors_are_unavailable(journal: DynamoJournal, aws: Aws, code: str, status: int):
    with Stubber(aws.client("dynamodb")) as stub:
        stub.add_client_error("query", service_error_code=code, http_status_code=status)
        with pytest.raises(Unavailable, match=rf"dynamodb\.Query .*{code}"):
            journal.read("r")


def test_a_request_that_is_wrong_is_not_called_unavailable(journal: DynamoJournal, aws: Aws):
    with Stubber(aws.client("dynamodb")) as stub:
        stub.add_client_error("query", service_error_code="ValidationException", http_status_code=400)
        with pytest.raises(ClientError):
            journal.read("r")


# Directory


@pytest.mark.parametrize(("meanwhile", "replaced"), [({"v": 1, "seen": 1}, True), ({"v": 5, "seen": 0}, False)])
def test_a_replacement_fails_only_for_a_change_of_the_expected_member(
    aws: Aws, meanwhile: dict[str, int], replaced: bool
):
    """Somebody writes between the look and the write: another member may change, the expected one may not."""
    directory = DynamoDirectory(aws.client("dynamodb"), TABLE)
    directory.put(("t", "k"), {"v": 1, "seen": 0})
    real, changed = directory._client, []

    class Meddler:
        put_item = staticmethod(real.put_item)

        def get_item(self, **arguments: Any) -> Any:
            answer = real.get_item(**arguments)
            if not changed:
                changed.append(True)
                directory.put(("t", "k"), meanwhile)
            return answer

    directory._client = Meddler()
    assert directory.replace(("t", "k"), {"v": 2}, {"v": 1}) is replaced
    assert directory.get(("t", "k")) == ({"v": 2} if replaced else meanwhile)


def test_a_replacement_whose_answer_was_lost_is_known_as_its_own(aws: Aws):
    """The client sends the write again by itself; the second one meets the record that the first one left."""
    directory = DynamoDirectory(aws.client("dynamodb"), TABLE)
    directory.put(("t", "k"), {"v": 1})
    real, lost = directory._client, []

    class Forgetful:
        get_item = staticmethod(real.get_item)

        def put_item(self, **arguments: Any) -> Any:
            answer = real.put_item(**arguments)
            if not lost:
                lost.append(True)
                answer = real.put_item(**arguments)
            return answer

    directory._client = Forgetful()
    assert directory.replace(("t", "k"), {"v": 2}, {"v": 1}) is True


def test_a_record_that_expires_says_so_to_the_table_in_whole_seconds(aws: Aws):
    client = aws.client("dynamodb")
    directory = DynamoDirectory(client, TABLE)
    directory.put(("t", "k"), {"expires_at": 1_800_000_000_001, "v": 1})
    directory.put(("t", "stays"), {"v": 1})
    stored = {item["sk"]["S"]: item for item in client.scan(TableName=TABLE)["Items"]}
    assert stored["k"][TTL] == {"N": "1800000001"}
    assert TTL not in stored["stays"]
    assert directory.get(("t", "k")) == {"expires_at": 1_800_000_000_001, "v": 1}
