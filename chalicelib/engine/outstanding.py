"""Whether an attempt is still waited for: a no is given only as the journal has it."""

from __future__ import annotations

from chalicelib.domain.ids import Job
from chalicelib.domain.state import ENDED
from chalicelib.engine.controls import holds
from chalicelib.engine.directory_keys import run_head_key
from chalicelib.engine.rebuild import rebuild
from chalicelib.engine.services import Services
from chalicelib.engine.store_calls import ReadCall


def is_outstanding(services: Services, job: Job) -> bool:
    """Whether the job's token still waits for its signal. Raises Unavailable.

    A worker that is told no leaves the work alone for good. So where the store does not have the token, the run's end
    or the token's settlement must be in the journal; a store that lost it, or fell behind, is brought back.
    """
    answer = services.store.read([ReadCall(job.run_id, 0, tokens=(job.token,))])[0]
    if answer.found and answer.tokens.get(job.token) is not None:
        return True
    head = services.directory.get(run_head_key(job.run_id))
    if head is not None and head["status"] in ENDED:
        return False
    if answer.found and _settled(services, job):
        return False
    return job.token not in rebuild(services, job.run_id)["done"]


def _settled(services: Services, job: Job) -> bool:
    """Whether the store knows how the token ended, and the journal too. A look at few things: many may ask at once."""
    state = services.store.snapshot(job.run_id, ("meta",))
    record = services.store.fields(job.run_id, "done", [job.token])[0]
    if state is None or record is None or int(record.split("|", 1)[0]) > int(state["meta"]["no"]):
        return False
    return holds(services, job.run_id, state["meta"])
