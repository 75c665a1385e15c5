"""Signals that were settled before, and runs that the store lost or holds in an older state."""

from __future__ import annotations

import json
import logging

from chalicelib.domain.ids import Job, parse_token
from chalicelib.domain.journal import parse_item
from chalicelib.domain.state import ENDED
from chalicelib.engine.effects import Effects, Opened
from chalicelib.engine.history import load_state
from chalicelib.engine.ports import CommitAnswer, ReadCall
from chalicelib.engine.services import Services
from chalicelib.engine.signals import Work

log = logging.getLogger("graft.step")


def emitted_before(services: Services, work: Work, answer: CommitAnswer, effects: Effects) -> list[Work]:
    """The token was settled before: what that settlement created and nobody sent yet is done again (HAZARDS 10).

    Only tokens still outstanding are touched, and only in a run that is RUNNING. Returns inline work to go on with.
    """
    run_id = work.job.run_id
    if answer.head:
        effects.unjournaled(run_id, answer.head, work.origin)
    no = int(answer.record.split("|", 1)[0])
    state = services.store.snapshot(run_id, ("meta", "ready"))
    if state is None or state["meta"].get("status") not in ("RUNNING", "PENDING") or not state["ready"]:
        return []
    names = tuple(state["ready"])
    tokens = services.store.read([ReadCall(run_id, 0, tokens=names)])[0].tokens
    following: list[Work] = []
    for name, record in tokens.items():
        if record and int(record.split("|", 1)[0]) == no:
            following += _resume(services, work, name, record, effects, state["meta"])
    return following


def _resume(
    services: Services, work: Work, name: str, record: str, effects: Effects, meta: dict[str, str]
) -> list[Work]:
    no, commit_id, at, kind, graph, data = record.split("|", 5)
    token = parse_token(name)
    job = Job(work.job.run_id, name, int(no), commit_id, meta["gen"], int(meta["rev"]), graph)
    fields = json.loads(data) if data else {}
    if kind == "i":
        return [Work(job, token, "inline", work.origin, data=fields, proven=False)]
    if kind == "t":
        head = f'"no":{no},"id":"{commit_id}","seq":0,"n":0,"prev":[0,""],"out":{{}}'
        effects.task(Opened(job, parse_item(f'{{{head},"c":{{"at":{at}}}}}'), work.origin), token)
    else:
        effects.wake(services, job, int(fields["due"]), work.origin)
    return []


def recover(services: Services, work: Work, failed: set[int]) -> list[Work]:
    """The store does not know the run or the token: rebuild the run from its journal, then the message comes again.

    A run that has ended is never installed again (HAZARDS 17): the signal is done with.
    """
    run_id = work.job.run_id
    state = load_state(services, run_id)
    if not state["meta"] or state["meta"]["status"] in ENDED:
        return []
    if work.token.text in state["done"]:
        return []
    services.store.install(run_id, state)
    failed.add(work.origin)
    return []
