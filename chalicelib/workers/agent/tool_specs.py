"""What a model is told of each tool, and the schemas that its arguments are held to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from chalicelib.domain.agent_tools import TOOLS
from chalicelib.domain.errors import EvaluationError
from chalicelib.domain.problem_list import pointer, shorten
from chalicelib.domain.schema_conditions import Validator, checked
from chalicelib.workers.agent.model import ToolSpec

Json = Any
#: Findings about one call's arguments, or one output.
MAX_FOUND = 20


def _object(properties: dict[str, Json], *required: str) -> dict[str, Json]:
    shape: dict[str, Json] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**shape, "required": list(required)} if required else shape


_OPERATION = {
    "type": "object",
    "properties": {
        "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
        "path": {"type": "string", "description": "e.g. /nodes/-, /nodes/email/config/url, /edges/-, /edges/a:b"},
        "from": {"type": "string"},
        "value": {},
    },
    "required": ["op", "path"],
}
_HEADERS = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
_SPECS: Final = {
    "get_workflow": ToolSpec("get_workflow", "Read this run's workflow as it is now, with its revision.", _object({})),
    "patch_workflow": ToolSpec(
        "patch_workflow",
        "Change this run's workflow while it runs, by JSON Patch operations (RFC 6902). A segment under /nodes may be "
        "a node id, and /edges/<from>:<to> names an edge. Add a node with op add at /nodes/- and connect it with op "
        "add at /edges/- {from, to}; a node without incoming edges starts at once. The patch is applied whole or not "
        "at all; if it is refused, every problem is named, and you may send a better one. Started nodes keep their "
        "type, join and incoming edges.",
        _object(
            {
                "operations": {"type": "array", "items": _OPERATION, "minItems": 1, "maxItems": 200},
                "description": {"type": "string", "maxLength": 4096, "description": "Why, in one sentence."},
                "base_revision": {"type": "integer", "minimum": 0},
                "dry_run": {"type": "boolean", "description": "Only say what the patch would do."},
            },
            "operations",
            "description",
        ),
    ),
    "http_request": ToolSpec(
        "http_request",
        "Make one HTTP request to a public address. Gives {status, headers, body}; JSON bodies are parsed.",
        _object(
            {
                "url": {"type": "string"},
                "method": {"enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]},
                "headers": _HEADERS,
                "query": {"type": "object"},
                "body": {},
            },
            "url",
        ),
    ),
    "call_function": ToolSpec(
        "call_function",
        "Call a registered function with parameters.",
        _object({"name": {"type": "string"}, "params": {}}, "name"),
    ),
    "execute_pipeline": ToolSpec(
        "execute_pipeline",
        "Run steps over rows, which are given as data, or as the artifact id of an earlier large result. Steps: "
        "http_request, table_filter, table_sort, table_select, table_join, table_group, top_k.",
        _object(
            {
                "steps": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": 50},
                "data": {},
                "artifact": {"type": "string", "pattern": "^artifact://sha256/[0-9a-f]{64}$"},
            },
            "steps",
        ),
    ),
}
assert tuple(_SPECS) == TOOLS, "every tool that compiles has its description"


def specs_of(tools: Sequence[str], functions: Sequence[str]) -> list[ToolSpec]:
    """The tools of a node; the functions that it may call are named."""
    found = [_SPECS[name] for name in dict.fromkeys(tools)]
    named = _object({"name": {"enum": sorted(functions)}, "params": {}}, "name")
    return [
        ToolSpec(spec.name, spec.description, named) if spec.name == "call_function" and functions else spec
        for spec in found
    ]


def problems_of(schema: Json, value: Json) -> list[dict[str, str]]:
    """The first places where `value` breaks `schema`, as `{path, message}`."""

    def find(validator: Validator) -> list[dict[str, str]]:
        return [
            {"path": pointer(*error.absolute_path), "message": shorten(error.message, 300)}
            for error in islice(validator.iter_errors(value), MAX_FOUND)
        ]

    try:
        found: list[dict[str, str]] = checked(schema, find)
    except EvaluationError as error:
        return [{"path": "", "message": error.detail}]
    return sorted(found, key=lambda problem: problem["path"])
