"""Translates an HTTP request into API Gateway's REST proxy event, and the app's answer back, as API Gateway does."""

from __future__ import annotations

import base64
import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from chalice.app import Chalice

from infra.local.lambda_events import ACCOUNT, LambdaContext

log = logging.getLogger("graft.local.gateway")

Headers = Sequence[tuple[str, str]]

#: SPEC 8: what browsers of other origins may send and read.
CORS_ALLOWED = "If-Match, Idempotency-Key, Authorization, Content-Type, X-Graft-Token"
CORS_EXPOSED = "ETag, Location, Retry-After"
#: Seconds that API Gateway waits for a function; the context tells the app how much is left.
TIMEOUT_S = 29.0
#: More query parameters than any route has; parsing stops there.
MAX_QUERY_FIELDS = 1000


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as read from the wire; `target` is the path with its query."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    source_ip: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer as it goes to the wire."""

    status: int
    headers: Headers = ()
    body: bytes = b""


def problem(status: int, detail: str, headers: Headers = ()) -> HttpResponse:
    """An RFC 9457 answer of the gateway itself, readable from other origins."""
    title = HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, "errors": []}
    cors = (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", CORS_EXPOSED))
    fixed = (("Content-Type", "application/problem+json"), *cors)
    return HttpResponse(status, (*fixed, *headers), json.dumps(document).encode())


class Routes:
    """The app's resources, matched segment by segment; a literal segment goes before a parameter."""

    def __init__(self, resources: Sequence[str]) -> None:
        self._by_length: dict[int, list[tuple[list[str], str]]] = {}
        for resource in resources:
            segments = _segments(resource)
            self._by_length.setdefault(len(segments), []).append((segments, resource))
        for same in self._by_length.values():
            same.sort(key=lambda item: [segment.startswith("{") for segment in item[0]])

    def match(self, path: str) -> tuple[str, dict[str, str]] | None:
        """The resource and its parameters, percent-decoded; None when nothing is there."""
        given = _segments(path)
        for segments, resource in self._by_length.get(len(given), ()):
            found = {name[1:-1]: unquote(value) for name, value in zip(segments, given, strict=True) if name[:1] == "{"}
            literal = zip(segments, given, strict=True)
            if all((name[:1] == "{" and value) or name == unquote(value) for name, value in literal):
                return resource, found
        return None


def _segments(path: str) -> list[str]:
    """The parts between slashes; one slash at the end does not count, as in API Gateway."""
    return path.removesuffix("/").split("/")


class Gateway:
    """What stands in front of a Chalice app: routes, preflight answers, errors for what has no route."""

    def __init__(self, app: Chalice) -> None:
        self._app = app
        self._routes = Routes(list(app.routes))

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Serve one request; whatever it holds, there is an answer. HEAD is answered as GET: leave its body out."""
        try:
            path, query = _split(request.target)
        except ValueError as error:
            return problem(400, f"The request's URL cannot be read: {error}.")
        found = self._routes.match(path)
        if found is None:
            return problem(404, f"There is nothing at {path}; GET /api/v1/openapi.json lists the routes.")
        resource, params = found
        methods = self._app.routes[resource]
        method = "GET" if request.method == "HEAD" and "HEAD" not in methods else request.method
        if method not in methods:
            return self._without_app(request.method, path, list(methods))
        return self._invoke(_event(request, method, path, query, resource, params, self._app.api.binary_types))

    def _without_app(self, method: str, path: str, methods: list[str]) -> HttpResponse:
        known = sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])})
        if method != "OPTIONS":
            detail = f"{path} does not take {method}; it takes {', '.join(known)}."
            return problem(405, detail, (("Allow", ", ".join(known)),))
        allowed = (
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Allow-Methods", ",".join(known)),
            ("Access-Control-Allow-Headers", CORS_ALLOWED),
            ("Access-Control-Expose-Headers", CORS_EXPOSED),
            ("Access-Control-Max-Age", "600"),
        )
        return HttpResponse(200, (*allowed, ("Allow", ", ".join(known))))

    def _invoke(self, event: dict[str, Any]) -> HttpResponse:
        try:
            return _response(self._app(event, LambdaContext("api", TIMEOUT_S)))
        except Exception:
            log.exception("%s %s failed", event["httpMethod"], event["path"])
            return problem(500, "The request failed inside; the API's log has the reason.")


def _split(target: str) -> tuple[str, list[tuple[str, str]]]:
    """Path and query of a request target, which may be a whole URL. Raises ValueError."""
    if not target.startswith("/"):
        parts = urlsplit(target)
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    path, _, query = target.partition("#")[0].partition("?")
    return path, parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)


def _event(
    request: HttpRequest,
    method: str,
    path: str,
    query: Headers,
    resource: str,
    params: Mapping[str, str],
    binary_types: Sequence[str],
) -> dict[str, Any]:
    body, encoded = _body(request, binary_types)
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": dict(request.headers),
        "multiValueHeaders": _grouped(request.headers),
        "queryStringParameters": dict(query) or None,
        "multiValueQueryStringParameters": _grouped(query) or None,
        "pathParameters": dict(params) or None,
        "stageVariables": None,
        "requestContext": _context(request, method, path, resource),
        "body": body,
        "isBase64Encoded": encoded,
    }


def _context(request: HttpRequest, method: str, path: str, resource: str) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in request.headers}
    return {
        "accountId": ACCOUNT,
        "apiId": "local",
        "domainName": headers.get("host", ""),
        "httpMethod": method,
        "identity": {"sourceIp": request.source_ip, "userAgent": headers.get("user-agent", "")},
        "path": path,
        "protocol": "HTTP/1.1",
        "requestId": str(uuid.uuid4()),
        "requestTimeEpoch": int(time.time() * 1000),
        "resourcePath": resource,
        "stage": "api",
    }


def _grouped(pairs: Headers) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped


def _body(request: HttpRequest, binary_types: Sequence[str]) -> tuple[str | None, bool]:
    """The body as text, or in base64 where its type is binary or it is no UTF-8."""
    if not request.body:
        return None, False
    given = next((value for name, value in request.headers if name.lower() == "content-type"), "")
    if given.partition(";")[0].strip().lower() not in binary_types:
        try:
            return request.body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(request.body).decode(), True


def _response(answer: Mapping[str, Any]) -> HttpResponse:
    body = answer.get("body") or ""
    content = base64.b64decode(body) if answer.get("isBase64Encoded") else str(body).encode()
    single = [(str(name), str(value)) for name, value in (answer.get("headers") or {}).items()]
    several = [(str(n), str(v)) for n, values in (answer.get("multiValueHeaders") or {}).items() for v in values]
    headers = [*single, *several]
    if content and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return HttpResponse(int(answer["statusCode"]), headers, content)
