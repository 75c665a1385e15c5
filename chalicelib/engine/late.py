"""Records signals that come too late as ignored: once each, a bounded number per run (SPEC 5, HAZARDS 17)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from chalicelib.domain.commit import Draft, Event
from chalicelib.domain.commit import body as commit_body
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.fold import State
from chalicelib.domain.ids import job_id
from chalicelib.domain.journal import compose, parse_item
from chalicelib.domain.state import ENDED
from chalicelib.engine.directory_keys import late_key, late_partition, run_head_key
from chalicelib.engine.effects import Effects, Opened
from chalicelib.engine.flush import Written, journal_item
from chalicelib.engine.history import load_state
from chalicelib.engine.services import Services
from chalicelib.engine.signals import Work
from chalicelib.engine.store_calls import CommitAnswer, CommitCall

log = logging.getLogger("graft.late")

#: Late signals of one run that are journaled; more are only counted, by a line in the log each.
MOST = 100
#: How long it is remembered that a token was looked up: no queue keeps a message for longer.
KEPT_MS = 15 * 24 * 3600 * 1000
#: Meta fields: how many were journaled; and one for each of them, by its token.
COUNT, NOTED = "late", "late:"
#: Times a record is made anew because the run moved on meanwhile.
MAX_TRIES = 5


def is_late(work: Work, answer: CommitAnswer) -> bool:
    """Whether a worker reports on a token that was cancelled, or on one that nothing settled before its run ended.

    What the engine says to itself (a timer, a deadline) may come late at any time and means nothing; so does a report
    on a token that was settled by an earlier one.
    """
    if not work.report:
        return False
    return answer.word == "ENDED" or (answer.word == "SETTLED" and _cancelled(answer.record))


def has_ended(services: Services, run_id: str) -> bool:
    """Whether a run that the store does not have has ended: one consistent read instead of its whole journal."""
    head = services.directory.get(run_head_key(run_id))
    return head is not None and head["status"] in ENDED


def record_late(services: Services, work: Work, effects: Effects, failed: set[int]) -> None:
    """Record a late signal, unless it was before. Where it cannot be done now, its message is delivered again."""
    try:
        done = any(_try(services, work, effects) for _ in range(MAX_TRIES))
    except Unavailable:
        log.warning("a late signal could not be recorded now", extra={"run_id": work.job.run_id})
        done = False
    if not done:
        failed.add(work.origin)


def _try(services: Services, work: Work, effects: Effects) -> bool:
    """False where the run changed meanwhile."""
    run_id = work.job.run_id
    state = services.store.snapshot(run_id, ("meta",))
    if state is None:
        return _in_journal(services, work)
    meta = state["meta"]
    if int(meta["mark"]) < int(meta["no"]):  # it may be this signal's own record, of a step that died
        effects.unjournaled(run_id, Written(int(meta["no"]), meta["cid"], int(meta["lseq"])), work.origin)
    draft = _ignored(services, work, meta)
    if draft is None:
        return True
    text, now = _body(services, draft, meta, services.ids.new()), services.clock.now_ms()
    # A store that lost the end, or the cancel, has the token outstanding again: then the signal is not late.
    unchanged = (("meta", COUNT, meta.get(COUNT, "")), ("tok", work.job.token, ""))
    position = int(meta["no"]) if meta["status"] in ENDED else 0
    answer = services.store.commit([CommitCall(run_id, text, effects.owner, now, expect=unchanged, reopen=position)])[0]
    if answer.word != "OK":
        return False
    item = compose(answer.head, text)
    effects.committed(Opened(work.job, parse_item(item), work.origin), item, answer)
    return True


def _in_journal(services: Services, work: Work) -> bool:
    """The run has ended and the store has let it go: the event goes straight to its journal (False as for `_try`).

    At most MOST tokens of a run are looked up there, however many signals come and however often.
    """
    run_id, token = work.job.run_id, work.job.token
    key = late_key(run_id, token)
    known = {name for name, _ in services.directory.query(late_partition(run_id), limit=MOST)}
    if key[1] in known:
        return True
    if len(known) >= MOST:
        _count(work)
        return True
    state = load_state(services, run_id)
    if state["meta"].get("status") not in ENDED:
        return False
    record = state["done"].get(token)
    draft = _ignored(services, work, state["meta"]) if record is None or _cancelled(record) else None
    if draft is not None and not _append(services, run_id, draft, state):
        return False
    services.directory.put(key, {"expires_at": services.clock.now_ms() + KEPT_MS})
    return True


def _append(services: Services, run_id: str, draft: Draft, state: State) -> bool:
    """Write one commit behind the journal's last. False where another one has that place."""
    meta = state["meta"]
    commit_id = services.ids.new()
    text = _body(services, draft, meta, commit_id)
    place = f'"no":{int(meta["no"]) + 1},"id":"{commit_id}","seq":{int(meta["seq"]) + 1},"n":1'
    head = f'{place},"prev":[{meta["lseq"]},"{meta["cid"]}"],"out":{{"e":""}}'
    return not services.journal.append([journal_item(run_id, compose(head, text))])


def _ignored(services: Services, work: Work, meta: Mapping[str, str]) -> Draft | None:
    """The commit that records it; None where it is there already, or the run has enough of them."""
    if NOTED + work.job.token in meta:
        return None
    count = int(meta.get(COUNT) or 0)
    if count >= MOST:
        _count(work)
        return None
    status = meta["status"]
    ended = f"The run was {status} when this signal came." if status in ENDED else ""
    reason = ended or "The token had been cancelled when this signal came."
    event = Event("signal_ignored", work.token, {"reason": reason}, job_id(work.job, services.secret))
    return Draft(events=[event], meta={COUNT: str(count + 1), NOTED + work.job.token: "1"})


def _body(services: Services, draft: Draft, meta: Mapping[str, str], commit_id: str) -> str:
    gen, graph, rev = meta["gen"], meta["graph"], int(meta["rev"])
    now = services.clock.now_ms()
    return commit_body(draft, commit_id=commit_id, at=now, gen=gen, graph=graph, rev=rev, actor="graft")


def _cancelled(record: str) -> bool:
    return record.split("|", 4)[3] == "CANCELLED"


def _count(work: Work) -> None:
    log.info("a late signal was counted only", extra={"run_id": work.job.run_id, "token": work.job.token})
