"""Signals that were settled before, and runs that the store lost or holds in an older state."""

from __future__ import annotations

import logging
from dataclasses import replace

from chalicelib.domain.children import has_calls
from chalicelib.domain.commit import Emit, compact
from chalicelib.domain.ids import Job, parse_token
from chalicelib.domain.ir import Plan
from chalicelib.domain.journal import parse_item
from chalicelib.domain.map_items import map_token
from chalicelib.domain.records import Began, parse_began
from chalicelib.domain.state import ENDED
from chalicelib.engine.effects import Effects, Opened
from chalicelib.engine.flush import Written
from chalicelib.engine.holding import hold
from chalicelib.engine.late import has_ended, record_late
from chalicelib.engine.parents import closed_by, stops, tell_again
from chalicelib.engine.ports import Outgoing, RunState
from chalicelib.engine.rebuild import rebuild
from chalicelib.engine.services import Services
from chalicelib.engine.signals import Work
from chalicelib.engine.store_calls import CommitAnswer

log = logging.getLogger("graft.step")


def emitted_before(
    services: Services, work: Work, answer: CommitAnswer, effects: Effects, failed: set[int]
) -> list[Work]:
    """The token was settled before: what came of that settlement and nobody sent yet is done again (HAZARDS 10).

    The dead step may have gone on with inline work, so what came of that counts as well, and nothing else: repeats must
    not send what other signals have begun. Only tokens still outstanding are touched. In a PAUSED run they are marked,
    and resuming it sends them. Returns inline work to go on with.
    """
    run_id = work.job.run_id
    state = services.store.snapshot(run_id, ("meta", "ready"))
    # The store alone may know of the settlement, and lose it at any time: then the token is outstanding again.
    if state is None or services.store.fields(run_id, "done", [work.token.text]) != [answer.record]:
        recover(services, work, effects, failed, "MISSING" if state is None else "UNKNOWN")
        return []
    plan, settled = services.plans.load(state["meta"]["graph"]), int(answer.record.split("|", 1)[0])
    moves = bool(state["ready"]) and state["meta"]["status"] not in ENDED
    known = None
    if moves or has_calls(plan):
        # Of the same moment as what is unsent: in between the run may have been paused, and may have gone on.
        known = services.store.snapshot(run_id, ("meta", "tok", "dis", "done", "ready"))
        if known is None or known["done"].get(work.token.text) != answer.record:
            recover(services, work, effects, failed, "MISSING" if known is None else "UNKNOWN")
            return []
    meta = state["meta"] if known is None else known["meta"]
    if int(meta["no"]) < settled:
        effects.unjournaled(run_id, Written(settled, answer.record.split("|")[1], int(meta["lseq"])), work.origin)
    if int(meta["mark"]) < int(meta["no"]):  # all that is seen here, also what others have just gone on with
        effects.unjournaled(run_id, Written(int(meta["no"]), meta["cid"], int(meta["lseq"])), work.origin)
    unsent: list[tuple[str, str]] = []
    if known is not None:
        unsent, commits = _came_of(known, settled)
        for message in _left(services, run_id, plan, known, answer.record, commits):
            effects.send(message, work.origin, replace(work.job, token=""))
    return [] if meta["status"] in ENDED else _begin_unsent(services, work, meta["status"], unsent, effects, failed)


def _begin_unsent(
    services: Services, work: Work, status: str, unsent: list[tuple[str, str]], effects: Effects, failed: set[int]
) -> list[Work]:
    """What came of a settlement and nobody sent: sent now, or held in a paused run."""
    if status == "PAUSED":
        if not hold(services, work.job.run_id, [name for name, _ in unsent]):
            failed.add(work.origin)
        return []
    following = _map_of(work)
    for name, record in unsent:
        following += _resume(services, work, name, record, effects)
    return following


def _map_of(work: Work) -> list[Work]:
    """The map of an item that was settled: it may have been the last one."""
    if work.token.index is None or work.token.node.startswith("$fan:"):
        return []
    over = map_token(work.token)
    return [Work(replace(work.job, token=over.text), over, "inline", work.origin, proven=False)]


def ended_before(services: Services, work: Work, effects: Effects, failed: set[int]) -> None:
    """The run takes no more commits: its end must be in the journal before the signal is given up, since a store that
    loses it has a live run again, and this token with it."""
    state = services.store.snapshot(work.job.run_id, ("meta",))
    if state is None or state["meta"]["status"] not in ENDED:
        recover(services, work, effects, failed, "MISSING" if state is None else "UNKNOWN")
    elif int(state["meta"]["mark"]) < int(state["meta"]["no"]):
        meta = state["meta"]
        effects.unjournaled(work.job.run_id, Written(int(meta["no"]), meta["cid"], int(meta["lseq"])), work.origin)


