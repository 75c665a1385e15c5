"""Real HTTP servers on loopback whose answers a test scripts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chalicelib.domain.errors import TaskError
from chalicelib.engine.secret_refs import Vault
from chalicelib.workers.address_guard import AddressGuard
from chalicelib.workers.http import HttpWorker
from chalicelib.workers.http_client import HttpClient

JSON = "application/json"
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by the server's script; every request is recorded."""

    protocol_version = "HTTP/1.1"
    server: Server

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def _do(self):
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, self.body))
        self.server.answer(self)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = _do

    def reply(self, status=200, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def door(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.door}"


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    server = Server(answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def http_worker(*servers: Server, max_body: int = 10 * 1024 * 1024, **guard) -> HttpWorker:
    doors = [server.door for server in servers]
    return HttpWorker(HttpClient(AddressGuard(doors, **guard), max_body=max_body))


def request(worker: HttpWorker, config, secrets=None, seconds=5.0):
    vault = Vault((secrets or {}).__getitem__)
    return worker.request(vault.fill(config, None), vault, seconds)


def ok(h):
    h.reply(200, b"{}", Content_Type=JSON)


def fetch(answer, secrets=None, seconds=5.0, max_body=10 * 1024 * 1024, path="/", **config):
    with serving(answer) as server:
        worker = http_worker(server, max_body=max_body)
        return request(worker, {"url": server.url + path, **config}, secrets, seconds), server.seen


def refused(answer, **kwargs) -> TaskError:
    with pytest.raises(TaskError) as caught:
        fetch(answer, **kwargs)
    return caught.value


SECRETS = {"KEY": "s3cr3t-value", "PAIR": "Basic abcdef", "short": "ab"}
CREDENTIALS = {
    "auth": "${secret.KEY}",
    "headers": {"Cookie": "a=b", "X-Api-Key": "${secret.KEY}", "Proxy-Authorization": "x", "X-Plain": "p"},
}
