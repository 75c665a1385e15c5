"""Appends runs' commits to their chains in the DynamoDB table, each write conditional on its place in the chain."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.adapters.aws_clients import AwsClient, answering, error_code
from chalicelib.adapters.dynamodb_batch import FREE_OR_MINE, Entry, batch, transaction, without_refused
from chalicelib.adapters.dynamodb_items import decode_journal, journal_pk, journal_sk
from chalicelib.adapters.dynamodb_read import read_chain
from chalicelib.domain.errors import Unavailable
from chalicelib.engine.ports import JournalItem, RunRecord

#: Seconds before each repetition of a write that met another one of the same items.
BACKOFF_S = (0.02, 0.05, 0.1, 0.2, 0.4)
#: Reasons of a cancelled transaction that mean "not now".
_LATER = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
_REFUSED = "ConditionalCheckFailed"


class DynamoJournal:
    """Journal over a table with string keys `pk` and `sk`. `sleep` takes seconds."""

    def __init__(self, client: AwsClient, table: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def append(self, items: Sequence[JournalItem], records: Sequence[RunRecord] = ()) -> list[JournalItem]:
        """Write the items; returns those refused. One call where they fit in a transaction.

        Raises Unavailable, TooLarge (one item over 400 KB; nothing is written then), and ValueError when a run's
        items do not follow each other.
        """
        waiting = batch(items, records)
        written: set[tuple[str, int]] = set()
        while waiting:
            chunk, waiting = transaction(waiting)
            done = self._write(chunk)
            written.update((entry.item.run_id, entry.item.seq) for entry in done)
            refused = {entry.item.run_id for entry in chunk} - {entry.item.run_id for entry in done}
            # Past a refusal a later item could still be "new", and the chain would fork there.
            waiting = [entry for entry in waiting if entry.item.run_id not in refused]
        return [item for item in items if (item.run_id, item.seq) not in written]

    def read(self, run_id: str, after_seq: int = 0, limit: int = 500) -> list[JournalItem]:
        """The items holding events with seq > after_seq, in order, at most `limit`. Raises Unavailable."""

        def query(shard: int, low: int, high: int, descending: bool, most: int) -> list[JournalItem]:
            return self._query(run_id, shard, low, high, descending, most)

        return read_chain(query, after_seq, limit)

    def _write(self, chunk: list[Entry]) -> list[Entry]:
        """Write what can be written of one transaction's worth; returns that. Refused runs are left out whole."""
        tries = iter(BACKOFF_S)
        while chunk:
            actions = [action for entry in chunk for action in entry.actions(self._table)]
            reasons = self._create(chunk[0]) if len(actions) == 1 else self._transact(actions)
            if all(reason == "None" for reason in reasons):
                return chunk
            if _REFUSED in reasons:
                chunk = without_refused(chunk, [reason == _REFUSED for reason in reasons])
                continue
            pause = next(tries, None)
            if pause is None:
                raise Unavailable(
                    f"The journal is being written by others just now ({', '.join(sorted(set(reasons)))})."
                )
            self._sleep(pause)
        return []

    def _transact(self, actions: list[dict[str, Any]]) -> list[str]:
        """One reason per action, "None" where it was fine. Reasons that no repetition can mend are raised."""
        try:
            with answering("dynamodb.TransactWriteItems"):
                self._client.transact_write_items(TransactItems=actions)
        except ClientError as error:
            if error_code(error) != "TransactionCanceledException":
                raise
            reasons = [str(reason.get("Code", "None")) for reason in error.response.get("CancellationReasons", [])]
            if len(reasons) != len(actions) or not set(reasons) <= {"None", _REFUSED} | _LATER:
                raise
            return reasons
        return ["None"] * len(actions)

    def _create(self, entry: Entry) -> list[str]:
        """A run's first item alone needs no transaction, which would cost double."""
        values = {":id": entry.stored["id"]}
        try:
            with answering("dynamodb.PutItem"):
                self._client.put_item(
                    TableName=self._table, Item=entry.stored, ExpressionAttributeValues=values, **FREE_OR_MINE
                )
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return [_REFUSED]
            if error_code(error) == "TransactionConflictException":
                return ["TransactionConflict"]
            raise
        return ["None"]

    def _query(self, run_id: str, shard: int, low: int, high: int, descending: bool, most: int) -> list[JournalItem]:
        """Items of one partition whose first seq is in low..high."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "ScanIndexForward": not descending,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :low AND :high",
            "ExpressionAttributeValues": {
                ":pk": journal_pk(run_id, shard),
                ":low": journal_sk(low),
                ":high": journal_sk(high),
            },
        }
        found: list[Mapping[str, Any]] = []
        while len(found) < most:
            with answering("dynamodb.Query"):
                page = self._client.query(**request, Limit=most - len(found))
            found.extend(page["Items"])
            if "LastEvaluatedKey" not in page:
                break
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return [decode_journal(run_id, stored) for stored in found]
