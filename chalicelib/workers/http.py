"""Works `http` tasks: one request made from the config, its response as the output."""

from __future__ import annotations

import base64
import re
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.engine.secret_refs import Vault
from chalicelib.engine.task import Task
from chalicelib.workers.http_body import decode_body, encode_body, encode_query, scalar
from chalicelib.workers.http_client import HttpClient, Request, Response
from chalicelib.workers.url import parse_url

Json = Any
#: Seconds for a request whose task has no deadline.
DEFAULT_SECONDS = 30.0
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_PATTERN = re.compile(r"[1-5](xx|[0-9]{2})", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9-]* \S")
#: Headers that say where a message ends or goes: the client writes them.
_OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect", "keep-alive"}
)
_RETRYABLE = frozenset({408, 425, 429})
_MAX_EXCERPT = 500


class HttpWorker:
    """Makes the request that a task's config describes."""

    def __init__(self, client: HttpClient, default_seconds: float = DEFAULT_SECONDS) -> None:
        self._client = client
        self._default_seconds = default_seconds

    def run(self, task: Task) -> Json:
        """`{status, headers, body}`. Raises TaskError, see `request`."""
        seconds = None if task.deadline is None else (task.deadline - task.clock.now_ms()) / 1000
        return self.request(task.config, task.vault, seconds)

    def request(self, config: Json, vault: Vault, seconds: float | None = None) -> Json:
        """`{status, headers, body}` of a request that may take `seconds`, redirects and body included.

        Raises TaskError: `HttpError` for a status that is not expected (retryable for 408, 425, 429 and 5xx), for
        network errors (retryable) and a wrong config (not), `AddressRefused` (not) for an address that is closed.
        """
        if not isinstance(config, dict):
            raise _wrong("", "must be an object")
        expected = _expected(config.get("expect_status"))
        request = _request(config, vault)
        limit = self._default_seconds if seconds is None else seconds
        response = self._client.send(request, limit, lambda status: _matches(status, expected))
        if not (_matches(response.status, expected) if expected else 200 <= response.status < 300):
            raise _unexpected(request, response, vault)
        body = decode_body(response.body, response.headers.get("content-type"))
        return {"status": response.status, "headers": response.headers, "body": body}


def _request(config: dict[str, Json], vault: Vault) -> Request:
    method = config.get("method") or "GET"
    if not isinstance(method, str) or not _TOKEN.fullmatch(method) or method.upper() in {"CONNECT", "TRACE"}:
        raise _wrong("/method", "must be an HTTP method such as GET or POST, not CONNECT or TRACE")
    headers = _headers(config.get("headers"))
    private = {name for name, value in headers.items() if vault.holds(value)}
    if config.get("auth") is not None:
        name, value = _auth(config["auth"], vault)
        headers[name] = _header_value(f"/auth ({name})", value)
        private.add(name)
    body, content_type = encode_body(config.get("body"), headers.get("content-type"))
    if content_type:
        headers.setdefault("content-type", content_type)
    headers.setdefault("accept-encoding", "gzip, deflate")
    headers.setdefault("user-agent", "graft")
    headers.setdefault("accept", "*/*")
    private_body = body is not None and vault.holds(body.decode("utf-8", "replace"))
    url = parse_url(_text(config, "url"), _query(config.get("query")))
    return Request(method.upper(), url, headers, body, frozenset(private), private_body)


def _text(config: dict[str, Json], name: str) -> str:
    value = config.get(name)
    if not isinstance(value, str):
        raise _wrong(f"/{name}", "must be a text")
    return value


def _query(query: Json) -> str:
    if query is None:
        return ""
    if not isinstance(query, dict):
        raise _wrong("/query", "must be an object of names and values")
    return encode_query(query)


def _headers(headers: Json) -> dict[str, str]:
    if headers is None:
        return {}
    if not isinstance(headers, dict):
        raise _wrong("/headers", "must be an object of names and values")
    found: dict[str, str] = {}
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise _wrong("/headers", f"has a name that is no HTTP header name: {name[:80]!r}")
        if name.lower() in _OWN_HEADERS:
            raise _wrong(f"/headers/{name}", "is written by the client: leave it out")
        if value is not None:
            found[name.lower()] = _header_value(f"/headers/{name}", scalar(value))
    return found


def _header_value(path: str, value: str) -> str:
    text = value.strip(" \t")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise _wrong(path, "holds characters outside Latin-1: encode them") from None
    if any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in text):
        raise _wrong(path, "holds line breaks or control characters")
    return text


def _auth(auth: Json, vault: Vault) -> tuple[str, str]:
    """Header name and value: a text is a bearer token, or `Scheme credentials` as they are."""
    if isinstance(auth, str) and auth.strip():
        text = auth.strip()
        return "authorization", text if _SCHEME.match(text) else f"Bearer {text}"
    fields = auth if isinstance(auth, dict) else {}
    if not all(isinstance(value, str) for value in fields.values()):
        fields = {}
    if fields.keys() == {"header", "value"} and _TOKEN.fullmatch(fields["header"]):
        if fields["header"].lower() in _OWN_HEADERS:
            raise _wrong("/auth/header", "is written by the client: choose another")
        return fields["header"].lower(), fields["value"]
    if fields.keys() == {"username", "password"}:
        pair = base64.b64encode(f"{fields['username']}:{fields['password']}".encode()).decode()
        vault.hide_also(pair, "auth")
        return "authorization", f"Basic {pair}"
    raise _wrong("/auth", 'must be a secret reference, {"username", "password"} or {"header", "value"}')


def _expected(expect: Json) -> tuple[str, ...]:
    if expect is None:
        return ()
    items = expect if isinstance(expect, list) else [expect]
    patterns = tuple(str(item).lower() for item in items)
    if not patterns or not all(_PATTERN.fullmatch(p) for p in patterns) or any(isinstance(i, bool) for i in items):
        raise _wrong("/expect_status", 'must be a status, a pattern such as "2xx", or a list of these')
    return patterns


def _matches(status: int, patterns: tuple[str, ...]) -> bool:
    return any(p == str(status) or (p.endswith("xx") and p[0] == str(status)[0]) for p in patterns)


def _unexpected(request: Request, response: Response, vault: Vault) -> TaskError:
    # Redacted before it is cut: half a secret would no longer be recognised.
    said = vault.redact(response.body[: 64 * 1024].decode("utf-8", "replace")).strip()[:_MAX_EXCERPT]
    message = f"{request.method} {request.url.site} answered {response.status}" + (f": {said}" if said else "")
    retryable = response.status in _RETRYABLE or response.status >= 500
    return TaskError("HttpError", message, retryable)


def _wrong(path: str, rule: str) -> TaskError:
    return TaskError("HttpError", f"/config{path} {rule}", retryable=False)
