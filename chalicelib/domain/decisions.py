"""What people have decided of a human node: votes, and the outcome that they come to (SPEC 2).

Votes lie in the run's `box` under `vote|<token>|<number>|<person>` until the node settles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.domain.ids import Token
from chalicelib.domain.ir import Node
from chalicelib.domain.outcome import Outcome

Json = Any
#: Votes that a rejection's error lists, the newest, and characters of a comment in it: an error is part of a commit.
MOST_IN_ERROR, COMMENT_IN_ERROR = 20, 500


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's decision. `at` is RFC 3339."""

    by: str
    approved: bool
    comment: str | None
    data: Json
    at: str


def vote_field(token: str, number: int) -> str:
    """Where the vote of this number (from 1) on a waiting token is kept."""
    return f"vote|{token}|{number:04d}"


def vote_text(vote: Vote) -> str:
    """The vote as it is kept."""
    return compact(asdict(vote))


def votes_of(box: Mapping[str, str], token: str) -> list[Vote]:
    """The votes on a token, in their order."""
    fields = sorted(name for name in box if name.startswith(f"vote|{token}|"))
    return [Vote(**json.loads(box[name])) for name in fields]


def verdict(data: Mapping[str, Json], votes: list[Vote]) -> bool | None:
    """True once enough people approved, False once that can no longer be, None before.

    Where anybody may answer, one rejection is enough: nobody could say when the quorum cannot be reached.
    """
    quorum, approvers = data.get("quorum", 1), data.get("approvers")
    if sum(vote.approved for vote in votes) >= quorum:
        return True
    rejected = sum(not vote.approved for vote in votes)
    spare = len(approvers) - quorum if approvers else 0
    return False if rejected > spare else None


def decided(node: Node, token: Token, approved: bool, votes: list[Vote]) -> Outcome:
    """The node's outcome. A rejection fails it, unless its `on_reject` is "continue"."""
    last = next((vote for vote in reversed(votes) if vote.approved == approved), None)
    by, comment, data = (last.by, last.comment, last.data) if last else (None, None, None)
    if not approved and node.config.value.get("on_reject") != "continue":
        why = f": {comment[:COMMENT_IN_ERROR]}" if comment else "."
        text = f"{by} rejected it{why}" if by else "Nobody decided in time, which counts as a rejection."
        kept = [_in_error(vote) for vote in votes[-MOST_IN_ERROR:]]
        return Outcome(error={"type": "Rejected", "message": text, "retryable": False, "decisions": kept})
    listed = [asdict(vote) for vote in votes]
    return Outcome(output={"approved": approved, "by": by, "comment": comment, "data": data, "decisions": listed})


def _in_error(vote: Vote) -> dict[str, Json]:
    comment = vote.comment and vote.comment[:COMMENT_IN_ERROR]
    return {"by": vote.by, "approved": vote.approved, "comment": comment, "at": vote.at}


def timed_out(node: Node, token: Token, votes: list[Vote]) -> Outcome | None:
    """What a human node comes to when its time is up; None where that is a Timeout like any other."""
    policy = node.config.value.get("on_timeout") or "fail"
    return None if policy == "fail" else decided(node, token, policy == "approve", votes)
