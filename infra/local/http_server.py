"""Serves a Chalice app over HTTP/1.1 on loopback, many requests at a time."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from string import hexdigits

from chalice.app import Chalice

from infra.local.apps import load, serve_many
from infra.local.children import say_ready
from infra.local.gateway import Gateway, Headers, HttpRequest, HttpResponse, problem
from infra.local.ports import HOST, listen

log = logging.getLogger("graft.local.http")

#: SPEC 17: bytes of a request's body.
MAX_BODY = 6 * 1024 * 1024
#: Bytes of a refused body that are read and dropped, so that the client gets to read why.
MAX_DROPPED = 64 * 1024 * 1024
_PIECE = 256 * 1024


class Refused(Exception):
    """The request cannot be read: `status` and a sentence for the client."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Handler(BaseHTTPRequestHandler):
    """One connection, with its requests one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    #: Seconds an idle connection is kept.
    timeout = 75
    server: Server

    def serve(self) -> None:
        """Read the body and let the gateway answer."""
        try:
            body = self._read_body()
        except Refused as refused:
            self._refuse(problem(refused.status, refused.detail))
            return
        except ValueError:
            self.close_connection = True
            return
        headers = [(name, str(value)) for name, value in self.headers.items()]
        request = HttpRequest(self.command, self.path, headers, body, str(self.client_address[0]))
        self._send(self.server.gateway.answer(request))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses goes out as a problem document; a method it does not know is the gateway's."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self.serve()
        else:
            self._refuse(problem(code, f"The request cannot be read: {message or HTTPStatus(code).phrase}."))

    def handle_expect_100(self) -> bool:
        """Ask for the body only if it is not too large."""
        try:
            self._length()
        except Refused as refused:
            self._refuse(problem(refused.status, refused.detail))
            return False
        return super().handle_expect_100()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged; the app logs what matters."""

    def _length(self) -> int:
        """Bytes of the body by its header. Raises Refused."""
        given = {value.strip() for value in self.headers.get_all("Content-Length", [])} or {"0"}
        text = given.pop()
        if given or not (text.isascii() and text.isdigit()):
            raise Refused(400, "Content-Length must be one whole number.")
        if len(text) > 18 or int(text) > MAX_BODY:
            raise _too_large()
        return int(text)

    def _read_body(self) -> bytes:
        """The whole body. Raises Refused, and ValueError when the client went away."""
        encoding = self.headers.get("Transfer-Encoding", "").strip().lower()
        if encoding == "chunked":
            return self._read_chunks()
        if encoding:
            raise Refused(400, f"Transfer-Encoding {encoding!r} is not understood; use chunked or Content-Length.")
        try:
            return self._read(self._length())
        except Refused as refused:
            if refused.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                self._drop()
            raise

    def _read(self, count: int) -> bytes:
        data = self.rfile.read(count) if count else b""
        if len(data) != count:
            raise ValueError("the client went away")
        return data

    def _read_chunks(self) -> bytes:
        body, kept = bytearray(), 0
        while size := self._chunk_size():
            kept += size
            if kept > MAX_DROPPED:
                raise _too_large()
            piece = self._read(size)
            body += piece if kept <= MAX_BODY else b""
            self._read(2)
        while self.rfile.readline(_PIECE).strip():
            pass
        if kept > MAX_BODY:
            raise _too_large()
        return bytes(body)

    def _chunk_size(self) -> int:
        text = self.rfile.readline(128).split(b";")[0].strip().decode("latin-1")
        if not text or not set(text) <= set(hexdigits):
            raise Refused(400, "A chunk of the body does not start with its size.")
        size = int(text, 16)
        if size > MAX_DROPPED:
            raise _too_large()
        return size

    def _drop(self) -> None:
        left = MAX_DROPPED
        announced = self.headers.get("Content-Length", "0").strip()
        left = min(left, int(announced)) if len(announced) < 18 else left
        while left > 0 and (piece := self.rfile.read(min(left, _PIECE))):
            left -= len(piece)

    def _refuse(self, response: HttpResponse) -> None:
        """Answer and close: what follows on the connection is not known to be a request."""
        self.close_connection = True
        self._send(response)

    def _send(self, response: HttpResponse) -> None:
        """Write head and body at once."""
        head = [f"HTTP/1.1 {response.status} {_phrase(response.status)}", f"Date: {self.date_time_string()}"]
        head += [f"{name}: {_one_line(value)}" for name, value in _plain(response.headers)]
        if response.status not in (204, 304):
            head.append(f"Content-Length: {len(response.body)}")
        head.append("Connection: close" if self.close_connection else "Connection: keep-alive")
        content = b"" if getattr(self, "command", "") == "HEAD" else response.body
        try:
            self.wfile.write("\r\n".join([*head, "", ""]).encode("latin-1", "replace") + content)
        except OSError:
            self.close_connection = True


def _too_large() -> Refused:
    return Refused(413, f"The body is larger than {MAX_BODY} bytes; send large values as artifacts.")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


def _plain(headers: Headers) -> Headers:
    """Without those that this server sets itself."""
    return [(n, v) for n, v in headers if n.lower() not in ("content-length", "connection", "date")]


def _one_line(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ")


class Server(ThreadingHTTPServer):
    """A thread per connection on a socket that is listening already."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, app: Chalice) -> None:
        super().__init__((HOST, 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_address = listener.getsockname()
        self.gateway = Gateway(serve_many(app))

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""
        return f"http://{HOST}:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that breaks is nobody's fault; anything else is logged."""
        log.info("a connection of %s ended early", client_address, exc_info=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve the app until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", default="app:app")
    parser.add_argument("--port", type=int, help="where to listen; by default a free port")
    parser.add_argument("--fd", type=int, help="an inherited socket that is listening already")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    listener = socket.socket(fileno=arguments.fd) if arguments.fd is not None else listen(arguments.port)
    server = Server(listener, load(arguments.app))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    signal.signal(signal.SIGINT, lambda *_: threading.Thread(target=server.shutdown).start())
    say_ready()
    server.serve_forever(poll_interval=0.1)
    os._exit(0)


if __name__ == "__main__":
    main()
