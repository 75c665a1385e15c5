"""Lists what waits for people in a tenant's runs. The list's entries are hints: the runs say what still waits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.decisions import votes_of
from chalicelib.domain.errors import Conflict, Forbidden, NotFound
from chalicelib.domain.ids import Token, job_id, parse_token
from chalicelib.domain.journal import timestamp
from chalicelib.domain.node_kinds import node_at
from chalicelib.domain.records import Began, parse_began
from chalicelib.domain.state import ENDED
from chalicelib.engine.approvals import asked, may_decide, vote_view
from chalicelib.engine.directory_keys import TIME_DIGITS, approval_position, approvals
from chalicelib.engine.ports import RunState
from chalicelib.engine.run_reader import read_state
from chalicelib.engine.services import Services
from chalicelib.engine.views import run_links

Json = Any
#: Entries looked at for one page; past it the page ends with a cursor, though more may match further on.
MAX_SCAN = 400
_PAGE = 100
#: What the list reads of a run.
HASHES = ("meta", "tok", "done", "box")
#: A cursor: the sort key of an entry.
POSITION = re.compile(rf"[0-9]{{{TIME_DIGITS}}}#[A-Za-z0-9][A-Za-z0-9_.-]{{0,63}}#[!-~]{{1,2000}}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a page holds. `by`: only what this person may still decide. `after` is a cursor of an earlier page."""

    tenant: str
    #: Only this run's.
    run_id: str | None = None
    by: str | None = None
    limit: int = 50
    after: str | None = None


@dataclass(slots=True)
class _Reader:
    """Reads each run once for a page; None for one that is not the tenant's."""

    services: Services
    tenant: str
    states: dict[str, RunState | None] = field(default_factory=dict)

    def state(self, run_id: str) -> RunState | None:
        if run_id not in self.states:
            try:
                self.states[run_id] = read_state(self.services, self.tenant, run_id, HASHES)
            except NotFound:
                self.states[run_id] = None
        return self.states[run_id]


def list_approvals(services: Services, wanted: Wanted) -> tuple[list[dict[str, Json]], str | None]:
    """(one page, the oldest first; the cursor of the next, None at the end). Entries of what no longer waits are
    removed on the way. Raises Unavailable."""
    reader = _Reader(services, wanted.tenant)
    entries = _entries(services, wanted) if wanted.run_id is None else _of_run(reader, wanted.run_id, wanted.after)
    items: list[dict[str, Json]] = []
    position = wanted.after
    for scanned, (sort, run_id, text) in enumerate(entries):
        if len(items) == wanted.limit or scanned == MAX_SCAN:
            return items, position
        position = sort
        state = reader.state(run_id)
        if _is_over(state, text):
            services.directory.delete((approvals(wanted.tenant), sort))
        elif state is not None and (item := _item(services, state, run_id, text, wanted.by)) is not None:
            items.append(item)
    return items, None


def _entries(services: Services, wanted: Wanted) -> Iterator[tuple[str, str, str]]:
    """(sort key, run, token) of the tenant's entries after the cursor."""
    start = wanted.after
    while True:
        page = services.directory.query(approvals(wanted.tenant), start=start, limit=_PAGE)
        for sort, record in page:
            yield sort, record["run_id"], record["token"]
        if len(page) < _PAGE:
            return
        start = page[-1][0]


def _of_run(reader: _Reader, run_id: str, after: str | None) -> Iterator[tuple[str, str, str]]:
    """The same of one run, by what it says itself."""
    state = reader.state(run_id)
    found = [] if state is None else [(approval_position(b.at_ms, run_id, text), text) for text, b in asked(state)]
    yield from ((sort, run_id, text) for sort, text in sorted(found) if after is None or sort > after)


def _is_over(state: RunState | None, text: str) -> bool:
    """Whether this entry will never be true again. A token that the run does not know may be one that it will know
    again once it is rebuilt."""
    return state is None or text in state["done"] or state["meta"]["status"] in ENDED


def _item(services: Services, state: RunState, run_id: str, text: str, by: str | None) -> dict[str, Json] | None:
    """The entry as the API shows it; None where it does not wait, or `by` may not decide it."""
    record = state["tok"].get(text)
    began = None if record is None else parse_began(record)
    if began is None or "quorum" not in began.data:
        return None
    token, votes = parse_token(text), votes_of(state["box"], text)
    if by is not None:
        try:
            may_decide(by, token.node, began, votes)
        except (Conflict, Forbidden):
            return None
    deadline = waits_until(services, token, began)
    index = {} if token.index is None else {"index": token.index}
    return {
        "run_id": run_id,
        "workflow": _workflow(state["meta"]),
        "node_id": token.node,
        "job_id": job_id(began.job(run_id, text), services.secret),
        "iteration": token.iteration,
        "loops": token.loops,
        **index,
        "message": began.data["message"],
        "form": began.data.get("form"),
        "approvers": began.data.get("approvers"),
        "quorum": began.data["quorum"],
        "decisions": [vote_view(vote) for vote in votes],
        "since": timestamp(began.at_ms),
        "expires_at": None if deadline is None else timestamp(deadline),
        "links": _links(services, run_id, token.node),
    }


def waits_until(services: Services, token: Token, began: Began) -> int | None:
    """When the wait times out, in milliseconds; None where it never does."""
    timeout = node_at(services.plans.load(began.graph), token).timeout_ms
    return None if timeout is None else began.at_ms + timeout


def _workflow(meta: Mapping[str, str]) -> dict[str, Json]:
    version = meta.get("version")
    return {"name": meta.get("workflow") or None, "version": int(version) if version else None}


def _links(services: Services, run_id: str, node_id: str) -> dict[str, str]:
    run = run_links(services.public_url, run_id)["self"]
    return {"run": run, "node": f"{run}/nodes/{node_id}", "decision": f"{run}/nodes/{node_id}/decision"}
