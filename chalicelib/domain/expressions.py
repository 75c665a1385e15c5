"""Compiles every condition and template of a document, and checks which nodes each may read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.conditions import compile_condition
from chalicelib.domain.graph import Graph
from chalicelib.domain.ir import Condition, Expression, Template
from chalicelib.domain.json_form import mentions
from chalicelib.domain.node_bodies import bodies_of, own_config
from chalicelib.domain.node_types import SECRET_TYPES, UNTEMPLATED_KEYS
from chalicelib.domain.problem_list import ProblemList, pointer
from chalicelib.domain.templates import compile_template

Json = Any

_EMPTY = Template({})


@dataclass(frozen=True, slots=True)
class Reading:
    """One expression of a node that reads other nodes. `reader` is None for the run's output."""

    reader: int | None
    nodes: tuple[str, ...]
    path: str
    #: True where it is evaluated when the reader completes, not when it starts.
    completed: bool


@dataclass(slots=True)
class Expressions:
    """What was compiled, by where the plan needs it."""

    configs: list[Template] = field(default_factory=list)
    sets: list[dict[str, Template]] = field(default_factory=list)
    #: Edge key -> condition.
    edges: dict[str, Condition] = field(default_factory=dict)
    #: Node -> conditions of its branch rules, in order.
    rules: dict[int, list[Condition]] = field(default_factory=dict)
    loops: dict[int, Condition] = field(default_factory=dict)
    #: (node, name of the part) -> config of the node body there.
    bodies: dict[tuple[int, str], Template] = field(default_factory=dict)
    output: Template | None = None
    readings: list[Reading] = field(default_factory=list)


class ExpressionCompiler:
    """Compiles into an `Expressions`; a condition that stands in many places is parsed once."""

    def __init__(self, graph: Graph, problems: ProblemList) -> None:
        self._graph = graph
        self._problems = problems
        self._known: dict[str, Condition] = {}
        self._found = Expressions()

    def compile_all(self, document: dict[str, Json]) -> Expressions:
        """Compile all; problems name the pointer of each expression."""
        for node in range(len(self._graph.ids)):
            self._compile_node(node)
        if document.get("output") is not None:
            self._found.output = self._template(document["output"], "/output", None, completed=True)
        return self._found

    def _compile_node(self, node: int) -> None:
        raw, found = self._graph.raws[node], self._found
        found.configs.append(self._config(raw, node, self._graph.path(node, "config")))
        self._compile_bodies(node)
        sets = raw.get("set")
        found.sets.append(
            {
                name: self._template(value, self._graph.path(node, "set", name), node, completed=True)
                for name, value in (sets.items() if isinstance(sets, dict) else ())
            }
        )
        for link in self._graph.outs[node]:
            if link.condition is not None:
                condition = self._condition(link.condition, link.path + "/condition", node)
                if condition:
                    found.edges[link.key] = condition
        for path, value in _rules(raw):
            condition = self._condition(value, self._graph.path(node, *path), node)
            if condition:
                found.rules.setdefault(node, []).append(condition)
        loop = raw.get("loop")
        if isinstance(loop, dict) and "condition" in loop:
            condition = self._condition(loop["condition"], self._graph.path(node, "loop", "condition"), node)
            if condition:
                found.loops[node] = condition

    def _compile_bodies(self, node: int) -> None:
        for body in bodies_of(self._graph.raws[node]):
            reader = None if body.reads_all else node
            path = self._graph.path(node, *body.config_path)
            self._found.bodies[node, body.name] = self._config(body.part, reader, path)

    def _config(self, raw: dict[str, Json], reader: int | None, path: str) -> Template:
        config = own_config(raw)
        if not isinstance(config, dict) or not config:
            return _EMPTY if config is None else Template(config)
        if any(mentions(config[key], "${") for key in UNTEMPLATED_KEYS & config.keys()):
            config = {key: value for key, value in config.items() if key not in UNTEMPLATED_KEYS}
        if not mentions(config, "${"):
            return Template(config)
        kind = raw.get("type")
        secrets = isinstance(kind, str) and kind in SECRET_TYPES
        return self._template(config, path, reader, completed=False, secrets=secrets)

    def _template(
        self, value: Json, path: str, reader: int | None, *, completed: bool, secrets: bool = False
    ) -> Template:
        if not mentions(value, "${"):
            return Template(value)
        template, problems = compile_template(value, path, allow_secrets=secrets)
        self._problems.extend(problems)
        for slot in template.slots:
            for part in slot.parts:
                if isinstance(part, Expression) and part.nodes:
                    where = path + pointer(*slot.path)
                    self._found.readings.append(Reading(reader, part.nodes, where, completed))
        return template

    def _condition(self, value: Json, path: str, reader: int) -> Condition | None:
        source = _cel_source(value)
        condition = self._known.get(source) if source is not None else None
        if condition is None:
            condition, problems = compile_condition(value, path)
            self._problems.extend(problems)
            if condition is None:
                return None
            if source is not None:
                self._known[source] = condition
        if condition.expression.nodes:
            where = f"{path}/expression" if isinstance(value, dict) and "expression" in value else path
            self._found.readings.append(Reading(reader, condition.expression.nodes, where, completed=True))
        return condition


def _cel_source(value: Json) -> str | None:
    """The CEL text of a condition that has nothing else to check, or None."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and value.keys() == {"type", "expression"} and value["type"] == "cel":
        return value["expression"] if isinstance(value["expression"], str) else None
    return None


def _rules(raw: dict[str, Json]) -> Iterator[tuple[tuple[str | int, ...], Json]]:
    branch = raw.get("branch")
    rules = branch.get("rules") if isinstance(branch, dict) else None
    for number, rule in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(rule, dict) and "condition" in rule:
            yield ("branch", "rules", number, "condition"), rule["condition"]
