"""Reads token records of a run's hashes: what each attempt of a node was, and how the node stands now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.domain.ids import ARM, Token, parse_token
from chalicelib.domain.node_kinds import BREAKPOINT
from chalicelib.domain.records import parse_began
from chalicelib.domain.state import KIND_STATUS
from chalicelib.engine.ports import RunState

#: Internal tokens that stand for a node: about to wait, and waiting for its next attempt.
_STANDING = (ARM, "$retry:")
#: How a settled attempt shows: one that is retried has failed.
_SETTLED = {"RETRIED": "FAILED"}


@dataclass(frozen=True, slots=True)
class Began:
    """A token's creation: by which commit, and when (milliseconds)."""

    no: int
    commit: str
    at: int
    kind: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A token's end: when (milliseconds), how, and the error's JSON text or ""."""

    no: int
    at: int
    status: str
    error: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a node stands: its newest execution, whether that is settled or not."""

    status: str
    token: Token
    started_at: int | None
    finished_at: int | None


def began(state: RunState, token: str) -> Began | None:
    """When and by what the token began; None for one that never did (a skip)."""
    record = state["dis"].get(token)
    if record is None:
        return None
    no, commit, at, kind = record.split("|", 4)[:4]
    return Began(int(no), commit, int(at), kind)


def settled(state: RunState, token: str) -> Settled | None:
    """How the token ended; None while it is outstanding."""
    record = state["done"].get(token)
    if record is None:
        return None
    no, _, at, status, error = record.split("|", 4)
    return Settled(int(no), int(at), status, error)


def attempts(state: RunState, node: str) -> Iterator[Token]:
    """Every attempt of the node that began, in no order."""
    prefix = f"{node}@"
    for text in state["dis"]:
        if text.startswith(prefix):
            token = parse_token(text)
            if token.attempt > 0:
                yield token


def attempt_status(state: RunState, token: str) -> str:
    """The node status that an attempt shows."""
    end = settled(state, token)
    if end is not None:
        return _SETTLED.get(end.status, end.status)
    start = began(state, token)
    return KIND_STATUS.get(start.kind, "RUNNING") if start else "PENDING"


def standings(state: RunState) -> dict[str, Standing]:
    """How each node stands that has begun, waits to begin or was skipped."""
    newest: dict[str, tuple[tuple[object, ...], str]] = {}
    for text in state["st"].values():
        node = _node_of(text)
        if node is None:
            continue
        token = parse_token(text)
        if token.index is not None:
            continue  # the map itself stands for its node
        counts = tuple(count for _, count in token.scope)
        rank = (token.epoch, counts, token.attempt, not text.startswith("$"))
        if node not in newest or rank > newest[node][0]:
            newest[node] = (rank, text)
    return {node: _standing(state, node, text) for node, (_, text) in newest.items()}


def _node_of(token: str) -> str | None:
    """The node that a token stands for; None for the coordinator's own."""
    if not token.startswith("$"):
        return token.split("@", 1)[0]
    for prefix in _STANDING:
        if token.startswith(prefix):
            node = token.removeprefix(prefix).split("@", 1)[0]
            return None if node.startswith("$") else node
    return None


def _standing(state: RunState, node: str, text: str) -> Standing:
    token = parse_token(text)
    end = settled(state, text)
    # A retry's timer names the attempt that it leads to; the last one made is the one before.
    attempt = token.attempt - 1 if text.startswith("$retry:") else max(token.attempt, 1)
    real = Token(node, token.scope, token.index, token.epoch, attempt)
    first = began(state, Token(node, token.scope, token.index, token.epoch, 1).text) or began(state, text)
    started_at = first.at if first and token.attempt > 0 else None
    if end is not None and end.status == "RETRIED":
        return Standing("RETRYING", real, started_at, None)
    # A node that could not begin to wait has failed with the token that was to let it.
    if end is not None and (end.status in ("CANCELLED", "FAILED") or not text.startswith("$")):
        shown = real if token.attempt else token
        return Standing(end.status, shown, started_at, end.at)
    if token.attempt == 0:
        return Standing("PENDING", token, None, None)
    if text.startswith(ARM) and BREAKPOINT in parse_began(state["tok"][text]).data:
        before = Token(node, token.scope, token.index, token.epoch, token.attempt - 1)
        return Standing("PENDING", before, None, None)
    kind = "i" if text.startswith(ARM) else _kind(state, text)
    return Standing(KIND_STATUS.get(kind, "RUNNING"), real, started_at, None)


def _kind(state: RunState, text: str) -> str:
    start = began(state, text)
    return start.kind if start else "i"
