"""Routes that say how a run really is: why it is not moving, and whether its journal and state agree."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.api.call import Call
from chalicelib.api.endpoint import operation
from chalicelib.api.problems import Answer
from chalicelib.engine import explaining, verify

blueprint = Blueprint(__name__)


@operation(blueprint)
def explain_run(call: Call) -> Answer:
    """What the run waits for."""
    return Answer(explaining.explain_run(call.services, call.tenant, call.params["run_id"]))


@operation(blueprint)
def verify_run(call: Call) -> Answer:
    """Whether folding the journal gives the run's state."""
    return Answer(verify.verify_run(call.services, call.tenant, call.params["run_id"]))
