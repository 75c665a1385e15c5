"""Control of a run from outside its graph: cancel, pause, resume, and its own timeout. Each is one commit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from chalicelib.domain.breakpoints import at_breakpoints
from chalicelib.domain.commit import Draft, Event, compact
from chalicelib.domain.errors import Conflict, JournalRefused, Unavailable
from chalicelib.domain.ids import job_id, parse_token
from chalicelib.domain.node_kinds import is_waiting
from chalicelib.domain.records import parse_began
from chalicelib.domain.ripe import ripe_tokens
from chalicelib.domain.state import ENDED
from chalicelib.engine.acting import act, as_begun
from chalicelib.engine.flush import flush_upto
from chalicelib.engine.places import enter, is_start, leave_or_log
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.rebuild import behind_journal, ensure_present, give_way
from chalicelib.engine.run_records import RECORD_META
from chalicelib.engine.services import Services
from chalicelib.engine.signals import continue_text

#: Times a control action is decided again because the run's graph or control state changed under it.
MAX_TRIES = 10
#: Tokens named in one `continue` message.
CHUNK = 20

Meta = dict[str, str]


def cancel_run(services: Services, run_id: str, actor: str) -> None:
    """End the run CANCELLED; all that is outstanding is cancelled with it. Cancelling again changes nothing.

    Raises NotFound, Conflict where the run has ended otherwise, Unavailable.
    """

    def decide(meta: Meta) -> Draft | None:
        if meta["status"] == "CANCELLED":
            return None
        _refuse_ended(run_id, meta, "cancelled")
        return _ending(meta, "CANCELLED", services.clock.now_ms(), Event("run_cancelled"))

    _commit(services, run_id, actor, decide)


def time_out_run(services: Services, run_id: str) -> int | None:
    """End the run TIMED_OUT because its own timeout has passed. A run that has ended is left alone.

    Returns the time (milliseconds) of a timeout that is still to come: it was moved since somebody set an alarm.
    """
    later: list[int] = []

    def decide(meta: Meta) -> Draft | None:
        now, due = services.clock.now_ms(), int(meta.get("timeout_at") or 0)
        later[:] = [due] if meta["status"] not in ENDED and now < due else []
        if meta["status"] in ENDED or later:
            return None
        error = {"type": "Timeout", "message": "The run took longer than its timeout_ms."}
        draft = _ending(meta, "TIMED_OUT", now, Event("run_timed_out", data={"error": error}))
        draft.meta["error"] = compact(error)
        return draft

    _commit(services, run_id, "graft", decide)
    return later[0] if later else None


def pause_run(services: Services, run_id: str, actor: str) -> None:
    """Hold what becomes ready from now on; what is at work goes on and is settled. Raises as cancel_run."""

    def decide(meta: Meta) -> Draft | None:
        if meta["status"] == "PAUSED":
            return None
        _refuse_ended(run_id, meta, "paused")
        return Draft(meta={"status": "PAUSED"}, events=[Event("run_paused")])

    _commit(services, run_id, actor, decide)


def resume_run(services: Services, run_id: str, actor: str) -> None:
    """Go on with a paused run: what was held is sent. One that had not begun goes on waiting. Raises as cancel_run."""

    def decide(meta: Meta) -> Draft | None:
        if meta["status"] in ("RUNNING", "PENDING"):
            return None
        _refuse_ended(run_id, meta, "resumed")
        status = "RUNNING" if "started_at" in meta else "PENDING"
        return Draft(meta={"status": status}, events=[Event("run_resumed")])

    _commit(services, run_id, actor, decide)
    send_waiting(services, run_id, services.clock.now_ms())


def send_waiting(services: Services, run_id: str, before_ms: int) -> int:
    """Let the coordinator go on with tokens that no redelivered signal will ever send: held by a pause, made by an API
    commit or found by a rebuild, and created up to `before_ms`; with those whose wait is over; and with those at a
    breakpoint. Returns how many."""
    state = services.store.snapshot(run_id, ("meta", "tok", "box", "ready"))
    if state is None or state["meta"]["status"] not in ("RUNNING", "PENDING"):
        return 0
    jobs: list[str] = []
    waits = False
    unsent = [name for name, since in state["ready"].items() if since.startswith("r") and int(since[1:]) <= before_ms]
    for name in dict.fromkeys((*at_breakpoints(state), *unsent, *ripe_tokens(state))):
        record = state["tok"].get(name)
        if record is None:
            continue
        if "limited" in state["meta"] and is_start(name):
            waits = True
            continue
        began = parse_began(record)
        if began.kind != "h" or is_waiting(services.plans.load(began.graph), parse_token(name)):
            jobs.append(job_id(began.job(run_id, name), services.secret))
    if jobs and int(state["meta"]["no"]) > int(state["meta"]["mark"]):
        # Their commits may be on their way to the journal, and the one that let them go: nothing leaves before.
        flush_upto(services, run_id, int(state["meta"]["no"]))
    continue_jobs(services, jobs)
    if waits:
        enter(services, run_id, state["meta"])
    return len(jobs)


def continue_jobs(services: Services, jobs: Sequence[str]) -> None:
    """Let the coordinator go on with outstanding tokens, by their job ids: inline work is done, tasks are sent."""
    parts = [list(jobs[i : i + CHUNK]) for i in range(0, len(jobs), CHUNK)]
    services.queues.send([Outgoing("completion-signals", continue_text(part)) for part in parts])


def holds(services: Services, run_id: str, meta: Meta) -> bool:
    """Whether an answer may rest on this state alone: it is in the journal by now, and the journal went no further.
    A store that had fallen behind is brought back. Raises Unavailable.
    """
    if int(meta["mark"]) < int(meta["no"]):
        with contextlib.suppress(JournalRefused):  # seen again below
            flush_upto(services, run_id, int(meta["no"]))
    if behind_journal(services, run_id, meta):
        give_way(services, run_id)
        return False
    # A state that was behind when it was read may have been brought back since: then the generation is another one.
    now = services.store.snapshot(run_id, ("meta",))
    return meta["status"] in ENDED if now is None else now["meta"]["gen"] == meta["gen"]


def _refuse_ended(run_id: str, meta: Meta, what: str) -> None:
    if meta["status"] in ENDED:
        raise Conflict(f"Run {run_id} is {meta['status']}: it can no longer be {what}.")


def _ending(meta: Meta, status: str, now_ms: int, event: Event) -> Draft:
    shown = {name: meta[name] for name in RECORD_META if name in meta}
    return Draft(
        cancel_all=True, final=True, meta={**shown, "status": status, "finished_at": str(now_ms)}, events=[event]
    )


def _commit(services: Services, run_id: str, actor: str, decide: Callable[[Meta], Draft | None]) -> None:
    """Decide on the present state and commit, again where it changed meanwhile; None changes nothing."""
    for _ in range(MAX_TRIES):
        meta = ensure_present(services, run_id)
        try:
            draft = decide(meta)
        except Conflict:
            if holds(services, run_id, meta):
                raise
            continue
        if draft is None:
            if holds(services, run_id, meta):
                return
            continue
        if act(services, run_id, actor, meta, draft, expect=as_begun(meta)):
            if draft.final and "limited" in meta:
                leave_or_log(services, run_id, meta)
            return
    raise Unavailable(f"Run {run_id} changed too often meanwhile; send the request again.")
