"""Answers what has no route: 404 for unknown paths, 405 for wrong methods, both as problem documents.

On API Gateway the greedy path takes every path and method that no other route serves. `chalice local` knows no greedy
paths; there Chalice's own 405 is turned into the same document.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chalice.app import Blueprint, Request, Response

from chalicelib.api.endpoint import CONTENT_TYPES, CORS, render, with_head
from chalicelib.api.problems import Answer, WrongMethod, refusal
from chalicelib.api.table import ROUTES
from chalicelib.domain.errors import NotFound

blueprint = Blueprint(__name__)
GREEDY: Final = "/{proxy+}"
METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


@blueprint.route(GREEDY, methods=METHODS, content_types=CONTENT_TYPES, cors=CORS)
def unserved() -> Response:
    """Nothing is served here."""
    request = blueprint.current_request
    given = request.uri_params or {}
    path = "/" + (given.get("proxy") or given.get("proxy+") or "")
    return render(unserved_answer(request.method, path), head=request.method == "HEAD")


def unserved_answer(method: str, path: str) -> Answer:
    """405 with the methods that the path has, or 404."""
    fitting = [route for route in ROUTES if _fits(route.full_path, path)]
    if fitting:
        # A literal path goes before one with parameters, as in API Gateway.
        best = min(fitting, key=lambda route: route.path.count("{")).path
        return _wrong_method(method, [route.method for route in fitting if route.path == best])
    return refusal(NotFound(f"There is nothing at {path[:200]}; GET /api/v1/openapi.json lists the routes."))


@blueprint.middleware("http")
def plain_errors(event: Request, get_response: Callable[[Request], Response]) -> Response:
    """Replace Chalice's own 405 by the problem document."""
    response = get_response(event)
    allow = response.headers.get("Allow")
    if response.status_code == 405 and isinstance(response.body, dict) and isinstance(allow, str):
        own = render(_wrong_method(event.method, allow.split(", ")))
        own.headers.update(CORS.get_access_control_headers())
        return own
    return response


def _wrong_method(method: str, methods: list[str]) -> Answer:
    allow = sorted({*with_head(methods), "OPTIONS"})
    return refusal(WrongMethod(f"This path does not take {method}; it takes {', '.join(allow)}.", allow=allow))


def _fits(pattern: str, path: str) -> bool:
    wanted, given = pattern.split("/"), path.rstrip("/").split("/")
    if len(wanted) != len(given):
        return False
    return all(want == have or want.startswith("{") for want, have in zip(wanted, given, strict=True))
