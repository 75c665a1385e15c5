"""Pauses a run before what begins at a breakpoint, once for each `$arm` token that is marked so.

The pause is a commit of the step, like any other: its item is journaled with the rest. The box keeps that the run has
stopped at the token, so that a repeat changes nothing, and what resuming sends goes on. A paused run stops at no other
token: that one stops once the run has been resumed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from chalicelib.domain.breakpoints import stop_draft, stop_field
from chalicelib.domain.commit import body as commit_body
from chalicelib.domain.errors import GraftError
from chalicelib.domain.ids import ARM
from chalicelib.domain.journal import compose, parse_item
from chalicelib.domain.node_kinds import BREAKPOINT
from chalicelib.domain.records import parse_began
from chalicelib.engine.effects import Effects, Opened
from chalicelib.engine.flush import Written
from chalicelib.engine.needs import NOW
from chalicelib.engine.repeats import gone, recover
from chalicelib.engine.services import Services
from chalicelib.engine.signals import Work
from chalicelib.engine.store_calls import CommitAnswer, CommitCall, ReadAnswer, ReadCall

#: Times the run is looked at again because it changed between the look and the commit.
MAX_TRIES = 20
#: Fields of the run's meta that a stop is decided on, or that say whether a pause is in the journal.
_META = ("status", "gen", "graph", "rev", "no", "cid", "lseq", "mark")


def stop_before(services: Services, works: Sequence[Work], effects: Effects, failed: set[int]) -> list[Work]:
    """Pause the runs of those works that begin at a breakpoint: they are done with until their run is resumed.

    Returns the others. Takes a round trip and a commit where there is a breakpoint, and nothing elsewhere.
    """
    done: set[int] = set()
    pending: list[Work] = []
    for work in works:
        try:
            pending += [work] if _at_breakpoint(services, work) else []
        except GraftError:
            failed.add(work.origin)
            done.add(id(work))
    for _ in range(MAX_TRIES):
        if pending:
            pending = _looked_at(services, pending, effects, failed, done)
    for work in pending:
        failed.add(work.origin)
        done.add(id(work))
    return [work for work in works if id(work) not in done]


def _at_breakpoint(services: Services, work: Work) -> bool:
    if work.kind != "inline" or not work.token.node.startswith(ARM) or work.token.index is not None:
        return False
    if work.data is not None:
        return BREAKPOINT in work.data
    node = services.plans.load(work.job.graph).nodes.get(work.token.node.removeprefix(ARM))
    return node is not None and node.breakpoint


def _looked_at(
    services: Services, works: Sequence[Work], effects: Effects, failed: set[int], done: set[int]
) -> list[Work]:
    """Look at all of them, and stop one of each running run. Returns those to look at again: they are neither done with
    nor can they go on. What resuming has sent goes first: where there is some, the others stop in the next round."""
    answers = services.store.read([_look(work) for work in works])
    left = [(work, answer) for work, answer in zip(works, answers, strict=True) if not _goes_on(work, answer)]
    done.update(id(work) for work, _ in left)
    resumed = {work.job.run_id for work in works if work.drop and id(work) not in done}
    stops: dict[str, tuple[Work, CommitCall]] = {}
    again: list[Work] = []
    for work, answer in left:
        run_id = work.job.run_id
        if not answer.found:
            recover(services, work, effects, failed)
        elif answer.meta["status"] == "PAUSED":
            _rest(work, answer, effects)
        elif run_id in resumed:
            effects.recovered.append(work)
        elif run_id not in stops:
            stops[run_id] = work, _call(services, work, answer, effects.owner)
        else:
            again.append(work)
    again += _stopped(stops.values(), services.store.commit([call for _, call in stops.values()]), effects)
    done.difference_update(id(work) for work in again)
    return again


def _look(work: Work) -> ReadCall:
    text = work.token.text
    return ReadCall(work.job.run_id, NOW, meta=_META, tokens=(text,), box=(stop_field(text),))


def _goes_on(work: Work, answer: ReadAnswer) -> bool:
    """Whether the work is decided as any other: the run has stopped at it and goes on, it is a retry, or it is over."""
    record = answer.tokens.get(work.token.text) if answer.found else ""
    if record is None:
        gone(work)
        return True
    if not record or BREAKPOINT not in parse_began(record).data:
        return answer.found
    field = stop_field(work.token.text)
    stopped = answer.box.get(field) is not None
    work.drop = (("box", field),) if stopped else ()
    return stopped and answer.meta["status"] != "PAUSED"


def _rest(work: Work, answer: ReadAnswer, effects: Effects) -> None:
    """The run is paused, at this breakpoint or elsewhere: that must be in the journal before the signal is given up."""
    meta = {name: answer.meta[name] or "" for name in _META}
    if int(meta["mark"]) < int(meta["no"]):
        effects.unjournaled(work.job.run_id, Written(int(meta["no"]), meta["cid"], int(meta["lseq"])), work.origin)


def _call(services: Services, work: Work, answer: ReadAnswer, owner: str) -> CommitCall:
    """The commit that pauses the run under a new generation, if nothing has changed since the look."""
    meta = {name: answer.meta[name] or "" for name in _META}
    commit_id, now, token = services.ids.new(), services.clock.now_ms(), work.token
    draft = stop_draft(token)
    draft.meta["gen"] = commit_id
    text = commit_body(
        draft, commit_id=commit_id, at=now, gen=meta["gen"], graph=meta["graph"], rev=int(meta["rev"]), actor="graft"
    )
    expect = (("tok", token.text, answer.tokens[token.text] or ""), ("box", stop_field(token.text), ""))
    return CommitCall(work.job.run_id, text, owner, now, expect=expect)


def _stopped(
    stops: Collection[tuple[Work, CommitCall]], answers: Sequence[CommitAnswer], effects: Effects
) -> list[Work]:
    """Those whose run changed between the look and the commit; the others' items are to be journaled."""
    again: list[Work] = []
    for (work, call), answer in zip(stops, answers, strict=True):
        if answer.word != "OK":
            again.append(work)
            continue
        text = compose(answer.head, call.body)
        effects.committed(Opened(work.job, parse_item(text), work.origin), text, answer)
    return again
