"""Keeps the tenants' records in the DynamoDB table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.adapters.aws_clients import AwsClient, answering, error_code
from chalicelib.adapters.dynamodb_items import (
    canonical,
    decode_record,
    directory_key,
    encode_record,
)
from chalicelib.domain.errors import Unavailable
from chalicelib.engine.ports import Json

#: How often `replace` looks again when other members of the record change under it.
_REPLACE_TRIES = 8


class DynamoDirectory:
    """Directory over a table with string keys `pk` and `sk`."""

    def __init__(self, client: AwsClient, table: str) -> None:
        self._client = client
        self._table = table

    def put_new(self, key: tuple[str, str], record: Mapping[str, Json]) -> Mapping[str, Json] | None:
        """Create; None when created, else what is there. Raises Unavailable, TooLarge."""
        while True:
            if self._put(key, record, ConditionExpression="attribute_not_exists(pk)"):
                return None
            there = self.get(key)
            # Deleted between the two calls: it can be created after all.
            if there is not None:
                return there

    def put(self, key: tuple[str, str], record: Mapping[str, Json]) -> None:
        """Write, whatever is there. Raises Unavailable, TooLarge."""
        self._put(key, record)

    def replace(self, key: tuple[str, str], record: Mapping[str, Json], expect: Mapping[str, Json]) -> bool:
        """Write if the stored record's members equal `expect`. Raises Unavailable, TooLarge."""
        mine = encode_record(key, record)["sha"]
        for number in range(_REPLACE_TRIES):
            stored = self._get(key)
            # The client repeats a call whose answer was lost: the refusal may be of this call's own record.
            if number and stored is not None and stored["sha"] == mine:
                return True
            if stored is None or not holds(decode_record(stored), expect):
                return False
            if self._put(
                key,
                record,
                ConditionExpression="#sha = :sha",
                ExpressionAttributeNames={"#sha": "sha"},
                ExpressionAttributeValues={":sha": stored["sha"]},
            ):
                return True
        raise Unavailable(f"Record {key[0]} {key[1]} is changed by others too often just now. Send the request again.")

    def get(self, key: tuple[str, str]) -> Mapping[str, Json] | None:
        """Consistent read. Raises Unavailable."""
        stored = self._get(key)
        return None if stored is None else decode_record(stored)

    def query(
        self, partition: str, *, prefix: str = "", start: str | None = None, descending: bool = False, limit: int = 100
    ) -> list[tuple[str, Mapping[str, Json]]]:
        """(sort key, record) in order, `start` exclusive. Raises Unavailable."""
        condition, values = _range(prefix, start, descending)
        request: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "ScanIndexForward": not descending,
            "KeyConditionExpression": f"pk = :pk{condition}",
            "ExpressionAttributeValues": {":pk": {"S": partition}, **values},
        }
        found: list[tuple[str, Mapping[str, Json]]] = []
        while len(found) < limit:
            with answering("dynamodb.Query"):
                page = self._client.query(**request, Limit=limit - len(found))
            for stored in page["Items"]:
                # Sorted, so the first key without the prefix ends the range.
                if not stored["sk"]["S"].startswith(prefix):
                    return found
                found.append((stored["sk"]["S"], decode_record(stored)))
            if "LastEvaluatedKey" not in page:
                break
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return found

    def delete(self, key: tuple[str, str], expect: Mapping[str, Json] | None = None) -> None:
        """Remove, with `expect` only a record whose members equal it; harmless when absent. Raises Unavailable."""
        condition: dict[str, Any] = {}
        if expect is not None:
            stored = self._get(key)
            if stored is None or not holds(decode_record(stored), expect):
                return
            condition = {
                "ConditionExpression": "#sha = :sha",
                "ExpressionAttributeNames": {"#sha": "sha"},
                "ExpressionAttributeValues": {":sha": stored["sha"]},
            }
        try:
            with answering("dynamodb.DeleteItem"):
                self._client.delete_item(TableName=self._table, Key=directory_key(key), **condition)
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise

    def _get(self, key: tuple[str, str]) -> Mapping[str, Any] | None:
        with answering("dynamodb.GetItem"):
            answer = self._client.get_item(TableName=self._table, Key=directory_key(key), ConsistentRead=True)
        stored: Mapping[str, Any] | None = answer.get("Item")
        return stored

    def _put(self, key: tuple[str, str], record: Mapping[str, Json], **condition: Json) -> bool:
        """Whether the condition held. A repeat after a lost answer may report False for this call's own write."""
        try:
            with answering("dynamodb.PutItem"):
                self._client.put_item(TableName=self._table, Item=encode_record(key, record), **condition)
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            if error_code(error) == "TransactionConflictException":
                raise Unavailable(f"Record {key[0]} {key[1]} is being written just now. Send it again.") from error
            raise
        return True


def holds(record: Mapping[str, Json], expect: Mapping[str, Json]) -> bool:
    """Whether `record` has every member of `expect`, equal as JSON (so `true` is not 1)."""
    return all(name in record and canonical(record[name]) == canonical(value) for name, value in expect.items())


def _range(prefix: str, start: str | None, descending: bool) -> tuple[str, dict[str, Any]]:
    """The sort key's condition. DynamoDB takes only one: with a `start` inside the prefix the caller cuts the end."""
    if start and (start.startswith(prefix) or (start < prefix) == descending):
        return (" AND sk < :start" if descending else " AND sk > :start"), {":start": {"S": start}}
    if prefix:
        return " AND begins_with(sk, :prefix)", {":prefix": {"S": prefix}}
    return "", {}
