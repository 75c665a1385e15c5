"""Which values a decision or a task reads, as a store read; and the read's answer as the variables of SPEC 4."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.domain.ids import UNDO, Scope, Token, bare, pointers
from chalicelib.domain.ir import Node, Plan, Template
from chalicelib.domain.journal import timestamp
from chalicelib.domain.node_kinds import node_at
from chalicelib.engine.store_calls import ReadAnswer, ReadCall

Json = Any
#: As-of number that sees every outcome the store has.
NOW = 1 << 50
#: Fields of the run's meta that make up `input` and `run`, and its tenant; they never change while it runs.
RUN_META = ("input", "input_ref", "name", "started_at", "tenant")
PENDING = {"output": None, "status": "PENDING", "error": None, "iteration": 0, "attempt": 0}


@dataclass(slots=True)
class Needs:
    """What to load for one node in one scope."""

    plan: Plan
    token: Token
    names: set[str] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    #: Whether "what reached the node" is asked for, as `output` of a config or of a pass node.
    reached: bool = False
    #: Value key of the outcome that is asked for as `output`: of what is undone.
    own: str = ""
    tokens: tuple[str, ...] = ()
    meta: tuple[str, ...] = ()
    #: `any` and `count` joins ahead of a node that failed: have they fired?
    joins: tuple[str, ...] = ()
    #: Of an item of a map: where its progress is kept, which names the pages of the items.
    box: tuple[str, ...] = ()

    def add_template(self, template: Template) -> None:
        """The template's reads; its `output` is what reached the node."""
        self.names |= set(template.names)
        self.nodes |= set(template.nodes)
        self.reached = self.reached or "output" in template.names

    def sources(self) -> list[str]:
        """Nodes whose outcome may have reached this one."""
        node = self.plan.nodes[self.token.node]
        back = came_back_from(self.plan, node, self.token.scope)
        if back is not None:
            return [back]
        return list(dict.fromkeys(self.plan.edges[key].source for key in node.in_edges))

    def wanted_nodes(self) -> list[str]:
        """Nodes to read, sorted, those that reached this one included."""
        return sorted(self.nodes | set(self.sources() if self.reached else ()))

    def edge_fields(self) -> list[str]:
        """Edge resolutions to read: only a counted node can be reached along one of several."""
        if not self.reached:
            return []
        node = self.plan.nodes[self.token.node]
        if not node.counted or came_back_from(self.plan, node, self.token.scope):
            return []
        instance = Token(node.id, self.token.scope).instance
        return [f"{instance}|{key}" for key in node.in_edges]

    def join_field(self, name: str) -> str:
        """The join's instance as seen from this node's scope."""
        return pointer_fields(self.plan, name, self.token.scope)[0]

    def empty(self, *, has_run: bool) -> bool:
        """True if nothing has to be read; `has_run`: input and run are known already."""
        run = bool(self.names & {"input", "run"}) and not has_run
        entry_input = self.reached and not has_run and not self.sources()
        stored = bool(self.wanted_nodes() or self.own) or "vars" in self.names
        return not (run or entry_input or stored or self.tokens or self.meta or self.joins or self.box)

    def call(self, run_id: str, as_of: int) -> ReadCall:
        """The store read."""
        vars_ = tuple(sorted(variable_names(self.plan))) if "vars" in self.names else ()
        own = ((self.own, (self.own,)),) if self.own else ()
        return ReadCall(
            run_id,
            as_of,
            own + tuple((name, pointer_fields(self.plan, name, self.token.scope)) for name in self.wanted_nodes()),
            vars_,
            tuple(self.edge_fields()),
            (*RUN_META, *self.meta),
            self.tokens,
            tuple(self.join_field(name) for name in self.joins),
            self.box,
        )


def config_needs(plan: Plan, token: Token) -> Needs:
    """What the config of an attempt reads. An undo's `output` is the outcome that it undoes. Raises BadSignal."""
    needs = Needs(plan, replace(token, node=bare(token.node)))
    config = node_at(plan, token).config
    if not token.node.startswith(UNDO):
        needs.add_template(config)
        return needs
    needs.names, needs.nodes = set(config.names), set(config.nodes)
    needs.own = needs.token.value_key if "output" in config.names else ""
    return needs


def variable_names(plan: Plan) -> set[str]:
    """All run variables that the workflow can have."""
    return set(plan.vars) | {name for node in plan.nodes.values() for name in node.sets}


