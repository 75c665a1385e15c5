"""Makes random conditions and templates in the part of CEL that the reference evaluates."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass
class Frame:
    """A loop that is being built: nodes whose failure edge leaves it, with the edge's condition."""

    leaving: list[tuple[str, str | None]] = field(default_factory=list)


@dataclass(frozen=True)
class Around:
    """What holds where a node is being added."""

    #: Nodes that have certainly completed here, with an integer `n` in their output.
    sure: tuple[str, ...] = ()
    #: Nodes that have certainly settled here, one way or another.
    settled: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    #: Enclosing loops, from the outside in.
    frames: tuple[Frame, ...] = ()
    #: Nothing else is outstanding while this node runs.
    serial: bool = True
    #: Nothing may fail or change variables here: the branch may lose a race.
    calm: bool = False
    #: Nothing has to follow: paths may end here.
    tail: bool = False
    depth: int = 0

    def inside(self, **changes: Any) -> Around:
        """One level further in, where something always follows."""
        return replace(self, depth=self.depth + 1, **{"tail": False, **changes})

    def knowing(self, *names: str, settled: tuple[str, ...] = ()) -> Around:
        """With more nodes that have certainly completed, or certainly settled."""
        fresh = tuple(name for name in names if name not in self.sure)
        return replace(self, sure=(*self.sure, *fresh), settled=(*self.settled, *settled))


def reference(name: str) -> str:
    """How CEL names a node."""
    return f'ctx["{name}"]' if "-" in name else f"ctx.{name}"


def number(rng: random.Random, here: Around, counted: bool = False) -> str:
    """An expression with an int value; `counted` if the node just completed has `output.n`."""
    choices = ["input.x", "size(input.items)", str(rng.randrange(4))]
    choices += [f"{reference(name)}.output.n" for name in here.sure[-4:]]
    choices += [f"vars.{name}" for name in here.variables]
    choices += ["iteration"] * 2 * bool(here.frames) + ["output.n"] * 3 * counted
    found = rng.choice(choices)
    return f"{found} + {rng.randrange(3)}" if rng.random() < 0.2 else found


def condition(rng: random.Random, here: Around, counted: bool = False) -> str:
    """A condition; one in twenty reads what is missing, and so never matches."""
    if rng.random() < 0.05:
        name = rng.choice(here.sure) if here.sure else None
        return f"{reference(name)}.output.missing > 0" if name else "input.missing.deep == 1"
    if here.settled and rng.random() < 0.3:
        return f"{reference(rng.choice(here.settled))}.status {rng.choice(['==', '!='])} 'FAILED'"
    simple = f"{number(rng, here, counted)} {rng.choice(['<', '<=', '>', '>=', '==', '!='])} {rng.randrange(5)}"
    shape = rng.randrange(8)
    if shape > 3:
        return simple
    other = f"{number(rng, here, counted)} > {rng.randrange(4)}"
    return [f"{simple} && {other}", f"{simple} || {other}", f"!({simple})", f"({simple}) ? {other} : true"][shape]


def condition_form(rng: random.Random, source: str) -> Any:
    """The condition as plain text or as an object."""
    return source if rng.random() < 0.5 else {"type": "cel", "expression": source}


def template(rng: random.Random, here: Around) -> Any:
    """A small JSON value with templates that always have a value."""
    text = f"x=${{{number(rng, here)}}} of $${{x}}"
    pick = rng.randrange(5)
    if pick == 0:
        return text
    if pick == 1:
        return {"list": [f"${{{number(rng, here)}}}", {"deep": "${input.items}"}]}
    if pick == 2 and here.sure:
        return f"${{{reference(rng.choice(here.sure))}.output}}"
    return f"${{{number(rng, here)}}}"
