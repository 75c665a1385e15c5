"""Everything a use case may touch, in one frozen value: made by wiring, replaced by tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.domain.limits import Limits
from chalicelib.engine.plans import PlanStore
from chalicelib.engine.ports import Artifacts, Clock, Directory, Ids, Journal, Queues, RunStore, Schedules


@dataclass(frozen=True, slots=True)
class Services:
    """Ports and the settings that use cases read."""

    stage: str
    #: HMAC key of job ids, callbacks and bearer tokens.
    secret: bytes
    #: What links and callback URLs start with, without a trailing slash.
    public_url: str
    limits: Limits
    clock: Clock
    ids: Ids
    journal: Journal
    directory: Directory
    queues: Queues
    artifacts: Artifacts
    schedules: Schedules
    store: RunStore
    plans: PlanStore
    #: (job id, run id, node id, attempt, expires at ms) -> signed callback token, the same for the same arguments.
    callback_token: Callable[[str, str, str, int, int], str]
    #: Whether a function handler of this name can be run.
    has_handler: Callable[[str], bool]
    #: Whether a queue node may name this queue.
    has_queue: Callable[[str], bool]
    #: Waits that many seconds.
    pause: Callable[[float], None]
