"""Names of things in a run: scope paths, token keys, and job ids that carry a MAC.

A token is one unit of outstanding work. Its key names node, scope path (loop iterations from the outside in), map
index, epoch and attempt (HAZARDS 19, 28), so that no two executions share one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from functools import lru_cache

from chalicelib.domain.errors import BadSignal

#: (loop node, iteration) pairs from the outside in; () outside loops. Iterations start at 1.
Scope = tuple[tuple[str, int], ...]

START = "$start"
END = "$end"
#: Before a node's id: an attempt of what undoes the node on a rollback, in the scope and epoch of what is undone.
UNDO = "$undo:"
#: Before a node's id: the inline token by which a node begins that waits, or that the run pauses before.
ARM = "$arm:"
#: Before the name of a cancelled attempt: the inline token that resolves its node's edges as not taken.
BEATEN = "$beaten:"
#: Before the name of the last undo of a page: the inline token that goes on with the rollback.
ROLLBACK = "$rollback:"

_LOOP = r"[^@\[\]#/=]+=[0-9]+"
_TOKEN = re.compile(
    rf"(?P<node>[^@\[\]#]+)@(?P<scope>(?:{_LOOP}(?:/{_LOOP})*)?)"
    r"(?:\[(?P<index>[0-9]+)\])?#(?P<epoch>[0-9]+)\.(?P<attempt>[0-9]+)"
)


def scope_text(scope: Scope) -> str:
    """`outer=1/inner=2`; empty outside loops."""
    return "/".join(f"{node}={count}" for node, count in scope)


@dataclass(frozen=True, slots=True)
class Token:
    """The identity of one execution: (node, scope, index, epoch, attempt). Attempt 0 names a skip."""

    node: str
    scope: Scope = ()
    index: int | None = None
    epoch: int = 0
    attempt: int = 1

    @property
    def instance(self) -> str:
        """`node@scope[index]`: the node in its scope, whatever the attempt."""
        index = "" if self.index is None else f"[{self.index}]"
        return f"{self.node}@{scope_text(self.scope)}{index}"

    @property
    def text(self) -> str:
        """The key in the store: `instance#epoch.attempt`."""
        return f"{self.instance}#{self.epoch}.{self.attempt}"

    @property
    def value_key(self) -> str:
        """Where its outcome is stored; written once per epoch, never overwritten."""
        return f"{self.instance}#{self.epoch}"

    @property
    def iteration(self) -> int:
        """The innermost loop's count, 1 outside loops."""
        return self.scope[-1][1] if self.scope else 1

    @property
    def loops(self) -> dict[str, int]:
        """`{loop node: iteration}` of the whole scope path."""
        return dict(self.scope)


@lru_cache(maxsize=4096)
def parse_token(text: str) -> Token:
    """The Token of a key text. Raises BadSignal."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise BadSignal(f"{text[:80]!r} is not a token key.")
    pairs = [part.rsplit("=", 1) for part in match["scope"].split("/") if part]
    index = None if match["index"] is None else int(match["index"])
    scope = tuple((node, int(count)) for node, count in pairs)
    return Token(match["node"], scope, index, int(match["epoch"]), int(match["attempt"]))


def order_text(token: Token) -> str:
    """Sorts executions of one node: by epoch, then by iteration from the outside in."""
    return ".".join(f"{n:07d}" for n in (token.epoch, *(count for _, count in token.scope)))


def pointers(token: Token) -> list[list[str]]:
    """[field, order, value key] for each enclosing scope: where a reader in that scope finds the newest outcome."""
    names = [f"{token.node}@"]
    for depth in range(1, len(token.scope) + 1):
        part = Token(token.node, token.scope[:depth])
        names.append(part.instance)
    order = order_text(token)
    return [[name, order, token.value_key] for name in names]


_TIMER = re.compile(r"^(?:\$(?:arm|retry):)?(?:\$undo:)?")


def bare(name: str) -> str:
    """The node's id from the name of its own token, of its undo's, or of a timer of these (`$arm:x`, `$retry:x`)."""
    return _TIMER.sub("", name)


def worked_on(name: str) -> str | None:
    """The node's id from the name of an attempt, of itself or of its undo; None for the coordinator's own work."""
    node = name.removeprefix(UNDO)
    return None if node.startswith("$") else node


@dataclass(frozen=True, slots=True)
class Job:
    """What a job id says: the token, the commit that created it, and hints that let a warm step decide unread."""

    run_id: str
    token: str
    #: Number and id of the creating commit; that it was journaled is proven by the message having been sent.
    no: int
    commit: str
    #: Generation, revision and graph hash at the time of that commit.
    gen: str
    rev: int
    graph: str


def job_id(job: Job, secret: bytes) -> str:
    """An opaque, MACed id. The same job gives the same text."""
    fields = [job.run_id, job.token, job.no, job.commit, job.gen, job.rev, job.graph]
    raw = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    return f"{base64.urlsafe_b64encode(raw).decode().rstrip('=')}.{_mac(raw, secret)}"


def parse_job_id(text: str, secret: bytes) -> Job:
    """The Job of a job id. Raises BadSignal when it was not made with `secret` (HAZARDS 5)."""
    if not isinstance(text, str) or not text.isascii() or len(text) > 4096:
        raise BadSignal("job_id is not an id that Graft made.")
    body, _, mac = text.rpartition(".")
    try:
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except ValueError:
        raise BadSignal("job_id is not an id that Graft made.") from None
    if not hmac.compare_digest(mac, _mac(raw, secret)):
        raise BadSignal("job_id carries a wrong MAC: it was not made by this deployment.")
    return Job(*json.loads(raw))


def _mac(raw: bytes, secret: bytes) -> str:
    return hmac.new(secret, b"job:" + raw, hashlib.sha256).hexdigest()[:24]


def derived_run_id(tenant: str, idempotency_key: str) -> str:
    """The run id of a start with an Idempotency-Key, so that the first journal item decides repeats (HAZARDS 8)."""
    digest = hashlib.sha256(f"{tenant}\0{idempotency_key}".encode()).hexdigest()
    return f"r{digest[:24]}"
