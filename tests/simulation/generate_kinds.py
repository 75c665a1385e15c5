"""Builds single nodes of the types that plain worlds do without: they wait, or are worked elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.generate_agents import add_agent
from tests.simulation.generate_calls import add_call
from tests.simulation.generate_people import add_crowd, add_event, add_human
from tests.simulation.generate_text import Around, template

if TYPE_CHECKING:
    from tests.simulation.generate_pieces import Piece, Pieces


def add_kind(pieces: Pieces, here: Around) -> Piece:
    """One node of any of these types, alone between what comes before and after it, or with ways on of its own."""
    from tests.simulation.generate_pieces import Piece

    added = pieces.rng.choice(KINDS)(pieces, here)
    if isinstance(added, Piece):
        return added
    made, counted = added
    return Piece(made["id"], made["id"], (made["id"],) * counted, counted)


def _wait(pieces: Pieces, here: Around) -> tuple[dict[str, Any], bool]:
    """A timer: an SQS delay, or a schedule where it is longer than that reaches."""
    return pieces.node("wait", config={"seconds": pieces.rng.choice([0, 0.5, 5, 2000, "${input.x + 900}"])}), False


def _http(pieces: Pieces, here: Around) -> tuple[dict[str, Any], bool]:
    made = pieces.node("http", config={"url": "https://graft.test/a", "body": template(pieces.rng, here)})
    return made, True


def _queue(pieces: Pieces, here: Around) -> tuple[dict[str, Any], bool]:
    made = pieces.node("queue", config={"queue": "tasks-own", "payload": template(pieces.rng, here)})
    return made, True


#: Each adds its node, and says whether that certainly completes with an integer `n` in its output; or adds a piece.
KINDS: tuple[Callable[[Pieces, Around], tuple[dict[str, Any], bool] | Piece], ...] = (
    _wait,
    _http,
    _queue,
    add_human,
    add_event,
    add_crowd,
    add_call,
    add_call,
    add_agent,
)
