"""Serves the demo's data in pages over loopback HTTP."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = Any

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "demo"
DATA, WORKFLOW = FOLDER / "penguins.csv", FOLDER / "workflow.json"
HOST = "127.0.0.1"
MAX_PAGE_SIZE = 500
#: Columns of whole numbers, and of numbers with a fraction; the others are text.
_WHOLE, _DECIMAL = ("flipper_length_mm", "body_mass_g", "year"), ("bill_length_mm", "bill_depth_mm")


def read_rows(path: Path = DATA) -> list[dict[str, Json]]:
    """The table as JSON objects, `NA` as null."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _typed(name, text) for name, text in row.items()} for row in csv.DictReader(file)]


def _typed(name: str, text: str) -> Json:
    if text == "NA":
        return None
    return int(text) if name in _WHOLE else float(text) if name in _DECIMAL else text


def page(rows: list[dict[str, Json]], number: int, size: int) -> dict[str, Json]:
    """Page `number`, from 1, of `size` rows, and the number of the next page, or null."""
    return {
        "rows": rows[(number - 1) * size : number * size],
        "page": number,
        "next": number + 1 if number * size < len(rows) else None,
    }


def listen() -> ThreadingHTTPServer:
    """A server of `/penguins?page=&size=` on a free loopback port; it answers inside `serving`."""
    server = ThreadingHTTPServer((HOST, 0), _handler(read_rows()))
    server.daemon_threads = True
    return server


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Answer requests until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def _handler(rows: list[dict[str, Json]]) -> type[BaseHTTPRequestHandler]:
    class Pages(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        #: Seconds that a silent connection is kept.
        timeout = 30

        def do_GET(self) -> None:
            """Answer one page."""
            parts = urlsplit(self.path)
            status, answer = _answer(rows, parts.path, parse_qs(parts.query))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent: the terminal shows the run."""

    return Pages


def _answer(rows: list[dict[str, Json]], path: str, query: dict[str, list[str]]) -> tuple[int, Json]:
    if path != "/penguins":
        return 404, {"error": "there is only /penguins"}
    number, size = query.get("page", ["1"])[0], query.get("size", ["60"])[0]
    if not (_counts(number) and _counts(size) and int(size) <= MAX_PAGE_SIZE):
        return 400, {"error": f"page and size are whole numbers from 1, size up to {MAX_PAGE_SIZE}"}
    return 200, page(rows, int(number), int(size))


def _counts(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0
