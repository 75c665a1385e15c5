"""Remembers for a day what a POST under an Idempotency-Key was answered (SPEC 5, HAZARDS 8).

The record is written before the route does its work, with the body's hash, and completed with the answer afterwards. A
try that died in between is repeated: every route's effect is harmless to repeat, and what must not change between the
tries is pinned in the record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.api.call import Call, refused
from chalicelib.api.problems import Answer
from chalicelib.domain.errors import Conflict, GraftError, Unavailable
from chalicelib.engine.directory_keys import Key, idempotency_key

Json = Any
DAY_MS = 86_400_000
#: Longest key, in characters.
MAX_KEY = 255
#: Bytes of an answer that is kept; a larger one is made again by repeating the harmless effect.
MAX_KEPT = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Kept:
    """One key's record in the directory."""

    call: Call
    key: Key
    record: Mapping[str, Json]


def answer_once(call: Call, scope: str, view: Callable[[Call], Answer]) -> Answer:
    """The view's answer, or the first one's if the call repeats it. Raises Conflict for another body."""
    name = key_of(call)
    if name is None:
        return view(call)
    kept = _claim(call, idempotency_key(scope, call.route.method, call.path, name))
    first = kept.record.get("answer")
    if first is not None:
        return Answer(json.loads(first["text"]), first["status"], first["headers"])
    call.pins = {"at": kept.record["at"], **kept.record["pins"]}
    try:
        answer = view(call)
    except Unavailable:
        raise
    except GraftError:
        # Refused: nothing happened that the key would have to remember.
        call.services.directory.delete(kept.key)
        raise
    _keep(kept, answer)
    return answer


def key_of(call: Call) -> str | None:
    """The Idempotency-Key. Raises InvalidInput."""
    key = call.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
        raise refused("Idempotency-Key", f"Send 1 to {MAX_KEY} printable ASCII characters.")
    return key


def once_of(call: Call) -> str | None:
    """A name of this request for the engine, the same for its repeats; None without an Idempotency-Key.

    A key that is used again after it was forgotten is another request.
    """
    key = key_of(call)
    if key is None:
        return None
    text = "\0".join((call.scope, f"{call.route.method} {call.path}", str(call.pins["at"]), key))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def pinned(call: Call, scope: str, name: str, value: Json) -> Json:
    """`value`, or what an earlier try under the same key has pinned under this name."""
    key = key_of(call)
    if key is None:
        return value
    if name not in call.pins:
        call.pins[name] = value
        where = idempotency_key(scope, call.route.method, call.path, key)
        there = call.services.directory.get(where)
        if there is not None:
            call.services.directory.put(where, {**there, "pins": {**there["pins"], **call.pins}})
    return call.pins[name]


def _claim(call: Call, key: Key) -> _Kept:
    now = call.services.clock.now_ms()
    body = _digest(call.json())
    record = {"body": body, "at": now, "expires_at": now + DAY_MS, "pins": {}}
    there = call.services.directory.put_new(key, record)
    if there is not None and there["expires_at"] <= now:
        call.services.directory.replace(key, record, {"at": there["at"]})
        there = call.services.directory.get(key)
    if there is not None and there["body"] != body:
        raise Conflict("This Idempotency-Key was used with another body on this route. Choose another key.")
    return _Kept(call, key, there or record)


def _keep(kept: _Kept, answer: Answer) -> None:
    if answer.page is not None:
        return  # made again by repeating the harmless effect
    # As text, for a directory need not keep the order of keys.
    text = json.dumps(answer.body)
    if answer.status < 300 and len(text) <= MAX_KEPT:
        stored = {"text": text, "status": answer.status, "headers": answer.headers}
        kept.call.services.directory.put(kept.key, {**kept.record, "pins": kept.call.pins, "answer": stored})


def _digest(body: Json) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
