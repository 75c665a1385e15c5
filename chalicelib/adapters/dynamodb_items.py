"""How journal items and directory records look as items of the one DynamoDB table."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

from chalicelib.domain.errors import TooLarge
from chalicelib.engine.ports import JournalItem, Json

Item = dict[str, Any]

#: Seqs up to this one share a partition, so that a small run is read by one query.
FLAT_SEQS = 1024
#: Seqs above it are spread over this many partitions, in windows of so many seqs each (one partition takes about
#: 1,000 writes a second, and a rising sort key is never split by heat).
SHARDS = 16
WINDOW = 8
#: Bytes. Shorter texts are stored as they are: readable in the AWS console, and not worth the CPU.
COMPRESS_FROM = 4096
#: Bytes. DynamoDB refuses items over 400 KB, names included.
MAX_ITEM_BYTES = 400_000
#: Attribute by which the table forgets records that hold `expires_at` (ms): seconds since the epoch, as DynamoDB wants.
TTL = "ttl"


def shard_of(seq: int) -> int:
    """The partition of the item whose first event is `seq`."""
    return 0 if seq <= FLAT_SEQS else 1 + (seq // WINDOW) % SHARDS


def journal_pk(run_id: str, shard: int) -> Item:
    """Partition key of one shard of a run's journal."""
    return {"S": f"run#{run_id}#{shard}"}


def journal_sk(seq: int) -> Item:
    """Sort key of the item whose first event is `seq`."""
    return {"S": f"{seq:012d}"}


def journal_key(run_id: str, seq: int) -> Item:
    """Primary key of a journal item."""
    return {"pk": journal_pk(run_id, shard_of(seq)), "sk": journal_sk(seq)}


def encode_journal(item: JournalItem) -> Item:
    """The stored form. Raises TooLarge when DynamoDB could not hold it."""
    stored = {
        **journal_key(item.run_id, item.seq),
        "no": {"N": str(item.no)},
        "id": {"S": item.id},
        "seq": {"N": str(item.seq)},
        "events": {"N": str(item.events)},
        "prev_seq": {"N": str(item.prev_seq)},
        "prev_id": {"S": item.prev_id},
        "text": pack(item.text),
    }
    return _bounded(stored, f"Commit {item.no} of run {item.run_id}")


def decode_journal(run_id: str, stored: Mapping[str, Any]) -> JournalItem:
    """The inverse of `encode_journal`."""
    return JournalItem(
        run_id=run_id,
        no=int(stored["no"]["N"]),
        id=stored["id"]["S"],
        seq=int(stored["seq"]["N"]),
        events=int(stored["events"]["N"]),
        prev_seq=int(stored["prev_seq"]["N"]),
        prev_id=stored["prev_id"]["S"],
        text=unpack(stored["text"]),
    )


def directory_key(key: tuple[str, str]) -> Item:
    """Primary key of a directory record."""
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}


def encode_record(key: tuple[str, str], record: Mapping[str, Json], as_of: int | None = None) -> Item:
    """The stored form; `as_of` is the commit number a run's own record stands for. Raises TooLarge.

    A record with `expires_at` is deleted by the table some time after that; a reader before that looks at the time.
    """
    text = canonical(dict(record))
    stored = {**directory_key(key), "record": pack(text), "sha": {"S": hashlib.sha256(text.encode()).hexdigest()}}
    expires = record.get("expires_at")
    if isinstance(expires, int):
        stored[TTL] = {"N": str(-(-expires // 1000))}
    if as_of is not None:
        stored["as_of"] = {"N": str(as_of)}
    return _bounded(stored, f"Record {key[0]} {key[1]}")


def decode_record(stored: Mapping[str, Any]) -> dict[str, Json]:
    """The inverse of `encode_record`."""
    record: dict[str, Json] = json.loads(unpack(stored["record"]))
    return record


def canonical(value: Json) -> str:
    """One text per JSON value: sorted keys, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def pack(text: str) -> Item:
    """A string attribute, or a compressed binary one where that is smaller (or UTF-8 cannot carry the text)."""
    plain = text.encode("utf-8", "surrogatepass")
    if len(plain) > COMPRESS_FROM:
        packed = zlib.compress(plain, 3)
        if len(packed) < len(plain):
            return {"B": packed}
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return {"B": zlib.compress(plain, 3)}
    return {"S": text}


def unpack(attribute: Mapping[str, Any]) -> str:
    """The inverse of `pack`."""
    if "S" in attribute:
        return str(attribute["S"])
    return zlib.decompress(bytes(attribute["B"])).decode("utf-8", "surrogatepass")


def size_of(stored: Item) -> int:
    """Bytes as DynamoDB counts them, rounded up a little: names, values, and 21 for any number."""
    total = 0
    for name, attribute in stored.items():
        ((kind, value),) = attribute.items()
        total += len(name) + (21 if kind == "N" else len(value) if kind == "B" else len(value.encode("utf-8")))
    return total


def _bounded(stored: Item, what: str) -> Item:
    size = size_of(stored)
    if size > MAX_ITEM_BYTES:
        raise TooLarge(f"{what} takes {size} bytes; at most {MAX_ITEM_BYTES} can be stored. Keep large values apart.")
    return stored
