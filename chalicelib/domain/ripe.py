"""Which waiting tokens may have what they wait for: looked for by the sweep, where whoever left it there died."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chalicelib.domain.decisions import verdict, votes_of
from chalicelib.domain.ids import parse_token
from chalicelib.domain.mail import letter_for
from chalicelib.domain.map_items import parse_progress, progress_field
from chalicelib.domain.records import Began, parse_began

State = Mapping[str, Mapping[str, str]]


def ripe_tokens(state: State) -> Iterator[str]:
    """Waiting tokens that a look would settle. Reads the hashes `tok` and `box`."""
    for text, record in state["tok"].items():
        if "|h|" in record:
            began = parse_began(record)
            if began.kind == "h" and _ripe(state, text, began):
                yield text


def _ripe(state: State, text: str, began: Began) -> bool:
    if "quorum" in began.data:
        return verdict(began.data, votes_of(state["box"], text)) is not None
    if "pages" in began.data:
        progress = state["box"].get(progress_field(parse_token(text)))
        return progress is not None and parse_progress(progress).over
    if "plan" in began.data:  # its child has its own history: a look there tells
        return True
    name = began.data.get("event")
    return name is not None and letter_for(state, text, name) is not None
