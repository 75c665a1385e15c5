"""Turns what the pydantic models refuse into problems at JSON Pointers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from chalicelib.domain import schema
from chalicelib.domain.node_bodies import Body, bodies_of
from chalicelib.domain.node_config import ADAPTERS, CONFIGS
from chalicelib.domain.node_types import AVAILABLE_TYPES
from chalicelib.domain.problem_list import ProblemList, pointer, shorten
from chalicelib.domain.refusals import code_of, holds, sentence

Json = Any
Loc = tuple[int | str, ...]

#: The model that an unknown key was looked for in, by the last named key above it.
_OWNERS: dict[str, type[BaseModel]] = {
    "": schema.WorkflowPart,
    "nodes": schema.NodePart,
    "edges": schema.EdgePart,
    "join": schema.JoinPart,
    "branch": schema.BranchPart,
    "rules": schema.RulePart,
    "loop": schema.LoopPart,
    "retry": schema.RetryPart,
    "limits": schema.LimitsPart,
}


class _Head(schema.WorkflowPart):
    """The document but for its nodes and edges, which are checked one by one so that errors stay bounded."""

    nodes: Annotated[list[Any], Field(min_length=1)]
    edges: list[Any] | None = None


_HEAD = TypeAdapter(_Head)
_NODE = TypeAdapter(schema.NodePart)
_EDGE = TypeAdapter(schema.EdgePart)
_BODY = TypeAdapter(schema.BodyPart)


def check_shape(document: dict[str, Json], problems: ProblemList) -> None:
    """Add a problem for every key, type and value that the models refuse, in the document and in each config."""
    _validate(_HEAD, document, document, (), problems)
    for index, node in enumerate(_items(document, "nodes")):
        if problems.overfull:
            return
        _validate(_NODE, node, document, ("nodes", index), problems)
        if isinstance(node, dict) and isinstance(node.get("type"), str):
            _check_node(document, index, node, problems)
    for index, edge in enumerate(_items(document, "edges")):
        if problems.overfull:
            return
        _validate(_EDGE, edge, document, ("edges", index), problems)


def _items(document: dict[str, Json], key: str) -> list[Json]:
    items = document.get(key)
    return items if isinstance(items, list) else []


def _check_node(document: Json, index: int, node: dict[str, Json], problems: ProblemList) -> None:
    kind = node["type"]
    if kind not in AVAILABLE_TYPES:
        text = f'"{shorten(kind)}" is not a node type; use one of {_listed(AVAILABLE_TYPES)}.'
        problems.add("unknown_type", pointer("nodes", index, "type"), text)
    else:
        _check_config(document, node, ("nodes", index), problems)
    for body in bodies_of(node):
        if body.written:
            _check_body(document, body, ("nodes", index, *body.path), problems)


def _check_body(document: Json, body: Body, where: Loc, problems: ProblemList) -> None:
    part, types = body.part, body.types
    _validate(_BODY, part, document, where, problems, schema.BodyPart)
    kind = part.get("type")
    if isinstance(kind, str) and kind not in types:
        text = f'"{shorten(kind)}" cannot be the type of a body; use one of {_listed(types)}.'
        problems.add("unknown_type", pointer(*where, "type"), text)
    elif isinstance(kind, str):
        _check_config(document, part, where, problems)


def _check_config(document: Json, part: dict[str, Json], where: Loc, problems: ProblemList) -> None:
    kind, config = part["type"], part.get("config")
    if config is None:
        config = {}
    if isinstance(config, dict):
        _validate(ADAPTERS[kind], config, document, (*where, "config"), problems, CONFIGS[kind])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _validate(
    adapter: TypeAdapter[Any],
    value: Json,
    document: Json,
    base: Loc,
    problems: ProblemList,
    owner: type[BaseModel] | None = None,
) -> None:
    try:
        adapter.validate_python(value)
    except ValidationError as refused:
        seen: set[str] = set()
        for error in refused.errors(include_url=False, include_input=False):
            loc = base + error["loc"]
            code = code_of(error["type"])
            path = pointer(*_locate(document, loc, missing=code == "missing_key"))
            if path not in seen:
                seen.add(path)
                problems.add(code, path, _message(code, error["msg"], loc, owner))


def _locate(document: Json, loc: Loc, *, missing: bool) -> Loc:
    """The part of a pydantic location that exists in the document: union tags and marks of keys are left out."""
    found: list[int | str] = []
    here = document
    for step in loc:
        if holds(here, step):
            here = here[step]
        elif missing and isinstance(here, dict) and isinstance(step, str) and not step.startswith("<"):
            found.append(step)
            break
        else:
            continue
        found.append(step)
    return tuple(found)


def _message(code: str, text: str, loc: Loc, owner: type[BaseModel] | None) -> str:
    key = shorten(loc[-1]) if loc else "the document"
    known = [field.alias or name for name, field in (owner or _owner(loc)).model_fields.items()]
    return sentence(code, text, key, known)


def _owner(loc: Loc) -> type[BaseModel]:
    names = [str(step) for step in loc[:-1] if isinstance(step, str) and not step.startswith("<")]
    return _OWNERS.get(names[-1] if names else "", schema.WorkflowPart)
