"""JSON Schema conditions (2020-12): the value at a pointer is valid, or with `invert` is not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from chalicelib.domain import text_patterns
from chalicelib.domain.cel_functions import identity
from chalicelib.domain.errors import EvaluationError, Problem
from chalicelib.domain.ir import Condition, Expression
from chalicelib.domain.jsonpath_conditions import VISIBLE
from chalicelib.domain.problem_list import pointer, shorten

Json = Any
#: A validator of the library, whose classes are made at run time.
Validator = Any

DEFAULT_PATH = "/output"
#: Objects and arrays inside one another in a schema, and in a value that is checked.
MAX_DEPTH = 64
#: References that one check may follow: about a second.
MAX_REFS = 10_000
#: Findings about one schema.
MAX_ERRORS = 20


class _Work(threading.local):
    refs = 0


_work = _Work()


def _pattern(validator: Validator, pattern: str, value: Json, schema: Json) -> Iterator[ValidationError]:
    if isinstance(value, str) and not text_patterns.search(pattern, value):
        yield ValidationError(f"{shorten(value)!r} does not match {pattern!r}")


def _pattern_properties(validator: Validator, patterns: Json, value: Json, schema: Json) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for pattern, below in patterns.items():
            for key, item in value.items():
                if text_patterns.search(pattern, key):
                    yield from validator.descend(item, below, path=key, schema_path=pattern)


def _additional(validator: Validator, below: Json, value: Json, schema: Json) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        known = key in schema.get("properties", {})
        if not known and not any(text_patterns.search(one, key) for one in schema.get("patternProperties", {})):
            yield from validator.descend(item, below, path=key)


def _unique(validator: Validator, wanted: bool, value: Json, schema: Json) -> Iterator[ValidationError]:
    if wanted and isinstance(value, list) and len(set(map(identity, value))) < len(value):
        yield ValidationError("The items are not unique")


def _counted_ref(validator: Validator, ref: str, value: Json, schema: Json) -> Iterator[ValidationError]:
    _work.refs += 1
    if _work.refs > MAX_REFS:
        raise EvaluationError(f"Checking the schema follows more than {MAX_REFS} references; use a simpler schema.")
    yield from Draft202012Validator.VALIDATORS["$ref"](validator, ref, value, schema)


#: Python's regular expressions can backtrack without end: RE2 is used. References can double at each step: they are
#: counted. Objects that cannot be sorted are compared pair by pair: they are hashed.
_Validator = extend(
    Draft202012Validator,
    {"pattern": _pattern, "patternProperties": _pattern_properties, "additionalProperties": _additional}
    | {"uniqueItems": _unique, "$ref": _counted_ref},
)


def compile_condition(raw: dict[str, Json], path: str) -> tuple[Condition | None, list[Problem]]:
    """The compiled condition and every problem of schema, path and invert."""
    problems: list[Problem] = []
    if not isinstance(raw.get("invert", False), bool):
        problems.append(Problem("bad_value", f"{path}/invert", "`invert` is true or false."))
    reads = _reads(raw.get("path", DEFAULT_PATH), f"{path}/path", problems)
    problems += schema_problems(raw["schema"], f"{path}/schema")
    if problems or reads is None:
        return None, problems
    spec: dict[str, Json] = {key: raw[key] for key in ("type", "schema", "invert", "path") if key in raw}
    return Condition("schema", spec, reads), []


def _reads(text: Json, at: str, problems: list[Problem]) -> Expression | None:
    if not isinstance(text, str) or not text.startswith("/"):
        problems.append(Problem("bad_value", at, "`path` is a JSON Pointer such as /output/items."))
        return None
    keys = _keys(text)
    if keys[0] not in VISIBLE or keys == ("ctx",):
        text = f"`path` starts with one of {', '.join(VISIBLE)}, and ctx is followed by a node, as /ctx/node_id."
        problems.append(Problem("bad_value", at, text))
        return None
    nodes = (keys[1],) if keys[0] == "ctx" else ()
    return Expression("", (keys[0],), nodes, (keys,))


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key.replace("~1", "/").replace("~0", "~") for key in text.split("/")[1:])


def schema_problems(schema: Json, path: str) -> list[Problem]:
    """Why `schema` is no JSON Schema 2020-12 that can be checked here, under `path`."""
    if not isinstance(schema, dict | bool):
        return [Problem("bad_schema", path, "A JSON Schema is an object, true or false.")]
    found = list(_walk_problems(schema, path, 0))
    if found:
        return found
    errors = islice(_META.iter_errors(schema), MAX_ERRORS)
    return [
        Problem("bad_schema", path + pointer(*error.absolute_path), f"Not valid here: {shorten(error.message, 300)}.")
        for error in errors
    ]


def _walk_problems(part: Json, path: str, depth: int) -> Iterator[Problem]:
    """References that leave the schema, regular expressions that RE2 refuses, and nesting past the limit."""
    if depth > MAX_DEPTH:
        yield Problem("bad_schema", path, f"The schema nests more than {MAX_DEPTH} deep.")
        return
    if isinstance(part, dict) and {"unevaluatedProperties", "patternProperties"} <= part.keys():
        text = "unevaluatedProperties beside patternProperties is not supported; use additionalProperties."
        yield Problem("bad_schema", path, text)
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, item in items:
        if key in {"const", "enum", "default", "examples"}:
            continue
        at = path + pointer(key)
        if key in {"$ref", "$dynamicRef"} and isinstance(item, str) and not item.startswith("#"):
            text = f"The schema refers to {shorten(item)!r}; only references inside it, starting with #, are followed."
            yield Problem("bad_schema_ref", at, text)
        yield from _pattern_problems(key, item, at)
        yield from _walk_problems(item, at, depth + 1)


def _pattern_problems(key: str | int, item: Json, at: str) -> Iterator[Problem]:
    patterns: list[str] = []
    if key == "pattern" and isinstance(item, str):
        patterns = [item]
    if key == "patternProperties" and isinstance(item, dict):
        patterns = list(item)
    for pattern in patterns:
        text = text_patterns.problem(pattern)
        if text:
            yield Problem("bad_schema_pattern", at, text)


_META = Draft202012Validator(Draft202012Validator.META_SCHEMA)


@lru_cache(maxsize=256)
def _validator(text: str) -> Validator:
    return _Validator(json.loads(text), registry=Registry())


def holds(spec: dict[str, Json], values: Mapping[str, Json]) -> bool:
    """Whether the value at the condition's path is valid. Raises EvaluationError where there is none."""
    value: Json = {name: values[name] for name in VISIBLE if name in values}
    at = spec.get("path", DEFAULT_PATH)
    for key in _keys(at):
        value = _child(value, key, at)
    valid = checked(spec["schema"], lambda validator: validator.is_valid(value))
    return not valid if spec.get("invert") else bool(valid)


def checked(schema: Json, check: Callable[[Validator], Json]) -> Json:
    """What `check` finds with the bounded validator of a schema. Raises EvaluationError where that does not end."""
    _work.refs = 0
    try:
        return check(_validator(json.dumps(schema)))
    except (RecursionError, Unresolvable) as error:
        reason = "it refers to itself or nests without end" if isinstance(error, RecursionError) else str(error)
        raise EvaluationError(f"The schema cannot be checked: {shorten(reason, 300)}.") from error


def _child(value: Json, key: str, at: str) -> Json:
    if isinstance(value, dict) and key in value:
        return value[key]
    if isinstance(value, list) and key.isdecimal() and len(key) < 10 and int(key) < len(value):
        return value[int(key)]
    raise EvaluationError(f"There is no value at {at}: {shorten(key)!r} is missing.")