def _left(
    services: Services, run_id: str, plan: Plan, state: RunState, record: str, commits: set[int]
) -> list[Outgoing]:
    """Messages that stop the children whose calls a settlement closed, again. A call that was itself closed by others'
    settlement leaves that to theirs."""
    if record.split("|", 4)[3] == "CANCELLED" or not has_calls(plan):
        return []
    return stops(services, run_id, closed_by(plan, state, commits), state["dis"])


def _came_of(state: RunState, no: int) -> tuple[list[tuple[str, str]], set[int]]:
    """(token, record) of outstanding tokens that commit `no` made, or those that settled its inline tokens; and these
    commits."""
    made: dict[int, list[str]] = {}
    for name, record in state["dis"].items():
        made.setdefault(int(record.split("|", 1)[0]), []).append(name)
    found: list[tuple[str, str]] = []
    seen, pending = {no}, [no]
    while pending:
        for name in made.get(pending.pop(), ()):
            ended = state["done"].get(name)
            if name in state["tok"] and name in state["ready"]:
                found.append((name, state["tok"][name]))
            elif ended is not None and _settled_by_step(state["dis"][name], ended):
                settled = int(ended.split("|", 1)[0])
                pending += [settled] if settled not in seen else []
                seen.add(settled)
    return found, seen


#: Error types by which a step fails a task that it could not begin.
_UNBEGUN = ('"TemplateError"', '"LimitExceeded"')


def _settled_by_step(began: str, ended: str) -> bool:
    """Whether a coordinator's step settled the token without a signal of its own."""
    return parse_began(began).kind in ("i", "h") or any(kind in ended for kind in _UNBEGUN)


def _resume(services: Services, work: Work, name: str, record: str, effects: Effects) -> list[Work]:
    began = parse_began(record)
    job = began.job(work.job.run_id, name)
    if began.kind in ("i", "h"):  # a waiting node is looked at: its data are read anew then
        data = began.data if began.kind == "i" else None
        return [Work(job, parse_token(name), "inline", work.origin, data=data, proven=False)]
    resend(services, job, work.origin, began, effects)
    return []


def resend(services: Services, job: Job, origin: int, began: Began, effects: Effects) -> None:
    """Send an outstanding task's message, or a timer's wake-up, as its token's record says: the same bytes again."""
    if began.kind == "h" or (job.run_id, job.token) in effects.resent:
        return
    effects.resent.add((job.run_id, job.token))
    if began.kind != "t":
        effects.wake(services, job, int(began.data["due"]), origin)
        return
    token = parse_token(job.token)
    made = compact([Emit(token, began.kind, began.data).wire()])
    head = f'"no":{began.no},"id":"{began.commit}","seq":0,"n":0,"prev":[0,""],"out":{{}}'
    item = parse_item(f'{{{head},"c":{{"at":{began.at_ms},"emits":{made}}}}}')
    effects.task(Opened(job, item, origin), token)


def gone(work: Work) -> None:
    """The token is settled, or unknown here: the commit finds out which. It must not settle one that comes back."""
    work.expect = (("tok", work.token.text, ""),)
    if work.kind in ("inline", "wake"):
        work.kind, work.looked = "signal", True


def recover(services: Services, work: Work, effects: Effects, failed: set[int], word: str = "MISSING") -> None:
    """The store does not know the run or the token, or is behind: rebuild it from the journal, and try again.

    At once, in this step's next round; also what the journal says was settled, for the step that did it may have died
    before it sent what came of it. But the message comes again where the work came of a commit of this step, or the
    step has others of this run: these may be lost. A run that has ended is done with: it is never installed again, and
    a worker's late report goes into its journal (HAZARDS 5, 17). Of many works that miss a run, the first rebuilds it.
    """
    at_once = work.proven and not work.recovered and work.job.run_id not in effects.runs
    work.recovered, work.planned = True, None
    if word == "UNKNOWN" or not _is_back(services, work):
        status = _rebuilt(services, work.job.run_id, missing=word == "MISSING")
        if status in ENDED:
            tell_again(services, work.job.run_id)
        if status in ENDED and work.report:
            record_late(services, work, effects, failed)
        if status is None or status in ENDED:
            return
    if at_once:
        effects.recovered.append(work)
    else:
        failed.add(work.origin)


def _rebuilt(services: Services, run_id: str, *, missing: bool) -> str | None:
    """How a run stands that was rebuilt if it lives; None where there is no such run."""
    if missing and has_ended(services, run_id):
        return "COMPLETED"
    return rebuild(services, run_id)["meta"].get("status")


def _is_back(services: Services, work: Work) -> bool:
    """Whether another has rebuilt the run meanwhile, as far as this work's own token."""
    state = services.store.snapshot(work.job.run_id, ("meta",))
    return state is not None and int(state["meta"]["no"]) >= work.job.no
