"""Builds loops: a body, the node that decides, and what follows when it breaks, times out or fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.generate_text import Around, Frame, condition, condition_form, reference

if TYPE_CHECKING:
    from tests.simulation.generate_pieces import Piece, Pieces


def add_loop(pieces: Pieces, here: Around) -> Piece:
    """A loop and the node after it."""
    frame = Frame()
    inner = here.inside(frames=(*here.frames, frame))
    counter, body = _counter(pieces, inner), None
    if counter is None and pieces.chance(0.85):
        body = pieces.series(inner)
    elif counter is not None:
        body = _after(pieces, counter, inner)
    known = inner.knowing(*body.sure) if body else inner
    last = _decider(pieces, known, frame)
    if body:
        pieces.edge(str(body.exit), last["id"])
    after = pieces.meeting(here)
    handled = any(name == last["id"] for name, _ in frame.leaving)
    _finish_block(pieces, known, last, body.entry if body else last["id"], counter, handled)
    _ways_out(pieces, here, last, after.entry)
    for name, when in frame.leaving:
        handler = pieces.leaf(here.inside(calm=True, serial=False), plain=True)
        pieces.edge(name, handler.entry, "failure", when)
        pieces.edge(handler.entry, after.entry)
    return type(after)(body.entry if body else last["id"], after.entry, after.sure, after.counted)


def _counter(pieces: Pieces, inner: Around) -> str | None:
    """A node that counts in a run variable, where nothing else could change it meanwhile."""
    if not pieces.alone(inner) or not pieces.chance(0.3):
        return None
    name = f"c{len(pieces.variables)}"
    pieces.variables[name] = 0
    return str(pieces.node("pass", set={name: f"${{vars.{name} + 1}}"})["id"])


def _after(pieces: Pieces, counter: str, inner: Around) -> Piece:
    made = pieces.series(inner)
    pieces.edge(counter, made.entry)
    return type(made)(counter, made.exit, made.sure, made.counted)


def _decider(pieces: Pieces, known: Around, frame: Frame) -> dict[str, Any]:
    kind = pieces.rng.choice(["function", "function", "pass", "loop"])
    if kind != "function":
        return pieces.node(kind)
    guarded = pieces.may_leave(known) and pieces.chance(0.4)
    made = pieces.function(known, fails=0.2 if guarded else 0.0)
    if guarded:
        frame.leaving.append((made["id"], None))
    return made


def _finish_block(
    pieces: Pieces, known: Around, last: dict[str, Any], start: str, counter: str | None, handled: bool
) -> None:
    """Adds the loop block; a condition that could run into the limit only where that is allowed for."""
    most = pieces.rng.choice([1, 2, 2, 3, 4])
    block: dict[str, Any] = {"loop_back_to": start, "max_iterations": most}
    timeout = pieces.chance(0.4)
    source = condition(pieces.rng, known, last["type"] == "function")
    if counter and pieces.chance(0.7):
        name = next(node["set"] for node in pieces.nodes if node["id"] == counter)
        source = f"vars.{next(iter(name))} < {pieces.rng.randrange(1, 5)}"
    elif pieces.chance(0.3):
        source = f"iteration < {pieces.rng.randrange(1, 5)}"
    elif known.sure and pieces.chance(0.3):
        source = f"{reference(known.sure[-1])}.output.n > {pieces.rng.randrange(3)}"
    if not (timeout or ((handled or pieces.may_fail(known)) and pieces.chance(0.6))):
        source = f"({source}) && iteration < {most}"
    last["loop"] = {"condition": condition_form(pieces.rng, source), **block}
    if timeout:
        last["loop"]["timeout_path"] = []


def _ways_out(pieces: Pieces, here: Around, last: dict[str, Any], after: str) -> None:
    name, loop = last["id"], last["loop"]
    if "timeout_path" in loop:
        late = pieces.leaf(here.inside(), plain=True)
        loop["timeout_path"] = [late.entry]
        pieces.edge(late.entry, after)
    shape = pieces.rng.choice(["break", "break", "long", "edge", "rules"])
    if shape == "rules":
        other = pieces.leaf(here.inside(), plain=True)
        rule = {"condition": condition(pieces.rng, here), "next_nodes": [other.entry]}
        last["branch"] = {"rules": [rule], "default": [after]}
        pieces.edge(other.entry, after)
    elif shape == "edge":
        pieces.edge(name, after)
    elif shape == "break":
        loop["break_path"] = [after]
        if pieces.chance(0.3):
            unused = pieces.leaf(here.inside(), plain=True)
            pieces.edge(name, unused.entry)
            pieces.edge(unused.entry, after)
    else:
        first = pieces.leaf(here.inside(), plain=True)
        loop["break_path"] = [first.entry]
        pieces.edge(first.entry, after)
