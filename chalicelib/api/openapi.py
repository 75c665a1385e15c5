"""The OpenAPI 3.1 description of the API, made from the table of routes."""

from __future__ import annotations

import re
from typing import Any, Final

from chalicelib.api.problems import CONTENT_TYPE, KINDS
from chalicelib.api.table import ANY, LINK, PREFIX, PUBLIC, ROUTES, TASK, Route

Json = Any
#: Methods that send a body.
WITH_BODY: Final = ("POST", "PATCH", "PUT")
_PARAMETER: Final = re.compile(r"{(\w+)}")
_TITLES: Final = {kind.status: kind.title for kind in reversed(KINDS.values())} | {422: "The request breaks a rule"}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "path", "message"],
                "properties": {name: {"type": "string"} for name in ("code", "path", "message")},
            },
        },
    },
}


def describe(public_url: str) -> dict[str, Json]:
    """The whole description."""
    paths: dict[str, dict[str, Json]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Graft", "version": "1", "summary": "Workflows that can be changed while they run."},
        "servers": [{"url": f"{public_url}{PREFIX}"}],
        "security": [{"bearer": []}, {"graftToken": []}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "graftToken": {"type": "apiKey", "in": "header", "name": "X-Graft-Token"},
            },
        },
    }


def _operation(route: Route) -> dict[str, Json]:
    operation: dict[str, Json] = {
        "operationId": route.id,
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.scope in (PUBLIC, TASK, LINK):
        operation["security"] = []
    elif route.scope != ANY:
        operation["description"] = f"Needs the scope `{route.scope}`."
    if route.method in WITH_BODY:
        operation["requestBody"] = _body(route)
    return operation


def _parameters(route: Route) -> list[Json]:
    text = {"type": "string"}
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": text} for name in _PARAMETER.findall(route.path)
    ]
    found += [
        {"name": name, "in": "query", "description": meaning, "schema": text} for name, meaning in route.query.items()
    ]
    if route.method in ("POST", "PATCH"):
        meaning = "A repeat under the same key within a day is answered as the first time."
        found.append({"name": "Idempotency-Key", "in": "header", "description": meaning, "schema": text})
    if route.json_patch:
        meaning = "The ETag of what the patch is made for; another state of it is refused."
        found.append({"name": "If-Match", "in": "header", "description": meaning, "schema": text})
    return found


def _body(route: Route) -> dict[str, Json]:
    if route.json_patch:
        items = {"type": "object", "required": ["op", "path"]}
        return {
            "required": True,
            "content": {"application/json-patch+json": {"schema": {"type": "array", "items": items}}},
        }
    if route.any_body:
        return {"required": False, "content": {"application/json": {"schema": {}}}}
    schema: dict[str, Json] = {"type": "object"}
    schema["properties"] = {name: {"description": meaning} for name, meaning in route.body.items()}
    if route.required:
        schema["required"] = list(route.required)
    return {"required": not route.body_optional, "content": {"application/json": {"schema": schema}}}


def _responses(route: Route) -> dict[str, Json]:
    problem = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    done: dict[str, Json] = {"description": "Done."}
    if route.status != 303:
        done["content"] = {"application/json": {"schema": {}}}
    if route.html:
        done["content"]["text/html"] = {"schema": {"type": "string"}}
    return {
        str(route.status): done,
        **{str(status): {"description": _TITLES[status], "content": problem} for status in _refusals(route)},
    }


def _refusals(route: Route) -> list[int]:
    """Statuses that the route may refuse with."""
    found = {503}
    if route.scope != PUBLIC:
        found |= {401}
    if route.scope not in (PUBLIC, TASK):
        found |= {403, 409} if route.scope == LINK else {403}
    if route.method in WITH_BODY:
        found |= {400, 409, 413, 422}
    if route.query:
        found |= {422}
    if "{" in route.path and route.scope != TASK:
        found |= {404}
    if "wait" in route.query:
        found |= {429}
    return sorted(found)
