"""Bounds what a patch may add to the capabilities of its author's credential (SPEC 13)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.domain.errors import Problem
from chalicelib.domain.ir import Plan
from chalicelib.domain.patch_diff import Diff, written
from chalicelib.domain.patch_operations import Applied
from chalicelib.domain.problem_list import ProblemList, pointer, shorten

Json = Any
#: Capability -> the node types whose config member it bounds, and that member.
_BOUNDED = {
    "functions": (("function",), "handler"),
    "queues": (("queue",), "queue"),
    "workflows": (("workflow", "map"), "workflow"),
}
#: Tool of an agent -> the node type that reaches as far.
_REACH = {"http_request": "http", "execute_pipeline": "http", "call_function": "function"}
_SECRET = re.compile(r"\$\{\s*secret\s*\.\s*([A-Za-z0-9_-]+)")
#: Stands for all names that there are: what an agent may use that its `allow` does not bound.
_ANY = "*"


def beyond_capabilities(plan: Plan, diff: Diff, applied: Applied, caps: Json) -> list[Problem]:
    """Problems for every added or changed node that uses what is outside `caps`; None is no bound.

    `caps` is `{"node_types": [...], "functions": [...], "queues": [...], "workflows": [...], "secrets": [...],
    "budget": {...}}`; a member that is absent bounds nothing. A changed node is judged as if it were added: a secret
    that it reads already could be sent elsewhere.
    """
    found = ProblemList()
    if caps is None:
        return []
    nodes = written(plan.document)
    for name in (*diff.added, *diff.changed):
        number = applied.nodes.get(name)
        path = "/operations" if number is None else pointer("operations", number, "path")
        for what, value in _uses(nodes[name]):
            if not _allowed(caps, what, value):
                found.add("not_allowed", path, _text(what, value, name))
        for bound in _beyond_budget(nodes[name], caps):
            text = f'Agent "{name}" needs a budget of at most {bound}, as much as the credential has; set budget.'
            found.add("not_allowed", path, text)
    return found.listed()


def _text(what: str, value: str, name: str) -> str:
    kind = what.removesuffix("s").replace("_", " ")
    if value == _ANY:
        return f'Agent "{name}" would be allowed every {kind}; list under allow.{what} what the credential allows.'
    return f'The credential does not allow the {kind} "{shorten(value)}" that node "{name}" uses.'


def _allowed(caps: Json, what: str, value: str) -> bool:
    """Capabilities of another shape than expected allow nothing."""
    if not isinstance(caps, dict):
        return False
    names = caps.get(what)
    return names is None or (isinstance(names, list) and value in names)


def _uses(body: Json) -> Iterator[tuple[str, str]]:
    """(capability, name) of a node body and of the bodies inside it."""
    for part in _bodies(body):
        kind, config = part.get("type"), part.get("config")
        if isinstance(kind, str):
            yield "node_types", kind
        if not isinstance(config, dict):
            continue
        for what, (owners, member) in _BOUNDED.items():
            if kind in owners and isinstance(config.get(member), str):
                yield what, config[member]
        if kind == "agent":
            yield from _agent_uses(config)
        if "pipeline" in config and _requests(config["pipeline"]):
            yield "node_types", "http"
    yield from (("secrets", name) for name in dict.fromkeys(_SECRET.findall(compact(body))))


def _agent_uses(config: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """What an agent could come to use: its tools, and what it allows itself."""
    tools, allow = config.get("tools"), config.get("allow")
    for tool in tools if isinstance(tools, list) else ():
        if tool in _REACH:
            yield "node_types", _REACH[tool]
    allow = allow if isinstance(allow, dict) else {}
    for what in ("node_types", *_BOUNDED):
        names = allow.get(what)
        yield from ((what, str(name)) for name in (names if isinstance(names, list) else (_ANY,)))
    yield from (("secrets", str(name)) for name in allow.get("secrets") or ())


def _requests(pipeline: Json) -> bool:
    """Whether a pipeline may make requests: some step does, or it is not written out."""
    steps = pipeline if isinstance(pipeline, list) else [None]
    return any(not isinstance(step, dict) or step.get("step") in (None, "http_request") for step in steps)


def _beyond_budget(body: Json, caps: Json) -> Iterator[str]:
    """The bounds of the credential's own budget that an agent in `body` could pass."""
    own = caps.get("budget") if isinstance(caps, dict) else None
    for part in _bodies(body):
        config = part.get("config")
        if part.get("type") != "agent" or not isinstance(config, dict) or not isinstance(own, dict):
            continue
        budget = config.get("budget")
        for name, most in own.items():
            given = budget.get(name) if isinstance(budget, dict) else None
            if not (_is_number(given) and _is_number(most) and given <= most):
                yield f"{most} {name}"


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bodies(body: Json) -> Iterator[dict[str, Json]]:
    """A node and the bodies inside it."""
    if not isinstance(body, dict):
        return
    yield body
    yield from _bodies(body.get("compensate"))
    config = body.get("config")
    if isinstance(config, dict):
        yield from _bodies(config.get("body"))
