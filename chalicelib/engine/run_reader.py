"""Reads one run for the API: of this tenant only, never ahead of the journal, from Redis or else from the history."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chalicelib.domain.errors import JournalRefused, NotFound, Unavailable
from chalicelib.domain.ir import Plan
from chalicelib.domain.names import NAME_PATTERN
from chalicelib.engine.flush import flush_run
from chalicelib.engine.history import load_state
from chalicelib.engine.ports import RunState
from chalicelib.engine.rebuild import rebuild
from chalicelib.engine.services import Services

#: What a view of the whole run reads.
RUN_VIEW = ("meta", "tok", "dis", "done", "st")
#: What a view of one node's executions reads besides.
NODE_VIEW = (*RUN_VIEW, "val", "last", "ed", "vars", "box")
#: How long a read waits until what it saw is in the journal, milliseconds; a writer's lease is shorter.
_WAIT_MS = 3000
#: Seconds between looks while waiting.
_LOOK_S = 0.02
_NAME = re.compile(NAME_PATTERN)


def read(services: Services, tenant: str, run_id: str, hashes: Sequence[str] = NODE_VIEW) -> tuple[RunState, Plan]:
    """The run's hashes and its present plan. Raises NotFound (also for another tenant's run), Unavailable."""
    state = read_state(services, tenant, run_id, hashes)
    return state, services.plans.load(state["meta"]["graph"])


def read_state(services: Services, tenant: str, run_id: str, hashes: Sequence[str] = ("meta",)) -> RunState:
    """The run's hashes without its plan. Raises NotFound, Unavailable."""
    state = services.store.snapshot(run_id, hashes) if _NAME.fullmatch(run_id) else None
    if state is None:
        return _from_history(services, tenant, run_id)
    _check_tenant(state, tenant, run_id)
    if not _journaled(state["meta"], int(state["meta"]["no"])):
        return _flushed(services, tenant, run_id, state)
    return state


def _from_history(services: Services, tenant: str, run_id: str) -> RunState:
    if not _NAME.fullmatch(run_id):
        raise _missing(run_id)
    state = load_state(services, run_id)
    _check_tenant(state, tenant, run_id)
    return state


def _flushed(services: Services, tenant: str, run_id: str, state: RunState) -> RunState:
    """`state` once the journal holds all that it shows; what is committed meanwhile is not waited for."""
    number = int(state["meta"]["no"])
    deadline = services.clock.now_ms() + _WAIT_MS
    while True:
        try:
            flush_run(services, run_id)
        except JournalRefused:  # the store fell behind the journal and moved on: what it shows never was
            rebuild(services, run_id)
            return read_state(services, tenant, run_id, tuple(state))
        now = services.store.snapshot(run_id, ("meta",))
        if now is None:
            return _from_history(services, tenant, run_id)
        if _journaled(now["meta"], number):
            return state
        if services.clock.now_ms() >= deadline:
            raise Unavailable(f"The journal of run {run_id} does not take its last changes just now. Ask again.")
        services.pause(_LOOK_S)


def _journaled(meta: dict[str, str], number: int) -> bool:
    return int(meta.get("mark") or 0) >= number


def _check_tenant(state: RunState, tenant: str, run_id: str) -> None:
    if state["meta"].get("tenant") != tenant:
        raise _missing(run_id)


def _missing(run_id: str) -> NotFound:
    return NotFound(f"There is no run {run_id[:64]}.")
