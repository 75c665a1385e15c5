"""Builds the nested pieces of a random workflow: series, parallel paths, branches, guarded steps."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.simulation.generate_calls import LEVELS, guarded_step
from tests.simulation.generate_kinds import add_kind
from tests.simulation.generate_loops import add_loop
from tests.simulation.generate_maps import add_map
from tests.simulation.generate_text import Around, condition, condition_form, number, template

_DEEPEST = 4
_OLDER_NAMES = {"pass": "parallel", "branch": "conditional"}


@dataclass(frozen=True)
class Piece:
    """A finished part: where it starts, where it ends (None: nothing may follow), what is readable after it."""

    entry: str
    exit: str | None
    sure: tuple[str, ...] = ()
    counted: bool = False
    #: Nodes that may have failed, but are certainly settled.
    settled: tuple[str, ...] = ()


class Pieces:
    """Adds nodes and edges to a document. Nodes may end up a few more than `size`."""

    def __init__(self, rng: random.Random, size: int, *, races: bool, confluent: bool, mixed: bool = False) -> None:
        self.rng, self.left, self.races, self.confluent, self.mixed = rng, size, races, confluent, mixed
        self.on_failure = "fail_fast"
        #: Levels of saved workflows that nodes may call.
        self.level = LEVELS
        self.nodes: list[dict[str, Any]] = []
        self.edges: list[dict[str, Any]] = []
        self.variables: dict[str, Any] = {"v0": 0, "v1": 2}

    # Nodes and edges.

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def node(self, kind: str, **more: Any) -> dict[str, Any]:
        self.left -= 1
        if kind in _OLDER_NAMES and self.chance(0.1):
            kind = _OLDER_NAMES[kind]
        name = f"n{'-' if self.chance(0.1) else ''}{len(self.nodes)}"
        made = {"id": name, "type": kind, **more}
        self.nodes.append(made)
        return made

    def edge(self, source: str, target: str, on: str = "success", when: str | None = None) -> None:
        more = {} if when is None else {"condition": condition_form(self.rng, when)}
        self.edges.append({"from": source, "to": target, **({} if on == "success" else {"on": on}), **more})

    def function(self, here: Around, fails: float = 0.0) -> dict[str, Any]:
        made = self.node("function", config={"handler": "echo", "params": {"v": template(self.rng, here)}})
        if fails:
            made["metadata"] = {"sim": {"fail": fails, "final": self.rng.choice([0.0, 0.3])}}
            if self.chance(0.5):
                made["retry"] = {"max_attempts": self.rng.choice([2, 3]), "backoff_ms": 1}
                if self.chance(0.4):
                    made["retry"][self.rng.choice(["retry_on", "no_retry_on"])] = ["Flaky"]
        return made

    # What is allowed here.

    def alone(self, here: Around) -> bool:
        """Whether the run may be stopped, or variables changed, at this place."""
        return not self.confluent or (here.serial and not self.races and not here.calm)

    def may_fail(self, here: Around) -> bool:
        """Whether a failure may stay unhandled at this place."""
        return self.alone(here) or (self.on_failure == "finish_branches" and not here.calm)

    def may_leave(self, here: Around) -> bool:
        """Whether a failure edge may leave the loop around this place."""
        return bool(here.frames) and not here.calm and (here.serial or self.races)

    # Pieces.

    def series(self, here: Around) -> Piece:
        first = last = self.piece(here)
        here = here.knowing(*last.sure, settled=last.settled)
        for _ in range(self.rng.randrange(4)):
            if last.exit is None or self.left <= 0:
                break
            following = self.piece(here)
            when = condition(self.rng, here, last.counted) if self.chance(0.05) else None
            self.edge(last.exit, following.entry, when=when)
            last, here = following, here.knowing(*following.sure, settled=following.settled)
        if here.tail and last.exit and self.alone(here) and self.chance(0.15):
            return self.ending(here, first, last.exit)
        return Piece(first.entry, last.exit, here.sure, last.counted)

    def ending(self, here: Around, first: Piece, last: str) -> Piece:
        """Closes a path with a node that ends the run."""
        kind = self.rng.choice(["fail", "succeed"])
        config: Any = {"error": {"type": "Stopped", "message": "on purpose"}}
        made = self.node(kind, config=config if kind == "fail" else {"output": template(self.rng, here)})
        self.edge(last, made["id"])
        return Piece(first.entry, None)

    def piece(self, here: Around) -> Piece:
        if self.left <= 2 or here.depth >= _DEEPEST or self.chance(0.3):
            return self.leaf(here)
        return self.rng.choice([self.parallel, self.branch, self.guarded, self.loop, *[self.map] * 2 * self.mixed])(
            here
        )

    def map(self, here: Around) -> Piece:
        return add_map(self, here)

    def loop(self, here: Around) -> Piece:
        return add_loop(self, here)

    def leaf(self, here: Around, plain: bool = False) -> Piece:
        """One node. A plain one neither fails nor shows which edges it was reached by."""
        if self.mixed and not plain and self.chance(0.5):
            return add_kind(self, here)
        kind = self.rng.choice(["function", "function", "function", "transform", "pass"])
        if kind == "pass" and not plain:
            return Piece(*[self.node("pass")["id"]] * 2)
        if kind != "function":
            value = {"n": f"${{{number(self.rng, here)}}}"} if self.chance(0.6) else template(self.rng, here)
            name = self.node("transform", config={"value": value})["id"]
            counted = isinstance(value, dict) and "n" in value
            return Piece(name, name, (name,) * counted, counted)
        loose = not plain and self.may_fail(here) and self.chance(0.15)
        leaves = not plain and not loose and self.may_leave(here) and self.chance(0.4)
        made = self.function(here, fails=0.3 if loose or leaves else 0.0)
        if loose and self.chance(0.2):
            made["config"]["params"] = {"v": "${input.missing.deep}"}
        if leaves:
            when = "error.type == 'Boom'" if self.may_fail(here) and self.chance(0.3) else None
            self.rng.choice(here.frames).leaving.append((made["id"], when))
        if self.alone(here) and not plain and self.chance(0.25):
            made["set"] = {self.rng.choice(["v0", "v1"]): "${output.n}"}
        return Piece(made["id"], made["id"], (made["id"],), True)

    def paths(self, here: Around, source: str, join: str, count: int) -> list[tuple[str, str | None]]:
        """Entry and exit of `count` paths; at most one is empty, an edge straight from `source` to `join`."""
        found: list[tuple[str, str | None]] = []
        for at in range(count):
            if at == count - 1 and self.chance(0.2):
                found.append((join, source))
            else:
                made = self.series(here)
                found.append((made.entry, made.exit))
        return found

    def parallel(self, here: Around) -> Piece:
        source = self.leaf(here, plain=True)
        count = self.rng.choice([2, 2, 3])
        need, calm = self.join(here, count)
        inner = here.inside(serial=not self.confluent, calm=here.calm or calm)
        inner = inner.knowing(*source.sure)
        join = self.leaf(here, plain=True) if need else self.meeting(here)
        if need:
            self.nodes[-1]["join"] = need
        for entry, exit in self.paths(inner, source.entry, join.entry, count):
            when = condition(self.rng, inner, source.counted) if self.chance(0.1) else None
            self.edge(source.entry, entry, when=when)
            if exit and exit != source.entry:
                self.edge(exit, join.entry)
        return Piece(source.entry, join.entry, (*source.sure, *join.sure), join.counted)

    def meeting(self, here: Around) -> Piece:
        """A node that paths meet in, where all of them have been resolved."""
        return Piece(*[self.node("pass")["id"]] * 2) if self.chance(0.5) else self.leaf(here, plain=True)

    def join(self, here: Around, count: int) -> tuple[Any, bool]:
        """A join of parallel paths (None: all), and whether its paths must be calm."""
        if self.races and self.chance(0.5):
            need = self.rng.choice(["any", {"any": True}, {"count": self.rng.randrange(1, count + 1)}])
            if not self.confluent and isinstance(need, dict) and self.chance(0.5):
                need["cancel_losers"] = True
            return need, self.confluent
        if here.serial and self.chance(0.2):
            return {"count": count}, False
        return self.rng.choice([None, "all"]), False

    def branch(self, here: Around) -> Piece:
        """A node that chooses; its paths meet again, or, at the end of the workflow, need not."""
        shape = self.rng.choice(["first", "first", "all", "chosen"])
        source = self.function(here) if shape == "chosen" or self.chance(0.4) else self.node("branch")
        counted = source["type"] == "function"
        known = here.knowing(source["id"]) if counted else here
        one = shape == "first"
        open_end = here.tail and self.chance(0.4)
        inner = known.inside(serial=(here.serial and one) or not self.confluent, tail=open_end)
        join = None if open_end else self.meeting(here)
        paths = self.branch_paths(inner, source["id"], join)
        meet = join.entry if join else None
        source["branch"] = self.choice(shape, known, [entry for entry, _ in paths], counted)
        if join and one:
            self.narrow(here, join.entry)
        self.further_edges(source["id"], shape, meet, [entry for entry, _ in paths])
        sure = (source["id"],) * counted
        after = join.sure if join else ()
        return Piece(source["id"], meet, (*sure, *after), bool(join and join.counted))

    def further_edges(self, source: str, shape: str, join: str | None, targets: list[str]) -> None:
        """Plain edges beside those of the branch block, and edges of the block that are listed again."""
        if join and shape != "first" and join not in targets and self.chance(0.3):
            self.edge(source, join)
        if targets[0] != join and shape != "chosen" and self.chance(0.2):
            self.edge(source, targets[0])

    def branch_paths(self, inner: Around, source: str, join: Piece | None) -> Sequence[tuple[str, str | None]]:
        if join is None:
            return [(made.entry, None) for made in (self.series(inner) for _ in range(self.rng.choice([2, 3])))]
        paths = self.paths(inner, source, join.entry, self.rng.choice([2, 3]))
        for _, exit in paths:
            if exit and exit != source:
                self.edge(exit, join.entry)
        return paths

    def choice(self, shape: str, known: Around, targets: list[str], counted: bool) -> dict[str, Any]:
        if shape == "chosen":
            return {"type": "agent_driven", "available_next_nodes": targets}
        default = [targets.pop()] if self.chance(0.85) else []
        groups = [targets] if shape == "all" and self.chance(0.3) else [[target] for target in targets]
        rules = [
            {"condition": condition_form(self.rng, condition(self.rng, known, counted)), "next_nodes": group}
            for group in groups
        ]
        more: dict[str, Any] = {"mode": shape} if shape == "all" or self.chance(0.2) else {}
        return {**more, "rules": rules, **({"default": default} if default else {})}

    def narrow(self, here: Around, join: str) -> None:
        """Where only one path can be taken, any join gives the same end; two taken edges are out of reach."""
        if self.chance(0.4):
            node = next(node for node in self.nodes if node["id"] == join)
            far = {"count": 2} if here.serial or self.races else {"count": 1}
            node["join"] = self.rng.choice(["any", {"count": 1}, far])

    def guarded(self, here: Around) -> Piece:
        """A step that may fail, with ways on for success, failure, or both."""
        step = guarded_step(self, here)["id"]
        join = self.meeting(here)
        shape = self.rng.choice(["paths", "paths", "straight", "split"] + ["loose"] * self.may_fail(here))
        always = shape == "loose" or self.chance(0.3)
        inner = replace(here.inside(), serial=(here.serial and not always) or not self.confluent)
        if shape == "straight":
            self.edge(step, join.entry)
            self.edge(step, join.entry, "failure")
        else:
            self.way(step, self.series(inner.knowing(step)), join.entry)
        if shape in ("paths", "split"):
            self.way(
                step, self.series(inner), join.entry, "failure", "error.type != 'Boom'" if shape == "split" else None
            )
        if shape == "split":
            self.way(step, self.leaf(inner, plain=True), join.entry, "failure", "error.type == 'Boom'")
        if always:
            self.way(step, self.leaf(replace(inner, serial=False), plain=True), join.entry, "always")
        return Piece(step, join.entry, join.sure, join.counted, (step,))

    def way(self, step: str, made: Piece, join: str, on: str = "success", when: str | None = None) -> None:
        self.edge(step, made.entry, on, when)
        if made.exit:
            self.edge(made.exit, join)
