"""What scheduled Lambdas do: find what is due, and see that no live run is forgotten. Safe to run twice, or to die."""

from __future__ import annotations

import logging
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.domain.errors import GraftError, NotFound, Unavailable
from chalicelib.domain.state import ENDED
from chalicelib.engine.children import stop_if_orphaned
from chalicelib.engine.controls import send_waiting, time_out_run
from chalicelib.engine.directory_keys import LIVE_SHARDS, live_partition
from chalicelib.engine.flush import flush_run
from chalicelib.engine.history import catch_up
from chalicelib.engine.places import leave
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.rearm import disarm, rearm
from chalicelib.engine.rebuild import behind_journal, ensure_present, give_way, position
from chalicelib.engine.services import Services
from chalicelib.engine.silence import send_silent

Json = Any
log = logging.getLogger("graft.supervise")

#: Members of one part of the deadline index worked in one pass; the rest comes in the next.
DUE_LIMIT = 500
#: A token that nobody sent is sent by the sweep after this long.
UNSENT_MS = 60_000
#: Finished runs leave the store after this long, unless the deployment says otherwise; their journal stays.
GRACE_MS = 3_600_000
#: Live runs looked at in one page.
PAGE = 200


def detect_timeouts(services: Services) -> int:
    """Fail the attempts whose deadline or heartbeat is past, and end the runs whose timeout is. Returns how many.

    Attempts are failed by a signal of their own, which the coordinator settles as any other: where the worker's answer
    came first, it finds the token gone. Members are dropped only after that signal is sent.
    """
    members = services.store.due(services.clock.now_ms(), DUE_LIMIT)
    signals: list[Outgoing] = []
    late: list[str] = []
    for member in members:
        kind, _, name = member.partition(":")
        if kind == "run":
            late += [] if _timed_out(services, name) else [member]
        else:
            text = compact({"version": "1.0", "kind": "expired", "job_id": name, "reason": REASONS[kind]})
            signals.append(Outgoing("completion-signals", text))
    services.queues.send(signals)
    done = [member for member in members if member not in late]
    if done:
        services.store.drop_due(done)
    return len(done)


def _timed_out(services: Services, run_id: str) -> bool:
    """End one run. False where its alarm stays: it could not be ended now, and does not hold up the others, or its
    timeout was moved by a step that died before it moved the alarm."""
    try:
        later = time_out_run(services, run_id)
        if later is not None:
            services.store.put_due({f"run:{run_id}": later})
    except NotFound:
        return True
    except GraftError:
        log.exception("a run could not be timed out", extra={"run_id": run_id})
        return False
    return later is None


#: Kind of deadline -> error type (SPEC 9).
REASONS = {"attempt": "Timeout", "heartbeat": "HeartbeatLost"}


def sweep(services: Services, tick: int, grace_ms: int = GRACE_MS) -> int:
    """Look at one slice of the live runs: with a tick a minute, at each of them every LIVE_SHARDS minutes.

    Runs that ended `grace_ms` ago leave the store. Returns how many runs were looked at. A run that cannot be helped
    now is logged and does not stop the others.
    """
    partition = live_partition(tick % LIVE_SHARDS)
    start: str | None = None
    seen = 0
    while True:
        page = services.directory.query(partition, start=start, limit=PAGE)
        for run_id, record in page:
            try:
                _look_after(services, partition, run_id, record, grace_ms)
            except Exception:
                log.exception("a run could not be looked after", extra={"run_id": run_id})
        seen += len(page)
        if len(page) < PAGE:
            return seen
        start = page[-1][0]


def _write(services: Services, run_id: str, meta: Json) -> None:
    """Write what is unwritten; where the journal refuses it, the run's state in the store gives way."""
    try:
        flush_run(services, run_id)
    except Unavailable:
        give_way(services, run_id)
        return
    if meta["status"] in ENDED and "limited" in meta:
        leave(services, run_id, meta)


def _look_after(services: Services, partition: str, run_id: str, record: Json, grace_ms: int) -> None:
    """One live run: rebuild it if the store lost it or fell behind, write what is unwritten, put back deadlines that
    the index lost, send what nobody sent or what may be gone from its queue; or let it go."""
    now = services.clock.now_ms()
    if record["status"] in ENDED and record.get("limited"):
        leave(services, run_id, record)
    stored = services.store.snapshot(run_id, ("meta",))
    if record["status"] in ENDED and now - int(record["finished_at"] or now) >= grace_ms:
        if stored is not None:
            disarm(services, run_id)
            services.store.retire(run_id, position(stored["meta"]))
        services.directory.delete((partition, run_id), expect=record)  # unless it was redriven meanwhile
        return
    if stored is None and record["status"] in ENDED:
        return
    meta = stored["meta"] if stored else ensure_present(services, run_id)
    if int(meta["no"]) > int(meta["mark"]):
        _write(services, run_id, meta)
    if stored is not None and behind_journal(services, run_id, meta):
        give_way(services, run_id)
        stored = None
    if record["status"] in ENDED or meta["status"] in ENDED:
        return
    stop_if_orphaned(services, meta)
    rearm(services, run_id, only_new=True)
    send_waiting(services, run_id, now - UNSENT_MS if stored else now)
    send_silent(services, run_id, meta)
    catch_up(services, run_id, meta)
