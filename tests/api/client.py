"""The app as API Gateway calls it, over the engine of the harness."""

from __future__ import annotations

import base64
import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis

from app import app
from chalicelib.api.auth import issue_token
from chalicelib.engine.credentials import SCOPES, issue_callback_token
from chalicelib.engine.step import Coordinator
from tests.engine.harness import Harness

SECRET = b"a secret for tests, 32 bytes long"
ROUTES = sorted(app.routes, key=lambda path: path.count("{"))


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class _Context:
    aws_request_id = "trace-1"


def event(method: str, target: str, body: bytes | None, headers: dict[str, str]) -> dict[str, Any]:
    parts = urlsplit(target)
    resource, params = _match(method, parts.path)
    query = parse_qs(parts.query, keep_blank_values=True)
    return {
        "resource": resource,
        "path": parts.path,
        "httpMethod": method,
        "headers": headers,
        "pathParameters": params or None,
        "multiValueQueryStringParameters": query or None,
        "stageVariables": None,
        "requestContext": {"httpMethod": method, "resourcePath": resource, "path": f"/api{parts.path}"},
        "body": None if body is None else base64.b64encode(body).decode(),
        "isBase64Encoded": body is not None,
    }


def _match(method: str, path: str) -> tuple[str, dict[str, str]]:
    """As API Gateway does: resource and method together, else the greedy path."""
    given = path.split("/")
    for route in ROUTES:
        wanted = route.split("/")
        pairs = list(zip(wanted, given, strict=False))
        if len(wanted) == len(given) and all(w == g or (w[:1] == "{" and g) for w, g in pairs) and "+" not in route:
            if method not in app.routes[route]:
                break
            return route, {w[1:-1]: g for w, g in pairs if w[:1] == "{"}
    return "/{proxy+}", {"proxy": path.removeprefix("/")}


class Api(Harness):
    """A harness whose runs are started and read by HTTP."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        callback = partial(issue_callback_token, SECRET)
        self.services = dataclasses.replace(self.services, secret=SECRET, callback_token=callback)
        self.coordinator = Coordinator(self.services)

    def token(
        self, scopes: Any = SCOPES, tenant: str = "acme", sub: str = "ann", ttl_s: int = 3600, **more: Any
    ) -> str:
        now_s = more.pop("now_s", self.clock.now_ms() // 1000)
        return issue_token(SECRET, sub, tenant, scopes, ttl_s, now_s, **more)

    def call(self, method: str, target: str, body: Any = None, token: str | None = "", **headers: str) -> Reply:
        """`body` is JSON unless it is bytes; `token` None sends none, "" one that may do everything."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.token()}"
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        target = target if target.startswith("/") and not target.startswith("//") else f"/api/v1/{target}"
        answer = app(event(method, target, raw, sent), _Context())
        return Reply(answer["statusCode"], answer["headers"], answer["body"])

    def get(self, target: str, **more: Any) -> Reply:
        return self.call("GET", target, **more)

    def post(self, target: str, body: Any = None, **more: Any) -> Reply:
        return self.call("POST", target, body, **more)
