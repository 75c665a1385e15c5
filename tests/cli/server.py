"""A small HTTP server that answers as a script says, and keeps what it was asked."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        #: (method, path, query, body) -> (status, value or bytes), or None to hang up.
        self.answer, self.asked = answer, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _do(self):
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        query = dict(parse_qsl(parts.query))
        self.server.asked.append((self.command, parts.path, query, body, dict(self.headers)))
        found = self.server.answer(self.command, parts.path.removeprefix("/api/v1"), query, body)
        if found is None:
            self.close_connection = True
            return
        status, value = found
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(answer):
    server = Server(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(graft, server, *words):
    """The command on that server: (exit code, standard output, standard error)."""
    return graft(*words, "--url", server.url, "--token", "t")


def problem(status, detail, errors=()):
    return status, {"type": "about:blank", "title": "x", "status": status, "detail": detail, "errors": list(errors)}
