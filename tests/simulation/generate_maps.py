"""Builds maps: where their items come from, what is done for each, what may go wrong, and what reads their output."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.simulation.generate_calls import LEVELS, call_body
from tests.simulation.generate_text import Around, number, reference, template

if TYPE_CHECKING:
    from tests.simulation.generate_pieces import Piece, Pieces

Json = Any
#: Items that come from the input of runs with a wide map: more than begin at once, and more than a page.
MANY, SIZES = "${input.many}", (110, 110, 270)
#: Share of maps that are wide ones.
WIDE = 0.03


def item_of(rng: random.Random) -> Json:
    """An item: some have an `n`, some have none."""
    return rng.choice([rng.randrange(9), {"n": rng.randrange(9)}, {"n": 1, "more": [0]}, {}, None, "text"])


def add_map(pieces: Pieces, here: Around) -> Piece:
    """A map and the node that reads its output, with ways on for a map that may fail."""
    source, items = _source(pieces, here)
    if source is not None:
        counted = pieces.nodes[-1]["type"] != "map"
        known = here.knowing(source) if counted else here.knowing(settled=(source,))
    else:
        known = here
    ways = _ways(pieces, here)
    made = pieces.node("map")
    fragile = _configure(pieces, known, made, items, risky=bool(ways))
    if pieces.alone(here) and pieces.chance(0.3):
        made["set"] = {pieces.rng.choice(["v0", "v1"]): "${size(output)}"}
    if source:
        pieces.edge(source, made["id"])
    way = pieces.rng.choice(ways) if fragile and ways else None
    if way == "leaves":
        when = "error.type == 'Boom'" if pieces.may_fail(here) and pieces.chance(0.3) else None
        pieces.rng.choice(here.frames).leaving.append((made["id"], when))
    if way == "handled":
        return _handled(pieces, known, source, made["id"])
    reader = _reader(pieces, known, made["id"])
    return _piece()(source or made["id"], reader, (reader,), True)


def _piece() -> type[Piece]:
    from tests.simulation.generate_pieces import Piece

    return Piece


def _ways(pieces: Pieces, here: Around) -> list[str]:
    """What may happen with a failure here."""
    handled = ["handled"] * (not here.calm)
    return handled + ["leaves"] * pieces.may_leave(here) + ["loose"] * 2 * pieces.may_fail(here)


def _source(pieces: Pieces, here: Around) -> tuple[str | None, Json]:
    """A node that gives the items, if there is one, and the template that reads them."""
    shape = pieces.rng.choice(["input", "list", "list", "output", "output", "map"])
    wide = not here.frames and pieces.chance(WIDE)
    if wide and pieces.level == LEVELS:  # saved workflows are not given so many
        return None, MANY
    if shape == "input":
        return None, "${input.items}"
    if shape == "list":
        many = pieces.rng.choice([0, 1, 2, 4])
        return None, [pieces.rng.choice([item_of(pieces.rng), f"${{{number(pieces.rng, here)}}}"]) for _ in range(many)]
    if shape == "output":
        name = pieces.function(here)["id"]
        pieces.nodes[-1]["metadata"] = {"sim": {"items": True}}
        return name, f"${{{reference(name)}.output.items}}"
    made = pieces.node("map")
    _configure(pieces, here, made, "${input.items}", risky=False)
    return made["id"], f"${{{reference(made['id'])}.output}}"


def _configure(pieces: Pieces, here: Around, made: dict[str, Json], items: Json, *, risky: bool) -> bool:
    """Fill in the map. True where it may fail; unless `risky`, it bears whatever happens to its items."""
    rng = pieces.rng
    body, fragile = _body(pieces, here, few=items != MANY)
    config = made["config"] = {"items": items, "body": body}
    if body["type"] == "workflow" and fragile:  # a child's errors are not all of one type
        config["tolerate_failures"] = "100%"
        return False
    if not fragile and rng.random() < 0.5:
        made["metadata"] = {"sim": _odds(pieces)}
        fragile = body["type"] in ("function", "http", "queue")
        if rng.random() < 0.5:
            body["retry"] = {"max_attempts": rng.choice([2, 3]), "backoff_ms": 1}
    if rng.random() < 0.6:
        config["max_concurrency"] = rng.choice([1, 2, 3, "${input.x + 1}"])
    if fragile and not (risky and rng.random() < 0.7):
        config["tolerate_failures"] = rng.choice(["100%", 400])
        return False
    if rng.random() < 0.6:
        config["tolerate_failures"] = rng.choice([0, 1, 2, "10%", "50%", "${input.x}"])
    if risky and rng.random() < 0.1:
        wrong = rng.choice(
            [("items", "${input.x}"), ("items", "${input.missing.deep}"), ("max_concurrency", "${input.x}")]
        )
        config[wrong[0]] = wrong[1]
        return True
    return fragile


def _odds(pieces: Pieces) -> dict[str, Json]:
    """How often items fail. Which one does so first must not matter where the end may not depend on the schedule."""
    error = pieces.rng.choice(["Boom", "Flaky"]) if pieces.confluent else None
    final = 0.0 if error == "Flaky" else pieces.rng.choice([0.0, 0.3])
    return {"fail": pieces.rng.choice([0.1, 0.4, 0.8]), "final": final, **({"error": error} if error else {})}


def _body(pieces: Pieces, here: Around, *, few: bool) -> tuple[dict[str, Json], bool]:
    """What is done for each item, and whether its templates have no value for some."""
    rng = pieces.rng
    if few and pieces.level and rng.random() < 0.2:
        frail = rng.random() < 0.4
        return call_body(pieces, frail=frail), frail
    kind = rng.choice(["function", "function", "function", "transform", "transform", "http", "queue", "wait"])
    fragile = kind != "wait" and rng.random() < 0.25
    own = {"item": "${item.n + 1}" if fragile else "${item}", "n": "${index}", "v": template(rng, here)}
    configs: dict[str, dict[str, Json]] = {
        "function": {"handler": "echo", "params": own},
        "transform": {"value": own},
        "http": {"url": "https://graft.test/a", "body": own},
        "queue": {"queue": "tasks-own", "payload": own},
        "wait": {"seconds": rng.choice([0, 5, "${index}"])},
    }
    return {"type": kind, "config": configs[kind]}, fragile


def _reader(pieces: Pieces, here: Around, name: str) -> str:
    """A node that reads the map's output, behind an edge that may do so too."""
    whole = {"of": f"${{{reference(name)}.output}}", "n": f"${{size({reference(name)}.output)}}"}
    if pieces.chance(0.5):
        reader = pieces.node("transform", config={"value": whole})
    else:
        reader = pieces.node("function", config={"handler": "echo", "params": whole})
    when = None
    if pieces.chance(0.3):
        when = pieces.rng.choice(["size(output) > 1", "output[0] != null", f"{reference(name)}.output[1].n < 3"])
    pieces.edge(name, reader["id"], when=when)
    return str(reader["id"])


def _handled(pieces: Pieces, here: Around, source: str | None, name: str) -> Piece:
    """Ways on from a map that may fail: one for success, one for failure."""
    join = pieces.meeting(here)
    inner = replace(here.inside(), serial=here.serial or not pieces.confluent)
    pieces.edge(_reader(pieces, inner, name), join.entry)
    pieces.way(name, pieces.leaf(inner, plain=True), join.entry, "failure")
    return _piece()(source or name, join.entry, join.sure, join.counted, (name,))
