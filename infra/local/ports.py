"""Finds loopback ports that no other program will be given by chance."""

from __future__ import annotations

import random
import socket

from chalicelib.domain.errors import ConfigurationError

HOST = "127.0.0.1"
#: Below the range from which systems take the ports of outgoing connections: a server that is down for a moment keeps
#: its port, and no client connects to itself.
LOWEST, HIGHEST = 20_000, 32_000


def free_port() -> int:
    """A port on which nothing listens. Raises ConfigurationError when a hundred tries found none."""
    for _ in range(100):
        port = random.randint(LOWEST, HIGHEST)  # noqa: S311 - any port will do
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise ConfigurationError(f"No free port on {HOST} between {LOWEST} and {HIGHEST}; stop some servers.")


def listen(port: int | None = None) -> socket.socket:
    """A listening socket on `port`, or on a free one. Raises ConfigurationError when `port` is taken.

    The supervisor holds it, so that requests wait while the server behind it restarts instead of being refused.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    number = port if port is not None else free_port()
    try:
        listener.bind((HOST, number))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigurationError(f"Cannot listen on {HOST}:{number}: {error}. Choose another --port.") from None
    listener.listen(128)
    return listener
