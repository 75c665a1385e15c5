"""Builds nodes that wait for people or for events, with ways on for what may become of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.simulation.generate_text import Around, template
from tests.simulation.opinions import PEOPLE

if TYPE_CHECKING:
    from tests.simulation.generate_pieces import Piece, Pieces

#: Names of events that nodes of racing documents share.
SHARED = ("shared", "common-${input.x}")


def add_human(pieces: Pieces, here: Around) -> Piece:
    """A node that people decide on; what they decide leads on by different ways, or only shows in its output."""
    rng, shape = pieces.rng, _shape(pieces, here)
    approvers = rng.sample(PEOPLE, rng.randrange(1, 4)) if rng.random() < 0.7 else None
    quorum = rng.randrange(1, len(approvers or "two") + 1)
    config: dict[str, Any] = {"message": template(rng, here), **({"approvers": approvers} if approvers else {})}
    config |= {"quorum": quorum} if quorum > 1 or rng.random() < 0.3 else {}
    config |= {"on_timeout": rng.choice(["approve", "reject"] + ["fail"] * 2 * (shape != "sure"))}
    if shape == "sure" or rng.random() < 0.3:
        config["on_reject"] = "continue"
    people = {"seed": rng.getrandbits(32), "yes": rng.choice([0.3, 0.7, 1.0]), "mixed": not pieces.confluent}
    made = pieces.node("hitl" if rng.random() < 0.1 else "human", config=config, metadata={"sim": {"people": people}})
    _may_try_again(pieces, made, shape)
    if pieces.alone(here) and rng.random() < 0.2:
        made["set"] = {rng.choice(["v0", "v1"]): "${output.approved ? 3 : 1}"}
    if shape == "sure" and rng.random() < 0.5:
        return _by_verdict(pieces, here, made)
    return _piece(pieces, here, made, shape, counted=False)


def add_event(pieces: Pieces, here: Around, shared: str = "") -> Piece:
    """A node that waits for an event: of a name of its own, or in racing documents of one that others wait for, too."""
    rng, shape = pieces.rng, _shape(pieces, here)
    if not pieces.confluent and rng.random() < 0.7:
        shared = shared or rng.choice(SHARED)
    name = shared or f"e{len(pieces.nodes)}" + rng.choice(["", "", "-${input.x}"])
    # Iterations may overlap where paths race: then nobody can say which is the oldest.
    mail = {"most": None, "same": pieces.confluent and pieces.races and bool(here.frames), "loose": shape != "sure"}
    made = pieces.node("event", config={"name": name}, metadata={"sim": {"mail": mail}})
    _may_try_again(pieces, made, shape)
    return _piece(pieces, here, made, shape, counted=shape == "sure")


def add_crowd(pieces: Pieces, here: Around) -> Piece:
    """Several that wait at the same time, behind one node and before a join of any kind."""
    from tests.simulation.generate_pieces import Piece

    source, count = pieces.leaf(here, plain=True), pieces.rng.choice([2, 2, 3])
    need, calm = pieces.join(here, count)
    if not pieces.confluent and pieces.chance(0.4):
        need = {"any": True, "cancel_losers": True}
    join = pieces.leaf(here, plain=True) if need else pieces.meeting(here)
    if need:
        pieces.nodes[-1]["join"] = need
    inner = here.inside(serial=not pieces.confluent, calm=here.calm or calm).knowing(*source.sure)
    shared = "" if pieces.confluent else pieces.rng.choice(SHARED)
    for _ in range(count):
        waits = add_event(pieces, inner, shared) if pieces.chance(0.6) else add_human(pieces, inner)
        pieces.edge(source.entry, waits.entry)
        pieces.edge(str(waits.exit), join.entry)
    return Piece(source.entry, join.entry, (*source.sure, *join.sure), join.counted)


def _shape(pieces: Pieces, here: Around) -> str:
    """What may become of the node: it surely completes, or it may fail, which is handled, or not, or leaves a loop."""
    shapes = ["sure", "sure"] + ["guarded"] * (not here.calm)
    return pieces.rng.choice(shapes + ["loose"] * pieces.may_fail(here) + ["leaves"] * pieces.may_leave(here))


def _may_try_again(pieces: Pieces, made: dict[str, Any], shape: str) -> None:
    if shape != "sure" and pieces.chance(0.5):
        made["retry"] = {"max_attempts": 2, "backoff_ms": 1}


def _piece(pieces: Pieces, here: Around, made: dict[str, Any], shape: str, *, counted: bool) -> Piece:
    from tests.simulation.generate_pieces import Piece

    name, sure = made["id"], (made["id"],) * counted
    if shape == "leaves":
        pieces.rng.choice(here.frames).leaving.append((name, None))
    if shape != "guarded":
        return Piece(name, name, sure, counted)
    join = pieces.meeting(here)
    inner = replace(here.inside(), serial=here.serial or not pieces.confluent)
    pieces.way(name, _step(pieces, inner), join.entry)
    pieces.way(name, _step(pieces, inner), join.entry, "failure")
    return Piece(name, join.entry, join.sure, join.counted, (name,))


def _by_verdict(pieces: Pieces, here: Around, made: dict[str, Any]) -> Piece:
    """One way for an approval, another one for a rejection."""
    from tests.simulation.generate_pieces import Piece

    join = pieces.meeting(here)
    inner = replace(here.inside(), serial=here.serial or not pieces.confluent)
    yes, no = _step(pieces, inner), _step(pieces, inner)
    if pieces.chance(0.5):
        rule = {"condition": "output.approved", "next_nodes": [yes.entry]}
        made["branch"] = {"rules": [rule], "default": [no.entry]}
    else:
        pieces.edge(made["id"], yes.entry, when="output.approved")
        pieces.edge(made["id"], no.entry, when="!(output.approved)")
    for way in (yes, no):
        if way.exit:
            pieces.edge(way.exit, join.entry)
    return Piece(made["id"], join.entry, join.sure, join.counted)


def _step(pieces: Pieces, inner: Around) -> Piece:
    """What follows on one way: a piece of any kind, a node where there is no room left."""
    return pieces.piece(inner) if pieces.left > 2 and pieces.chance(0.5) else pieces.leaf(inner, plain=True)
