"""What a run owes the runs around it: it tells its parent of its end, and its children when nobody waits for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chalicelib.domain.children import calls, closed_calls, parent_job
from chalicelib.domain.ids import job_id
from chalicelib.domain.ir import Plan
from chalicelib.domain.journal import Item, parse_item
from chalicelib.domain.records import parse_began
from chalicelib.engine.directory_keys import run_head_key
from chalicelib.engine.history import load_state
from chalicelib.engine.ports import JournalItem, Outgoing, RunState
from chalicelib.engine.services import Services
from chalicelib.engine.signals import continue_text, stop_text

#: Children named in one message: ending each takes some calls.
CHUNK = 10


def tell_parents(services: Services, items: Iterable[JournalItem]) -> None:
    """Let the parents of runs that these journaled items have ended look at them. Repeating it is harmless."""
    ended = [parse_item(item.text).body for item in items if '"final":1' in item.text]
    messages = [found for body in ended if body.get("final") for found in _message(services, body["meta"])]
    if messages:
        services.queues.send(messages)


def tell_again(services: Services, run_id: str) -> None:
    """As tell_parents, of a run that has ended: the step that ended it may have died before it told."""
    head = services.directory.get(run_head_key(run_id))
    if head is not None and head.get("parent") and head["end_seq"] is not None:
        tell_parents(services, services.journal.read(run_id, head["end_seq"] - 1, 1))


def _message(services: Services, meta: Mapping[str, str]) -> list[Outgoing]:
    """The message that lets the parent of a run look at it; none for a run that nobody called."""
    text = meta.get("parent")
    if not text:
        return []
    return [Outgoing("completion-signals", continue_text([job_id(parent_job(text), services.secret)]))]


def stop_messages(services: Services, run_id: str, item: Item, but: str = "") -> list[Outgoing]:
    """The messages that end the children which a commit leaves without a call; the call `but` knows of its child's."""
    closed = [text for text in closed_calls(services.plans.load(item.body["graph"]), item) if text != but]
    return stops(services, run_id, closed) if closed else []


def stops(
    services: Services, run_id: str, tokens: Sequence[str], dis: Mapping[str, str] | None = None
) -> list[Outgoing]:
    """The messages that end the children of these calls. `dis` is the run's hash of that name, read where not given."""
    known = _begun(services, run_id, tokens) if dis is None else dis
    jobs = [parse_began(known[token]).job(run_id, token) for token in tokens if token in known]
    signed = [job_id(job, services.secret) for job in jobs]
    parts = [signed[i : i + CHUNK] for i in range(0, len(signed), CHUNK)]
    return [Outgoing("completion-signals", stop_text(part)) for part in parts]


def _begun(services: Services, run_id: str, tokens: Sequence[str]) -> Mapping[str, str]:
    """By which commits the tokens began, also where the store has lost the run by now."""
    found = zip(tokens, services.store.fields(run_id, "dis", tokens), strict=True)
    known = {token: record for token, record in found if record is not None}
    return known if len(known) == len(tokens) else load_state(services, run_id)["dis"]


def closed_by(plan: Plan, state: RunState, commits: set[int]) -> list[str]:
    """Calls that these commits settled or cancelled. Reads the hash `done`."""
    return calls(plan, [text for text, record in state["done"].items() if int(record.split("|", 1)[0]) in commits])
