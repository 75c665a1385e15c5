"""Turns a view into a Chalice route: finds its row in the table, authorises, answers, and renders what goes wrong."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any, Final
from urllib.parse import unquote

from chalice.app import Blueprint, CORSConfig, Response

from chalicelib.api import context
from chalicelib.api.auth import authorise
from chalicelib.api.call import Call, wants_page
from chalicelib.api.decision_page import problem_page
from chalicelib.api.idempotency import answer_once
from chalicelib.api.problems import Answer, failure, refusal
from chalicelib.api.table import BY_ID, LINK, TASK, Route
from chalicelib.domain.errors import GraftError
from chalicelib.engine.credentials import verify_callback_token, verify_link_token

Json = Any
View = Callable[[Call], Answer]
log = logging.getLogger("graft.api")

#: SPEC 8: what browsers of other origins may send and read.
CORS: Final = CORSConfig(
    allow_headers=["If-Match", "Idempotency-Key", "Authorization", "Content-Type", "X-Graft-Token"],
    expose_headers=["ETag", "Location", "Retry-After"],
    max_age=600,
)
#: Chalice refuses types that a route does not list; this one takes them all.
CONTENT_TYPES: Final = ["*/*"]


def operation(blueprint: Blueprint) -> Callable[[View], View]:
    """Serve the decorated view as the route whose id is its name."""

    def register(view: View) -> View:
        route = BY_ID[view.__name__]

        @wraps(view)
        def handler(**params: str) -> Response:
            return render(_answer(blueprint, route, params, view), head=blueprint.current_request.method == "HEAD")

        methods = with_head([route.method])
        blueprint.route(route.full_path, methods=methods, content_types=CONTENT_TYPES, cors=CORS)(handler)
        return view

    return register


def with_head(methods: list[str]) -> list[str]:
    """These methods, and HEAD wherever there is GET."""
    return [*methods, "HEAD"] if "GET" in methods else methods


def render(answer: Answer, *, head: bool = False) -> Response:
    """The answer as Chalice sends it, its headers alone for HEAD.

    Nothing is kept by caches on the way: a run changes while its ETag does not.
    """
    headers: dict[str, str | list[str]] = {
        "Content-Type": answer.content_type,
        "Cache-Control": "no-store",
        **answer.headers,
    }
    return Response("" if head else _text(answer), headers=headers, status_code=answer.status)


def _text(answer: Answer) -> str:
    if answer.page is not None:
        return answer.page
    return "" if answer.body is None else json.dumps(answer.body, separators=(",", ":"), allow_nan=False)


def _answer(blueprint: Blueprint, route: Route, params: Mapping[str, str], view: View) -> Answer:
    try:
        call = _call(blueprint, route, params)
        if route.method not in ("POST", "PATCH"):
            return view(call)
        return answer_once(call, call.scope, view)
    except GraftError as error:
        page = wants_page(route, blueprint.current_request.headers)
        return problem_page(refusal(error)) if page else refusal(error)
    except Exception:
        trace_id = str(getattr(blueprint.lambda_context, "aws_request_id", "") or "unknown")
        log.exception("%s %s failed, trace %s", route.method, route.full_path, trace_id)
        return failure(trace_id)


def own_url(request_context: Mapping[str, Any]) -> str:
    """Where the request came in, for deployments that name no public URL: API Gateway's own address and stage."""
    domain, stage = request_context.get("domainName"), request_context.get("stage")
    return f"https://{domain}/{stage}" if domain and stage else ""


def _call(blueprint: Blueprint, route: Route, params: Mapping[str, str]) -> Call:
    request = blueprint.current_request
    services = context.services()
    if not services.public_url:
        services = replace(services, public_url=own_url(request.context))
    given = {name: unquote(value) for name, value in params.items()}
    now = services.clock.now_ms()
    claims = authorise(services.secret, route, given, request.headers, now)
    task = verify_callback_token(services.secret, given["token"], now) if route.scope == TASK else None
    link = verify_link_token(services.secret, given["token"], now) if route.scope == LINK else None
    query, raw = dict(request.query_params or {}), request.raw_body
    body = raw.encode() if isinstance(raw, str) else raw
    return Call(services, route, given, query, request.headers, body, claims, task, route.path.format(**given), link)
