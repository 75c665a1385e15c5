"""A plan as JSON text and back, without loss.

Nodes and edges are lists in their order; a node's config is in the document already, so only its slots are written
again; fields that have their default are left out. Keys keep the document's order, so the text follows from the plan.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, Generic, TypeVar

from chalicelib.domain import ir
from chalicelib.domain.errors import InvalidInput

Json = Any
T = TypeVar("T")
#: How one field is written and read.
How = tuple[Callable[[Any], Any], Callable[[Any], Any]]


class _Codec(Generic[T]):
    """Writes a dataclass as an object of the fields that differ from their default. `how` names fields to convert."""

    def __init__(self, kind: Callable[..., T], **how: How) -> None:
        self._kind = kind
        self._how = how
        self._defaults = [(field.name, _default(field)) for field in fields(kind)]  # type: ignore[arg-type]

    def pack(self, value: T) -> dict[str, Json]:
        """The JSON object of a value."""
        packed: dict[str, Json] = {}
        for name, default in self._defaults:
            found = getattr(value, name)
            if found != default:
                how = self._how.get(name)
                packed[name] = how[0](found) if how else found
        return packed

    def unpack(self, packed: dict[str, Json]) -> T:
        """The value of a JSON object."""
        for name, how in self._how.items():
            if name in packed:
                packed[name] = how[1](packed[name])
        return self._kind(**packed)


def _default(field: Field[Any]) -> Json:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _same(value: Json) -> Json:
    return value


def _one(codec: _Codec[Any]) -> How:
    """A field that holds one value, or null."""
    return (
        lambda value: None if value is None else codec.pack(value),
        lambda packed: None if packed is None else codec.unpack(packed),
    )


def _many(codec: _Codec[Any]) -> How:
    """A field that holds a tuple of values."""
    return (
        lambda values: [codec.pack(value) for value in values],
        lambda packed: tuple([codec.unpack(value) for value in packed]),
    )


_TUPLE: How = (_same, tuple)
_TUPLE_OR_NULL: How = (_same, lambda value: None if value is None else tuple(value))
_EXPRESSION = _Codec(
    ir.Expression, names=_TUPLE, nodes=_TUPLE, paths=(_same, lambda rows: tuple([tuple(row) for row in rows]))
)
_CONDITION = _Codec(ir.Condition, expression=_one(_EXPRESSION))
_PARTS: How = (
    lambda parts: [part if isinstance(part, str) else _EXPRESSION.pack(part) for part in parts],
    lambda packed: tuple([part if isinstance(part, str) else _EXPRESSION.unpack(part) for part in packed]),
)
_SLOT = _Codec(ir.Slot, path=_TUPLE, parts=_PARTS)
_TEMPLATE = _Codec(ir.Template, slots=_many(_SLOT), names=_TUPLE, nodes=_TUPLE)
_SETS: How = (
    lambda sets: {name: _TEMPLATE.pack(template) for name, template in sets.items()},
    lambda packed: {name: _TEMPLATE.unpack(template) for name, template in packed.items()},
)
_RULE = _Codec(ir.Rule, condition=_one(_CONDITION), edges=_TUPLE)
_EDGE = _Codec(ir.Edge, condition=_one(_CONDITION))
_BODY: How = (
    lambda node: None if node is None else _NODE.pack(node),
    lambda packed: None if packed is None else _NODE.unpack(packed),
)
_NODE: _Codec[ir.Node] = _Codec(
    ir.Node,
    config=_one(_TEMPLATE),
    body=_BODY,
    compensate=_BODY,
    in_edges=_TUPLE,
    out_edges=_TUPLE,
    join=_one(_Codec(ir.Join, losers=_TUPLE)),
    branch=_one(_Codec(ir.Branch, rules=_many(_RULE), default=_TUPLE)),
    loop=_one(_Codec(ir.Loop, condition=_one(_CONDITION), break_edges=_TUPLE, timeout_edges=_TUPLE)),
    loops=_TUPLE,
    retry=_one(_Codec(ir.Retry, retry_on=_TUPLE_OR_NULL, no_retry_on=_TUPLE)),
    sets=_SETS,
    decide_names=_TUPLE,
    decide_nodes=_TUPLE,
)
_PLAN = _Codec(
    ir.Plan,
    nodes=(lambda nodes: [_NODE.pack(node) for node in nodes.values()], _same),
    edges=(
        lambda edges: [_EDGE.pack(edge) for edge in edges.values()],
        lambda packed: {edge.key: edge for edge in map(_EDGE.unpack, packed)},
    ),
    entries=_TUPLE,
    output=_one(_TEMPLATE),
    terminals=_TUPLE,
    leaving=(_same, lambda rows: {loop: tuple(keys) for loop, keys in rows.items()}),
    warnings=_TUPLE,
)


def encode(plan: ir.Plan) -> str:
    """The plan as compact JSON text: `decode` gives an equal plan, whose text is the same."""
    packed = _PLAN.pack(plan)
    for node, found, raw in zip(plan.nodes.values(), packed["nodes"], plan.document["nodes"], strict=True):
        config = raw.get("config")
        if config is node.config.value or (config is None and node.config.value == {}):
            del found["config"]["value"]
            if not found["config"]:
                del found["config"]
    return json.dumps(packed, separators=(",", ":"), ensure_ascii=False)


def decode(text: str) -> ir.Plan:
    """The plan of a text that `encode` wrote. Raises InvalidInput for any other text."""
    try:
        packed = json.loads(text)
        nodes: dict[str, ir.Node] = {}
        for found, raw in zip(packed["nodes"], packed["document"]["nodes"], strict=True):
            config = raw.get("config")
            found.setdefault("config", {}).setdefault("value", {} if config is None else config)
            node = _NODE.unpack(found)
            nodes[node.id] = node
        packed["nodes"] = nodes
        return _PLAN.unpack(packed)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInput(
            f"This is not the text of a plan ({type(error).__name__}); compile the workflow again."
        ) from error
