"""Events sent to a run from outside: committed in order per name, for the nodes that wait for them now or later."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.commit import Draft, Event, compact
from chalicelib.domain.errors import Conflict, InvalidInput, Problem, Unavailable
from chalicelib.domain.ids import job_id, parse_token
from chalicelib.domain.mail import MOST, counter_field, letter_field, waiters
from chalicelib.domain.records import parse_began
from chalicelib.domain.state import ENDED
from chalicelib.engine.acting import act
from chalicelib.engine.controls import holds
from chalicelib.engine.flush import flush_upto
from chalicelib.engine.history import load_state
from chalicelib.engine.ports import Outgoing, RunState
from chalicelib.engine.rebuild import ensure_present
from chalicelib.engine.services import Services
from chalicelib.engine.signals import INLINE_BYTES, continue_text

Json = Any
HASHES = ("meta", "tok", "box")
#: Times it is tried again because another event of the run came at the same moment.
MAX_TRIES = 100
#: Characters of an event's name.
MAX_NAME = 256
#: Waiting tokens named in one `continue` message.
CHUNK = 20


def send_event(
    services: Services, run_id: str, name: str, payload: Json, actor: str, once: str | None = None
) -> dict[str, Json]:
    """Keep the event for the oldest node that waits for its name, or for the first that will.

    `once` names the request where it may be repeated: the same name is the same event. Returns `{run_id, name,
    number}`. Raises NotFound; Conflict where the run has ended or holds too many events; InvalidInput; Unavailable.
    """
    if not 0 < len(name) <= MAX_NAME:
        text = f"An event's name has 1 to {MAX_NAME} characters."
        raise InvalidInput(text, (Problem("bad_name", "/name", text),))
    record = _record(services, payload)
    for _ in range(MAX_TRIES):
        state = _present(services, run_id)
        known = state["box"].get(f"said|{once}") if once else None
        number = int(known) if known else int(state["box"].get(counter_field(name)) or 0) + 1
        refusal = None if known else _refusal(run_id, state)
        if (known or refusal) and not holds(services, run_id, state["meta"]):
            continue
        if refusal:
            raise Conflict(refusal)
        if known or _commit(services, run_id, actor, state, name, number, record, once):
            _tell(services, run_id, name)
            return {"run_id": run_id, "name": name, "number": number}
        services.pause(0.01 * services.ids.uniform())
    raise Unavailable(f"Run {run_id} changed too often meanwhile; send the event again.")


def _record(services: Services, payload: Json) -> str:
    """The payload as it is kept: inline, or an artifact where it is large."""
    text = compact(payload)
    return compact({"r": services.artifacts.put(text.encode())} if len(text) > INLINE_BYTES else {"o": payload})


def _refusal(run_id: str, state: RunState) -> str | None:
    """Why the run, as it stands there, takes no more events; None where it does."""
    if state["meta"]["status"] in ENDED:
        return f"Run {run_id} is {state['meta']['status']}: no node of it will ever wait for this event."
    if sum(field.startswith("event|") for field in state["box"]) >= MOST:
        return f"Run {run_id} holds {MOST} events that no node has taken; let some be taken first."
    return None


def _commit(
    services: Services, run_id: str, actor: str, state: RunState, name: str, number: int, record: str, once: str | None
) -> bool:
    meta, counter = state["meta"], counter_field(name)
    line = waiters(state["tok"], name)
    event = Event("node_waiting", parse_token(line[0]) if line else None, {"event": name, "number": number})
    draft = Draft(put=[("box", letter_field(name, number), record), ("box", counter, str(number))], events=[event])
    if once:
        draft.put.append(("box", f"said|{once}", str(number)))
    expect = (("box", counter, state["box"].get(counter, "")),)
    return act(services, run_id, actor, meta, draft, expect=expect, fence=False) is not None


def _tell(services: Services, run_id: str, name: str) -> None:
    """Let the coordinator look at the nodes that wait for this name, as they stand after the commit."""
    state = services.store.snapshot(run_id, ("meta", "tok"))
    if state is None:
        return
    began = {text: parse_began(state["tok"][text]) for text in waiters(state["tok"], name)}
    last = max((one.no for one in began.values()), default=0)
    if last > int(state["meta"]["mark"]):
        # A node may wait by a commit that is on its way to the journal. A message would count as proof that it is in,
        # and its item would be forgotten before anybody wrote it.
        flush_upto(services, run_id, last)
    jobs = [job_id(one.job(run_id, text), services.secret) for text, one in began.items()]
    parts = [jobs[i : i + CHUNK] for i in range(0, len(jobs), CHUNK)]
    services.queues.send([Outgoing("completion-signals", continue_text(part)) for part in parts])


def _present(services: Services, run_id: str) -> RunState:
    """The run, from its history where it has ended and left the store: a repeat still finds its first try."""
    ensure_present(services, run_id)
    return services.store.snapshot(run_id, HASHES) or load_state(services, run_id)
