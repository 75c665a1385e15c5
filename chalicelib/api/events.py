"""The route of a run's events: pages in order, and long polls for what comes next."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from chalice.app import Blueprint

from chalicelib.api.call import Call, refused
from chalicelib.api.endpoint import operation
from chalicelib.api.problems import Answer
from chalicelib.domain.errors import Throttled
from chalicelib.domain.ids import job_id
from chalicelib.domain.journal import expand
from chalicelib.domain.state import ENDED
from chalicelib.engine.artifact_access import grant
from chalicelib.engine.run_reader import read_state

Json = Any
blueprint = Blueprint(__name__)
MAX_WAIT_S: Final = 25
#: Bytes of JSON after which a page ends; Lambda sends at most 6 MB.
MAX_BYTES: Final = 4 << 20
#: Long polls of one tenant that one process serves at a time.
MAX_POLLS: Final = 20
#: Looks at the store are this far apart (seconds): the first ones, and how many; then the later ones.
_LOOK_S, _FIRST_LOOKS, _LATER_LOOK_S = 0.1, 20, 0.25
#: Journal items read at a time.
_ITEMS = 200

_polls: Counter[str] = Counter()
_lock = threading.Lock()


@operation(blueprint)
def get_events(call: Call) -> Answer:
    """Events after a seq; with `wait` there is an answer as soon as there is one."""
    after = call.whole("after", 0, 0, 10**12)
    limit = call.whole("limit", 100, 1, 1000)
    wait_ms = _wait_ms(call)
    run_id = call.params["run_id"]
    meta = read_state(call.services, call.tenant, run_id)["meta"]
    if wait_ms and _nothing_after(meta, after):
        with _polling(call.tenant):
            meta = _await(call, run_id, meta, after, wait_ms)
    events = _events(call, run_id, after, limit)
    seen = events[-1]["seq"] if events else after
    done = meta["status"] in ENDED and seen >= int(meta["seq"])
    refs = [event["data"].get(name) for event in events for name in ("output_ref", "input_ref")]
    grant(call.services.directory, call.tenant, [ref for ref in refs if isinstance(ref, str)])
    return Answer({"events": events, "next": seen, "done": done})


def _wait_ms(call: Call) -> int:
    text = call.query.get("wait")
    if text is None:
        return 0
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT_S:
        raise refused("wait", f"Send seconds from 0 to {MAX_WAIT_S}.")
    return int(seconds * 1000)


def _nothing_after(meta: dict[str, str], after: int) -> bool:
    return int(meta["seq"]) <= after and meta["status"] not in ENDED


@contextmanager
def _polling(tenant: str) -> Iterator[None]:
    """One of the tenant's places for a long poll. Raises Throttled when none is left."""
    with _lock:
        if _polls[tenant] >= MAX_POLLS:
            text = f"{MAX_POLLS} long polls are open; end one, or ask without wait."
            raise Throttled(text, retry_after=MAX_WAIT_S)
        _polls[tenant] += 1
    try:
        yield
    finally:
        with _lock:
            _polls[tenant] -= 1
            if not _polls[tenant]:
                del _polls[tenant]


def _await(call: Call, run_id: str, meta: dict[str, str], after: int, wait_ms: int) -> dict[str, str]:
    """The run's meta once it has an event after `after`, or when the time is over."""
    services = call.services
    deadline = services.clock.now_ms() + wait_ms
    looks = 0
    while _nothing_after(meta, after):
        left_s = (deadline - services.clock.now_ms()) / 1000
        if left_s <= 0:
            return meta
        services.pause(min(left_s, _LOOK_S if looks < _FIRST_LOOKS else _LATER_LOOK_S))
        looks += 1
        state = services.store.snapshot(run_id, ("meta",))
        # Gone from the store: it ended, and the history has the rest.
        if state is None or not _nothing_after(state["meta"], after):
            meta = read_state(services, call.tenant, run_id)["meta"]
    return meta


def _events(call: Call, run_id: str, after: int, limit: int) -> list[dict[str, Json]]:
    """Up to `limit` events after `after`, at least one if there is any, about MAX_BYTES at most."""
    found: list[dict[str, Json]] = []
    size, position = 0, after
    while True:
        items = call.services.journal.read(run_id, position, min(limit, _ITEMS))
        for item in items:
            for event in expand(item.text, run_id, lambda job: job_id(job, call.services.secret)):
                if event["seq"] <= after:
                    continue
                size += len(json.dumps(event))
                if len(found) == limit or (found and size > MAX_BYTES):
                    return found
                found.append(event)
            position = item.seq + item.events - 1
        if not items or len(found) == limit:
            return found
