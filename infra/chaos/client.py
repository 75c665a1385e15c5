"""Calls the API as a patient client does, and keeps what it must never answer, whatever is killed."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

Json = Any
PREFIX = "/api/v1"
#: Seconds that an answer may take: as long as API Gateway waits.
ANSWER_S = 29.0
#: Seconds until a refused or broken call is repeated.
REPEAT_S = 0.25
#: Seconds a kill of the API excuses a broken connection before and after it.
EXCUSED_S = 0.5


class NotAnswered(Exception):
    """A call had no answer in time, however often it was repeated."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A connection that broke, between two moments of the wall clock in seconds."""

    begun: float
    ended: float
    call: str
    error: str


@dataclass(slots=True)
class Answers:
    """What all threads were answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0
    broken: list[Broken] = field(default_factory=list)
    #: Answers that nobody may ever get, in sentences.
    breaches: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, call: str, status: int, retry_after: str | None, took_s: float, text: bytes) -> None:
        """Keep one answer, and judge it."""
        with self._lock:
            self.statuses[status] += 1
            self.slowest_s = max(self.slowest_s, took_s)
            if status >= 500 and status != 503:
                self.breaches.append(f"{call} was answered {status}: {text[:300]!r}")
            if status in (429, 503) and not retry_after:
                self.breaches.append(f"{call} was answered {status} without Retry-After")
            if took_s > ANSWER_S:
                self.breaches.append(f"{call} took {took_s:.1f} s")

    def broke(self, call: str, begun: float, error: Exception) -> None:
        """Keep a connection that broke."""
        with self._lock:
            self.broken.append(Broken(begun, time.time(), call, f"{type(error).__name__}: {error}"))

    def unexcused(self, kills: list[float]) -> list[str]:
        """Broken connections that no kill of the API at these moments explains."""
        return [
            f"{one.call} broke without a kill of the API: {one.error}"
            for one in self.broken
            if not any(one.begun - EXCUSED_S <= at <= one.ended + EXCUSED_S for at in kills)
        ]


class Client:
    """One thread's way to the API; each call is a connection of its own."""

    def __init__(self, url: str, token: str, answers: Answers) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), parts.port
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._answers = answers

    def once(self, method: str, path: str, body: Json = None, key: str = "") -> tuple[int, Json] | None:
        """(status, answer), or None where the connection broke."""
        headers = {**self._headers, **({"Idempotency-Key": key} if key else {})}
        raw = None if body is None else json.dumps(body).encode()
        call, wall, begun = f"{method} {path}", time.time(), time.monotonic()
        connection = http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_S + 5)
        try:
            connection.request(method, PREFIX + path, body=raw, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._answers.broke(call, wall, error)
            return None
        finally:
            connection.close()
        took = time.monotonic() - begun
        self._answers.note(call, answer.status, answer.headers.get("Retry-After"), took, text)
        return answer.status, json.loads(text) if text.startswith((b"{", b"[")) else None

    def patient(self, method: str, path: str, body: Json = None, key: str = "", within_s: float = 60.0) -> Json:
        """The answer of a call that is repeated while parts are down. Raises NotAnswered."""
        deadline, last = time.monotonic() + within_s, None
        while time.monotonic() < deadline:
            last = self.once(method, path, body, key)
            if last is not None and last[0] < 300:
                return last[1]
            if last is not None and last[0] not in (429, 503):
                break
            time.sleep(REPEAT_S)
        raise NotAnswered(f"{method} {path}: {last}")
