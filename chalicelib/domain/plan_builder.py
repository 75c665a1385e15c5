"""Builds the plan of a document in which no problem was found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chalicelib.domain.expressions import Expressions
from chalicelib.domain.graph import Graph, Link
from chalicelib.domain.ir import Branch, Condition, Edge, Join, Loop, Node, Plan, Retry, Rule, Template
from chalicelib.domain.loop_bodies import Bodies
from chalicelib.domain.node_bodies import Body, bodies_of
from chalicelib.domain.node_queues import queue_of

Json = Any

_ALL = Join()
_NO_RETRY = Retry()


class PlanBuilder:
    """Puts together what the rules found. Every part is valid by now."""

    def __init__(
        self,
        graph: Graph,
        bodies: Bodies,
        expressions: Expressions,
        losers: dict[int, tuple[str, ...]],
        default_iterations: int,
    ) -> None:
        self._graph = graph
        self._bodies = bodies
        self._found = expressions
        self._losers = losers
        self._default_iterations = default_iterations
        self._ins: list[list[str]] = [[link.key for link in links] for links in graph.ins]
        self._outs: list[list[str]] = [[link.key for link in links] for links in graph.outs]
        for veto in bodies.vetoes:
            self._ins[veto.target].append(veto.key)
            self._outs[veto.source].append(veto.key)
        self._late = {key for keys in bodies.leaving.values() for key in keys}

    def build(self, document: dict[str, Json], digest: str, warnings: tuple[dict[str, str], ...]) -> Plan:
        """The plan of `document`, with its hash and warnings."""
        graph, ids = self._graph, self._graph.ids
        return Plan(
            hash=digest,
            document=document,
            nodes={name: self._node(place) for place, name in enumerate(ids)},
            edges={link.key: self._edge(link) for link in (*graph.links.values(), *self._bodies.vetoes)},
            entries=tuple(name for name, links in zip(ids, graph.ins, strict=True) if not links),
            output=self._found.output,
            terminals=tuple(
                name for name, links in zip(ids, graph.outs, strict=True) if all(link.on == "failure" for link in links)
            ),
            leaving={ids[loop]: tuple(keys) for loop, keys in self._bodies.leaving.items()},
            on_failure=document.get("on_failure") or "fail_fast",
            timeout_ms=document.get("timeout_ms"),
            vars=document.get("vars") or {},
            warnings=warnings,
        )

    def _edge(self, link: Link) -> Edge:
        ids = self._graph.ids
        condition = self._found.edges.get(link.key)
        return Edge(link.key, ids[link.source], ids[link.target], link.on, link.kind, condition)

    def _node(self, place: int) -> Node:
        raw, ins = self._graph.raws[place], self._ins[place]
        names, nodes = self._reads(place)
        return Node(
            id=self._graph.ids[place],
            type=raw["type"],
            config=self._found.configs[place],
            in_edges=tuple(ins),
            out_edges=tuple(self._outs[place]),
            join=self._join(place, raw.get("join")),
            branch=self._branch(place, raw["branch"]) if raw.get("branch") else None,
            loop=self._loop(place, raw["loop"]) if raw.get("loop") else None,
            loops=tuple(self._graph.ids[loop] for loop in self._bodies.nests[place]),
            retry=_retry(raw["retry"]) if raw.get("retry") else _NO_RETRY,
            timeout_ms=raw.get("timeout_ms"),
            heartbeat_ms=raw.get("heartbeat_ms"),
            check_before_start=bool(raw.get("check_before_start")),
            queue=queue_of(raw),
            sets=self._found.sets[place],
            breakpoint=False,  # a run's start may set it
            counted=len(ins) > 1 or any(key in self._late for key in ins),
            decide_names=names,
            decide_nodes=nodes,
            **{body.name: self._body(place, body) for body in bodies_of(raw)},
        )

    def _body(self, place: int, body: Body) -> Node:
        """A node body inside the node, as a node of the same id: it has no edges of its own."""
        part = body.part
        return Node(
            id=self._graph.ids[place],
            type=part["type"],
            config=self._found.bodies[place, body.name],
            loops=tuple(self._graph.ids[loop] for loop in self._bodies.nests[place]),
            retry=_retry(part["retry"]) if part.get("retry") else _NO_RETRY,
            timeout_ms=part.get("timeout_ms"),
            heartbeat_ms=part.get("heartbeat_ms"),
            check_before_start=bool(part.get("check_before_start")),
            queue=queue_of(part),
        )

    def _reads(self, place: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        found = self._found
        conditions: list[Condition] = [*found.rules.get(place, ())]
        conditions.extend(found.edges[key] for key in self._outs[place] if key in found.edges)
        if place in found.loops:
            conditions.append(found.loops[place])
        templates: Iterable[Template] = found.sets[place].values()
        if not conditions and not templates:
            return (), ()
        names = {name for condition in conditions for name in condition.expression.names}
        nodes = {name for condition in conditions for name in condition.expression.nodes}
        for template in templates:
            names.update(template.names)
            nodes.update(template.nodes)
        return tuple(sorted(names)), tuple(sorted(nodes))

    def _join(self, place: int, raw: Json) -> Join:
        if raw is None or raw == "all":
            return _ALL
        if raw == "any":
            return Join(need=1)
        need = 1 if raw.get("count") is None else raw["count"]
        return Join(need, bool(raw.get("cancel_losers")), self._losers.get(place, ()))

    def _branch(self, place: int, raw: dict[str, Json]) -> Branch:
        default = self._keys(place, raw.get("default"))
        if raw.get("type") == "agent_driven":
            names = dict.fromkeys(raw["available_next_nodes"])
            available = dict(zip(names, self._keys(place, names), strict=True))
            return Branch("agent_driven", (), default, available)
        conditions = self._found.rules.get(place, [])
        rules = tuple(
            Rule(condition, self._keys(place, rule["next_nodes"]))
            for condition, rule in zip(conditions, raw["rules"], strict=True)
        )
        return Branch(raw.get("mode") or "first", rules, default)

    def _loop(self, place: int, raw: dict[str, Json]) -> Loop:
        return Loop(
            condition=self._found.loops[place],
            max_iterations=raw.get("max_iterations") or self._default_iterations,
            back_to=raw["loop_back_to"],
            break_edges=self._keys(place, raw.get("break_path")),
            timeout_edges=self._keys(place, raw.get("timeout_path")),
            has_break=raw.get("break_path") is not None,
            has_timeout=raw.get("timeout_path") is not None,
        )

    def _keys(self, place: int, names: Iterable[str] | None) -> tuple[str, ...]:
        return tuple(f"{self._graph.ids[place]}:{name}:success" for name in dict.fromkeys(names or ()))


def _retry(raw: dict[str, Json]) -> Retry:
    given = {key: value for key, value in raw.items() if value is not None}
    for key in ("retry_on", "no_retry_on"):
        if key in given:
            given[key] = tuple(given[key])
    if "backoff_multiplier" in given:
        given["backoff_multiplier"] = float(given["backoff_multiplier"])
    return Retry(**given)
