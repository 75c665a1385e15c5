"""Routes of the dead letters: list them, and put them back into their queues."""

from __future__ import annotations

from typing import Any

from chalice.app import Blueprint

from chalicelib.api.call import Call, refused
from chalicelib.api.endpoint import operation
from chalicelib.api.problems import Answer
from chalicelib.domain.errors import InvalidInput, Problem
from chalicelib.engine import letter_records

Json = Any
blueprint = Blueprint(__name__)
#: Letters named in one call.
MOST_IDS = 100


@operation(blueprint)
def list_dead_letters(call: Call) -> Answer:
    """A page of letters, newest first."""
    after = call.query.get("cursor") or None
    if after is not None and not letter_records.LETTER_ID.fullmatch(after):
        raise refused("cursor", "Send a next_cursor as it was given.")
    limit = call.whole("limit", 50, 1, 200)
    items, following = letter_records.listed(call.services, call.tenant, limit, after)
    return Answer({"items": items, "next_cursor": following})


@operation(blueprint)
def redrive_dead_letters(call: Call) -> Answer:
    """Put letters back into their queues."""
    ids = _ids(call.members("ids").get("ids"))
    out = letter_records.redrive(call.services, call.tenant, ids)
    return Answer({"redriven": out.done, "kept": out.kept, "more": out.more})


def _ids(given: Json) -> list[str] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_IDS or not all(isinstance(i, str) for i in given):
        text = f"Send 1 to {MOST_IDS} ids of dead letters, or leave ids out for all."
        raise InvalidInput("ids is no such list.", (Problem("bad_ids", "/ids", text),))
    return given
