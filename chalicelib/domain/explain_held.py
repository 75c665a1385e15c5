"""Says what a node waits for that waits for people, an event, its items, a child run or the end of a pause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from chalicelib.domain.breakpoints import stop_field
from chalicelib.domain.decisions import verdict, votes_of
from chalicelib.domain.mail import buffered
from chalicelib.domain.records import Began

Json = Any
#: Names that one entry lists, and characters of a message that it shows.
MOST, SHOWN = 50, 500
#: How alike two names are, from 0 to 1, where one may be a slip for the other; and names that are compared.
ALIKE, COMPARED = 0.7, 200


def held_wait(box: Mapping[str, str], token: str, began: Began, kind: str) -> dict[str, Json]:
    """The entry's members for a waiting token of a node of type `kind`."""
    if "quorum" in began.data:
        return _decision(box, token, began.data)
    if "event" in began.data:
        return _event(box, began.data["event"])
    if kind == "map":
        return {"waits_for": "items", "moved_by": "Its items, as they are settled."}
    if kind == "workflow":
        return {"waits_for": "child", "moved_by": "The end of its child run; explain that."}
    return {"waits_for": "coordinator", "moved_by": "The signal by which it is skipped."}


def paused_wait(box: Mapping[str, str], token: str, node: str) -> dict[str, Json]:
    """The entry's members for a token that a pause holds back."""
    if stop_field(token) not in box:
        return {"waits_for": "resume", "moved_by": "Resuming the run: POST /runs/{id}/resume."}
    text = f"The run is paused before node {node} at its breakpoint: POST /runs/{{id}}/resume moves it."
    return {"waits_for": "breakpoint", "moved_by": text}


def held_problems(box: Mapping[str, str], began: Began) -> list[tuple[str, str]]:
    """(code, message) of what looks like a slip: an event that waits under almost the right name."""
    name = began.data.get("event")
    if name is None or name in (others := buffered(box)):
        return []
    alike = get_close_matches(name, list(others)[:COMPARED], n=1, cutoff=ALIKE)
    if not alike:
        return []
    text = f"It waits for the event {name!r}, and nobody takes {alike[0]!r}, which was sent: is one of them a slip?"
    return [("other_event", text)]


def _decision(box: Mapping[str, str], token: str, data: Mapping[str, Json]) -> dict[str, Json]:
    votes = votes_of(box, token)
    approvers: list[str] | None = data.get("approvers")
    count = Counter(vote.approved for vote in votes)
    missing = max(0, data["quorum"] - count[True])
    decided = verdict(data, votes) is not None
    entry: dict[str, Json] = {
        "waits_for": "decision",
        "message": data["message"][:SHOWN],
        "approvers": None if approvers is None else approvers[:MOST],
        "quorum": data["quorum"],
        "approved": count[True],
        "rejected": count[False],
        "missing": missing,
        "decisions": [{"by": vote.by, "approved": vote.approved, "at": vote.at} for vote in votes[-MOST:]],
    }
    return {**entry, "moved_by": _movers(approvers, {vote.by for vote in votes}, missing, decided)}


def _movers(approvers: list[str] | None, voted: set[str], missing: int, decided: bool) -> str:
    if decided:
        return "It is decided: the coordinator's next step; the sweep sends it again."
    who = "anybody with the scope approvals"
    if approvers is not None:
        left = [name for name in approvers if name not in voted]
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        who = f"{', '.join(left[:5])}{more}"
    return f"{missing} more approval{'s' * (missing != 1)}, by {who}: POST /runs/{{id}}/nodes/{{node}}/decision."


def _event(box: Mapping[str, str], name: str) -> dict[str, Json]:
    others = dict(list(buffered(box).items())[:MOST])
    moved_by = f"The event {name}: POST /runs/{{id}}/signals/{{name}}."
    return {"waits_for": "event", "event": name, "buffered": others, "moved_by": moved_by}
