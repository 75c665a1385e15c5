"""The JSON Schema of the workflow document, for editors."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.aliases import TYPE_ALIASES
from chalicelib.domain.node_config import CONFIGS
from chalicelib.domain.schema import WorkflowPart

Json = Any

#: Types whose config has keys that must be there.
_NEEDS_CONFIG = frozenset({"function", "http", "agent", "transform", "wait", "queue"})


def document_schema() -> dict[str, Json]:
    """JSON Schema 2020-12 of a workflow document; a node's config follows its type, and aliases of types are known."""
    schema = WorkflowPart.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Graft workflow"
    definitions = schema["$defs"]
    node = definitions["NodePart"]
    node["properties"]["type"]["enum"] += sorted(TYPE_ALIASES)
    node["allOf"] = []
    for kind, model in CONFIGS.items():
        definition = model.model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(definition.pop("$defs", {}))
        definitions[model.__name__] = definition
        then: dict[str, Json] = {"properties": {"config": {"$ref": f"#/$defs/{model.__name__}"}}}
        if kind in _NEEDS_CONFIG:
            then["required"] = ["config"]
        node["allOf"].append({"if": {"properties": {"type": {"const": kind}}}, "then": then})
    return schema
