"""A socket whose every operation ends by one moment and which never reads more than it may."""

from __future__ import annotations

import io
import socket
import time
from typing import Any, cast

#: Anything with bytes in it.
Buffer = Any


class TooMuchData(Exception):
    """The peer sent more bytes than allowed."""


class Budget:
    """The time one request may take, redirects included. Seconds of the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, above zero. Raises TimeoutError when none are."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class TimedSocket:
    """What `http.client` needs of a socket. A peer that sends a byte now and then does not outlast the budget."""

    def __init__(self, sock: socket.socket, budget: Budget, max_bytes: int) -> None:
        self._sock = sock
        self._budget = budget
        self._max_bytes = max_bytes

    def sendall(self, data: Buffer) -> None:
        """Send all of it. Raises TimeoutError at the end of the budget."""
        self._sock.settimeout(self._budget.left())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """A reader; it keeps the connection open until it is closed itself."""
        raw = cast(io.RawIOBase, self._sock.makefile(cast(Any, mode), buffering=0))
        return io.BufferedReader(_TimedReader(self._sock, raw, self._budget, self._max_bytes), 65536)

    def close(self) -> None:
        """Close, once its readers are closed too."""
        self._sock.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, raw: io.RawIOBase, budget: Budget, max_bytes: int) -> None:
        self._sock, self._raw, self._budget, self._left = sock, raw, budget, max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        self._sock.settimeout(self._budget.left())
        count = cast("int | None", self._raw.readinto(buffer))
        self._left -= count or 0
        if self._left < 0:
            raise TooMuchData
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
