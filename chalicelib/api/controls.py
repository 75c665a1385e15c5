"""Routes that control a run: cancel, pause, resume, roll back. Each answers with the run as it stands then."""

from __future__ import annotations

from collections.abc import Callable

from chalice.app import Blueprint

from chalicelib.api.call import Call
from chalicelib.api.endpoint import operation
from chalicelib.api.problems import Answer
from chalicelib.api.runs import run_answer
from chalicelib.engine import controls, rollback
from chalicelib.engine.run_reader import read_state
from chalicelib.engine.services import Services

blueprint = Blueprint(__name__)


@operation(blueprint)
def cancel_run(call: Call) -> Answer:
    """End the run; what is outstanding is cancelled."""
    return _controlled(call, controls.cancel_run)


@operation(blueprint)
def pause_run(call: Call) -> Answer:
    """Hold what becomes ready; results of what is at work are kept."""
    return _controlled(call, controls.pause_run)


@operation(blueprint)
def resume_run(call: Call) -> Answer:
    """Go on with a paused run."""
    return _controlled(call, controls.resume_run)


@operation(blueprint)
def rollback_run(call: Call) -> Answer:
    """Undo what the run has completed, by the compensate bodies of its nodes, newest first."""
    return _controlled(call, rollback.rollback_run)


def _controlled(call: Call, control: Callable[[Services, str, str], None]) -> Answer:
    call.members()
    read_state(call.services, call.tenant, call.params["run_id"])
    control(call.services, call.params["run_id"], call.actor)
    return run_answer(call)