def pointer_fields(plan: Plan, node_id: str, scope: Scope) -> tuple[str, ...]:
    """Where to look for the node's newest outcome: the reader's own scope first, then the enclosing ones."""
    loops = plan.nodes[node_id].loops
    common = 0
    for (mine, _), other in zip(scope, loops, strict=False):
        if mine != other:
            break
        common += 1
    fields = [pointer[0] for pointer in pointers(Token(node_id, scope[:common]))]
    return tuple(reversed(fields))


def came_back_from(plan: Plan, node: Node, scope: Scope) -> str | None:
    """The loop node whose back-edge started this instance, or None if it was entered along its edges."""
    for loop, count in reversed(scope):
        spec = plan.nodes[loop].loop
        if spec is None or spec.back_to != node.id:
            return None
        if count > 1:
            return loop
    return None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What never changes of a run while it runs: its `input` and `run` variables, and whose it is."""

    input: Json
    name: str
    started_at: str | None
    tenant: str


def run_info(answer: ReadAnswer, fetch: Callable[[str], Json]) -> RunInfo:
    """From the meta fields of a read; a large input is fetched by its reference."""
    meta = answer.meta
    ref = meta.get("input_ref")
    value = fetch(ref) if ref else json.loads(meta.get("input") or "null")
    started = meta.get("started_at")
    moment = timestamp(int(started)) if started else None
    return RunInfo(value, meta.get("name") or "", moment, meta.get("tenant") or "")


def context(record: str | None, fetch: Callable[[str], Json]) -> dict[str, Json]:
    """`ctx.<node>` from a stored outcome `no|{json}`."""
    if record is None:
        return dict(PENDING)
    raw = json.loads(record.split("|", 1)[1])
    output = fetch(raw["r"]) if "r" in raw else raw.get("o")
    error = raw.get("e")
    return {"output": output, "status": raw["s"], "error": error, "iteration": raw["i"], "attempt": raw["a"]}


def values(needs: Needs, answer: ReadAnswer | None, info: RunInfo | None, rev: int, run_id: str,
           fetch: Callable[[str], Json], as_of: int, known: dict[str, str]) -> dict[str, Json]:  # fmt: skip
    """The variables of SPEC 4 for this node. `known` holds stored outcomes at hand, by node id."""
    stored: dict[str, str | None] = {**(answer.nodes if answer else {}), **known}
    out: dict[str, Json] = {"ctx": {name: context(stored.get(name), fetch) for name in needs.nodes}}
    if info is not None:
        out["input"] = info.input
        out["run"] = {"id": run_id, "name": info.name, "revision": rev, "started_at": info.started_at}
    if "vars" in needs.names and answer is not None:
        out["vars"] = {name: _variable(text, fetch) for name, text in answer.vars.items() if text is not None}
    if needs.reached:
        taken = taken_sources(needs, answer, as_of)
        out["output"] = _reached(taken, stored, info, fetch)
    if needs.own:
        out["output"] = context(stored.get(needs.own), fetch)["output"]
    out["iteration"] = needs.token.iteration
    return out


def _variable(record: str, fetch: Callable[[str], Json]) -> Json:
    text = record.split("|", 2)[2]
    return fetch(text[1:]) if text.startswith("@") else json.loads(text)


def taken_sources(needs: Needs, answer: ReadAnswer | None, as_of: int) -> list[str]:
    """Sources whose edge to this node was taken, as of the commit that started it."""
    fields = needs.edge_fields()
    if not fields or answer is None:
        return needs.sources()
    taken = {name: int(text[2:]) for name in fields if (text := answer.edges.get(name) or "").startswith("1:")}
    # The nth taken edge of a count started it, though it may begin only later: after a backoff, at a breakpoint.
    need = needs.plan.nodes[needs.token.node].join.need
    last = min([as_of, *sorted(taken.values())[need - 1 : need]]) if need else as_of
    sources = [needs.plan.edges[name.split("|", 1)[1]].source for name, no in taken.items() if no <= last]
    return list(dict.fromkeys(sources))


def _reached(
    sources: Iterable[str], stored: dict[str, str | None], info: RunInfo | None, fetch: Callable[[str], Json]
) -> Json:
    names = list(sources)
    if not names:
        return info.input if info else None
    outputs = {name: context(stored.get(name), fetch)["output"] for name in names}
    return outputs[names[0]] if len(names) == 1 else outputs
